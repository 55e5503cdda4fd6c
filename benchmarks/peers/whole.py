"""The whole process, from the shell to the exit: `main` beside scripts of the peers, in turn."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.peers.contestants import CONTESTANTS, OURS
from benchmarks.peers.networks import NETWORKS, Network
from benchmarks.peers.racer import Found, say

NAMES = (OURS, "keras", "torch", "flax")
EXAMPLES = 55_000  # the default of `main`
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True)
class Job:
    """Some epochs of a network."""

    network: Network
    epochs: int


JOBS = (Job(NETWORKS["mlp"], 3), Job(NETWORKS["flax_cnn"], 1), Job(NETWORKS["keras_cnn"], 1))


def compare(job: Job, *, without: Collection[str], rounds: int) -> Found:
    """`rounds` rounds of a process of each, after one that fills caches and is not counted."""
    names = [name for name in NAMES if name not in without]
    found: Found = {name: {"title": CONTESTANTS[name].title, "runs": []} for name in names}
    for number in range(rounds + 1):
        say(f"whole process, {job.network.name}: round {number} of {rounds}")
        for name in names:
            if "reason" not in found[name]:
                _run(job, name, found[name], counted=number > 0)
    return {"epochs": job.epochs, "contestants": found}


def _run(job: Job, name: str, found: Found, *, counted: bool) -> None:
    missing = CONTESTANTS[name].missing()
    with tempfile.TemporaryDirectory() as folder:
        run = {"reason": missing} if missing else _process(job, name, Path(folder) / "run")
    if "reason" in run:
        found["reason"] = run["reason"]
        say(f"{found['title']}: NOT MEASURED: {run['reason']}")
    elif counted:
        found["runs"].append(run)


def _process(job: Job, name: str, workdir: Path) -> Found:
    command = _main(job, workdir) if name == OURS else _script(job, name)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=readme.ROOT, stdout=output, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:]
            return {"reason": f"ended with status {process.returncode}: {''.join(last)[:200]}"}
        output.seek(0)
        said = _of_main(workdir) if name == OURS else json.loads(output.read().splitlines()[-1])
    return {"seconds": seconds, "peak_mib": usage.ru_maxrss * RSS_UNIT / 2**20, **said}


def _main(job: Job, workdir: Path) -> list[str]:
    overrides = (*job.network.overrides, ("num_epochs", str(job.epochs)))
    return [
        "mnist_jax.main",
        f"--config={job.network.config}",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in overrides),
    ]


def _of_main(workdir: Path) -> Found:
    result = json.loads((workdir / "result.json").read_text())
    return {
        "training_seconds": result["train_seconds"] + result["compile_seconds"],
        "accuracy": result["test_accuracy"],
    }


def _script(job: Job, name: str) -> list[str]:
    return [
        "benchmarks.peers.script",
        name,
        job.network.name,
        str(job.epochs),
        str(EXAMPLES),
    ]
