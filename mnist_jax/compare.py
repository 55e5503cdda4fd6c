"""Writes tables, plots and a report that compare the networks of a sweep or finished runs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_jax import data, metrics, models
from mnist_jax.analysis import canvas
from mnist_jax.analysis.network.drawing import draw_network
from mnist_jax.analysis.pad import Drawing
from mnist_jax.analysis.sweep.report import write_comparison
from mnist_jax.analysis.sweep.section import Analysis
from mnist_jax.analysis.sweep.table import Result
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.files import damaged, read_json, read_rows
from mnist_jax.lock import sole_writer
from mnist_jax.members import FINISHED
from mnist_jax.presence import exists
from mnist_jax.training import sound
from mnist_jax.training import workdir as workdir_files
from mnist_jax.training.workdir import RUN, SWEEP, identity, plain, read_config


def compare(
    results: Sequence[Result],
    workdir: Path,
    facts: dict[str, Any],
    analysis: Analysis | None = None,
    drawing: Drawing | None = None,
) -> None:
    """Writes the tables, plots and report of a comparison, and prints the report's path.

    Args:
      results: of the networks to compare, at least one.
      workdir: the folder to write to.
      facts: conditions of the measurement by name, such as the device; a number is a time in
        seconds.
      analysis: writes further sections of the report.
      drawing: the pad on which one draws for the best network.
    """
    write_comparison(
        workdir,
        results,
        title=workdir.resolve().name,
        facts=facts,
        drawings=_drawings(results, workdir / "plots" / "networks"),
        analysis=analysis,
        drawing=drawing,
    )
    print(workdir / "report.html")


def compare_runs(folders: Sequence[Path], workdir: Path) -> None:
    """Compares finished runs of `main`; runs that differ only in their seed are one architecture.

    Args:
      folders: the folders of the runs.
      workdir: the folder to write to.

    Raises:
      UserError: a folder holds no finished run, two hold the same run, two metrics would share a
        column, or `workdir` holds a run or a sweep.
    """
    for kind in (RUN, SWEEP):
        if exists(workdir / kind):
            raise UserError(
                f"{workdir} holds a run or a sweep of its own, whose files the comparison would "
                f"replace; give another --workdir="
            )
    runs = [_read(folder) for folder in folders]
    metrics.refuse_ambiguous(name for run in runs for name in run["config"]["metrics"])
    taken: dict[tuple[str, int], Path] = {}
    for run, folder in zip(runs, folders, strict=True):
        other = taken.setdefault((_but_seed(run), run["seed"]), folder)
        if other is not folder:
            raise UserError(f"{other} and {folder} hold the same run; give only one of them")
    files = [read_json(folder / "result.json") for folder in folders]
    facts = {"training": sum(run["seconds"] for run in runs)}
    facts |= {name: _common(files, name) for name in ("device", "versions", "commit")}
    with sole_writer(workdir):
        compare([run | {"architecture": _name(run, runs)} for run in runs], workdir, facts)


def _read(folder: Path) -> Result:
    """Reads a finished run; its architecture is named by the path of its folder."""
    config = identity(plain(read_config(folder).to_dict()))
    result = workdir_files.result(folder)
    if result is None:
        raise UserError(f"{folder}: run not finished; rerun its command to complete it")
    test = {
        name.removeprefix("test_"): value
        for name, value in result.items()
        if name.startswith("test_") and name != "test_count"
    }
    counts = all(sound.is_count(result.get(name)) for name in ("parameters", "epochs"))
    if not (counts and sound.is_number(result.get("train_seconds")) and sound.are_figures(test)):
        raise damaged(folder / workdir_files.RESULT, "its figures are not those of a run")
    return {
        "architecture": str(folder),
        "seed": config["seed"],
        "config": config,
        "parameters": result["parameters"],
        "history": _history(folder / "metrics.jsonl", result["epochs"]),
        "seconds": result["train_seconds"],
        "test": test,
        "status": FINISHED,
    }


def _history(path: Path, epochs: int) -> list[dict[str, Any]]:
    rows = read_rows(path)
    whole = len(rows) == epochs and sound.are_rows(rows)
    if not whole or [row["epoch"] for row in rows] != [*range(1, epochs + 1)]:
        raise damaged(path, "it does not hold the row of each epoch")
    return rows


def _but_seed(run: Result) -> str:
    return json.dumps(run["config"] | {"seed": None}, sort_keys=True)


def _name(run: Result, runs: Sequence[Result]) -> str:
    """Names a run's architecture by its folder without the seed: `mlp` for `runs/mlp-0`.

    Only if its runs have several seeds: the end of `lr-0.1` is no seed, whatever the seed is. If
    several architectures would have that name, the name is the path of the folder instead.
    """
    groups: dict[str, list[Result]] = {}
    for its in runs:
        groups.setdefault(_but_seed(its), []).append(its)
    names = {said: _common_name(group) for said, group in groups.items()}
    name = names[_but_seed(run)]
    taken = list(names.values()).count(name) > 1
    return groups[_but_seed(run)][0]["architecture"] if taken else name


def _common_name(runs: Sequence[Result]) -> str:
    """Returns what the names of the folders of one architecture have in common but for the seed."""
    bare = {_bare(run) for run in runs}
    if len(runs) > 1 and len(bare) == 1:
        return bare.pop()
    return _folder(runs[0])


def _folder(run: Result) -> str:
    return Path(run["architecture"]).resolve().name


def _bare(run: Result) -> str:
    # Not after a point, which is one of a number such as that of `lr-0.1` or `v2.0`.
    return re.sub(rf"([-_ ]|[-_. ]?seed[-_. ]?){run['seed']}$", "", _folder(run)) or _folder(run)


def _common(results: Sequence[dict[str, Any]], name: str) -> Any:
    """Returns the value that all results share, or their different values joined by `; `."""
    values = [result.get(name) for result in results]
    said = {json.dumps(value, sort_keys=True): value for value in values}
    return next(iter(said.values())) if len(said) == 1 else "; ".join(map(str, said.values()))


def _drawings(results: Sequence[Result], folder: Path) -> dict[str, Path]:
    """Draws each distinct network once; returns the files by the first architecture that has it.

    What cannot be drawn is left out with a warning.
    """
    first: dict[str, Result] = {}
    for result in results:
        config = result["config"]
        key = json.dumps([config["model"], config["data"]["name"]], sort_keys=True)
        first.setdefault(key, result)
    drawn = {}
    for number, result in enumerate(first.values(), start=1):
        name = result["architecture"]
        file = f"{number:02d}-" + re.sub(r"[^\w-]+", "-", name)[:40]
        with canvas.drawing(f"the network {name}"):
            drawn[name] = draw_network(_model(result["config"]), folder / file)[0]
    return drawn


def _model(values: dict[str, Any]) -> models.Model:
    """Builds the network of a configuration.

    Raises:
      ValueError: not a UserError, as the comparison can do without the drawing.
      Exception: whatever the user's own code raises.
    """
    try:
        config = parse(values)
        return models.build(config.model, data.spec(config.data.name))
    except UserError as error:
        raise ValueError(str(error)) from error
