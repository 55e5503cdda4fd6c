"""Tables, pictures and a report of many trainings: of a sweep, or of finished runs of `main`."""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_jax import data, models
from mnist_jax.analysis.comparison import Member
from mnist_jax.analysis.comparison_report import write_comparison
from mnist_jax.analysis.drawing import draw_network
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, read_rows
from mnist_jax.lock import sole_writer
from mnist_jax.training import workdir as workdir_files
from mnist_jax.training.workdir import RUN, SWEEP, plain, read_config


def compare(members: Sequence[Member], workdir: Path, facts: dict[str, Any]) -> None:
    """Writes the tables, pictures and report of a comparison, and prints where they are.

    Args:
      members: one or more.
      workdir: the tables' folder.
      facts: where the numbers come from, by name; a number is a time in seconds.
    """
    write_comparison(
        workdir,
        members,
        title=workdir.resolve().name,
        facts=facts,
        drawings=_drawings(members, workdir / "plots" / "networks"),
    )
    print(workdir / "report.html")


def compare_runs(folders: Sequence[Path], workdir: Path) -> None:
    """Compares finished runs of `main`: those of one configuration are its seeds.

    Raises:
      UserError: a folder holds no finished run, or two hold the same one.
    """
    for kind in (RUN, SWEEP):
        if (workdir / kind).exists():
            raise UserError(
                f"{workdir} holds a run or a sweep of its own, whose files this would replace; "
                f"give another --workdir="
            )
    runs = [_read(folder) for folder in folders]
    members = [dataclasses.replace(run, architecture=_name(run, runs)) for run in runs]
    taken: dict[tuple[str, int], Path] = {}
    for member, folder in zip(members, folders, strict=True):
        other = taken.setdefault((_but_seed(member), member.seed), folder)
        if other is not folder:
            raise UserError(f"{other} and {folder} hold the same run: give one of them")
    results = [read_json(folder / "result.json") for folder in folders]
    facts = {"training": sum(member.seconds for member in members)}
    facts |= {name: _common(results, name) for name in ("device", "versions", "commit")}
    with sole_writer(workdir):
        compare(members, workdir, facts)


def _read(folder: Path) -> Member:
    """A finished run, by the path of its folder."""
    config = plain(read_config(folder).to_dict())
    result = workdir_files.result(folder)
    if result is None:
        raise UserError(f"{folder}: run not finished; rerun its command to complete it")
    return Member(
        architecture=str(folder),
        seed=config["seed"],
        config=config,
        parameters=result["parameters"],
        history=read_rows(folder / "metrics.jsonl"),
        seconds=result["train_seconds"],
        test={
            name.removeprefix("test_"): value
            for name, value in result.items()
            if name.startswith("test_") and name != "test_count"
        },
    )


def _but_seed(run: Member) -> str:
    return json.dumps(run.config | {"seed": None}, sort_keys=True)


def _name(run: Member, runs: Sequence[Member]) -> str:
    """The folder's name without its seed: `mlp` for `runs/mlp-0`; its path, if others are `mlp`."""
    first = {_but_seed(r): r for r in reversed(runs)}
    names = [_bare(r) for r in first.values()]
    name = _bare(first[_but_seed(run)])
    return name if names.count(name) == 1 else first[_but_seed(run)].architecture


def _bare(run: Member) -> str:
    name = Path(run.architecture).resolve().name
    return re.sub(rf"[-_. ](seed)?[-_. ]?{run.seed}$", "", name)


def _common(results: Sequence[dict[str, Any]], name: str) -> Any:
    """What all results say; where they differ, all that they say."""
    said = {json.dumps(result[name], sort_keys=True): result[name] for result in results}
    return next(iter(said.values())) if len(said) == 1 else "; ".join(map(str, said.values()))


def _drawings(members: Sequence[Member], folder: Path) -> dict[str, Path]:
    """A drawing of each network unlike those before it, by its first architecture."""
    first: dict[str, Member] = {}
    for member in members:
        first.setdefault(json.dumps(member.config["model"], sort_keys=True), member)
    drawn = {}
    for number, member in enumerate(first.values(), start=1):
        name = re.sub(r"[^\w-]+", "-", member.architecture)[:40]
        try:
            config = parse(member.config)
            model = models.build(config.model, data.spec(config.data.name))
            drawn[member.architecture] = draw_network(model, folder / f"{number:02d}-{name}")[0]
        except Exception as error:  # a picture more or less must not cost the comparison
            print(f"warning: {member.architecture} cannot be drawn: {error}", file=sys.stderr)
    return drawn
