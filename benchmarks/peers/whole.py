"""Times whole processes, from the shell to the exit: `main` and scripts of the peers, in turn."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.peers.contestants import CONTESTANTS, OURS
from benchmarks.peers.networks import NETWORKS, Network
from benchmarks.peers.racer import say
from benchmarks.peers.record import Found

NAMES = (OURS, "keras", "torch", "flax")
EXAMPLES = 55_000  # the default training split of `main`
LAUNCH = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True)
class Job:
    """A network and the number of epochs for which it is trained."""

    network: Network
    epochs: int


JOBS = (Job(NETWORKS["mlp"], 3), Job(NETWORKS["flax_cnn"], 1), Job(NETWORKS["keras_cnn"], 1))


def compare(job: Job, *, without: Collection[str], rounds: int) -> Found:
    """Times one process per contestant in each round.

    A first round fills the caches and is not counted.

    Args:
      job: the network and the number of epochs.
      without: names of contestants to leave out.
      rounds: the number of rounds that are counted.

    Returns:
      `{"epochs": ..., "contestants": measurements by name}`.
    """
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
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(
            [sys.executable, "-S", LAUNCH, sys.executable, "-m", *command],
            cwd=readme.ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
        )
        *lines, last = done.stdout.decode().splitlines()
        spent = json.loads(last)
        status = spent.pop("status")
        if status != 0:
            log.seek(0)
            why = log.read().decode(errors="replace").strip().splitlines()[-1:]
            return {"reason": f"ended with status {status}: {''.join(why)[:200]}"}
    return spent | (_of_main(workdir) if name == OURS else json.loads(lines[-1]))


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
