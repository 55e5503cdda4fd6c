"""Runs of which files are damaged, trained and evaluated again by the API."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mnist_jax
from benchmarks.reliability.fuzzing.mutations import generator, mutated
from benchmarks.reliability.fuzzing.samples import without_pictures
from benchmarks.reliability.fuzzing.workdirs import Nowhere, other_content
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax.errors import UserError


def damaged(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: the files of an unfinished run, damaged; then the run goes on to its end.

    A run goes on to the same rows, or is refused with a message.
    """
    expected = _rows(samples / "run")
    run = folder / "run"
    names = (
        "config.json",
        "result.json",
        "metrics.jsonl",
        "metrics.csv",
        "code.json",
        "report.html",
        "evaluation.json",
    )
    os.chdir(samples)

    def attempt(number: int) -> str:
        rng = generator("damaged", number)
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(samples / "run", run)
        goes_on = rng.random() < 0.5
        if goes_on:
            (run / "result.json").unlink()
        path = rng.choice([run / name for name in names if (run / name).exists()])
        content = path.read_bytes()
        path.write_bytes(
            other_content(content, rng) if rng.random() < 0.7 else mutated(content, rng)
        )
        with contextlib.redirect_stderr(Nowhere()), contextlib.redirect_stdout(Nowhere()):
            try:
                with without_pictures():
                    mnist_jax.train(str(samples / "config.py"), workdir=run)
                    mnist_jax.load(run).evaluate()
            except UserError:
                return "refused"
        # Of a finished run nothing is written; a comparison then refuses damaged rows.
        if (goes_on or path.name != "metrics.jsonl") and _rows(run) != expected:
            raise Broken(f"{path.name}: the rows of the run are others")
        return "the same"

    return attempt


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timings = ("seconds", "images_per_second")
    return [{name: row[name] for name in row if name not in timings} for row in rows]
