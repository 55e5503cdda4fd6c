"""A sweep from the command line: taken up where it stands, every population trained, compared."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from mnist_jax import STARTED, data, models
from mnist_jax.analysis import canvas
from mnist_jax.analysis.comparison import Member, architectures
from mnist_jax.analysis.comparison_report import WHOLE
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config
from mnist_jax.data import feed
from mnist_jax.files import read_json, write_json
from mnist_jax.lock import sole_writer
from mnist_jax.members import Planned
from mnist_jax.training import lifting, parallel, provenance
from mnist_jax.training import workdir as folder_of_sweep
from mnist_jax.training.compare import compare
from mnist_jax.training.group import train_group, trained
from mnist_jax.training.stop import EXIT_STATUS, StoppedError, StopSignal
from mnist_jax.training.sweep_log import SweepLog
from mnist_jax.training.task import build
from mnist_jax.training.warm_start import warm_start
from mnist_jax.training.workdir import SWEEP


def run_sweep(plan: Sequence[Planned], workdir: Path) -> int:
    """Trains what is left of the sweep in `workdir` and compares its members; the exit status.

    Raises:
      UserError: a member asks for what is not there, or the folder holds something else.
    """
    plan = resolve(plan)
    asked = {f"{m.architecture}, seed {m.config.seed}": m.config.to_dict() for m in plan}
    if folder_of_sweep.finished(workdir, asked, SWEEP):
        print(f"{workdir} holds this sweep, finished; nothing to do")
        return 0
    keep_programs()
    provenance.commit()
    with sole_writer(workdir), StopSignal() as stop:
        if folder_of_sweep.finished(workdir, asked, SWEEP):  # by another, since the line above
            return 0
        folder_of_sweep.claim(workdir, asked, SWEEP)
        clock = _Clock(workdir)
        try:
            members = _train(plan, workdir, stop, clock)
        except StoppedError:
            print(f"told to stop; what is done is saved. The same command goes on: {workdir}")
            return EXIT_STATUS
        finally:
            clock.keep()
        result = _result(members, clock)
        compare(members, workdir, _facts(result))
        write_json(workdir / "result.json", result)  # last: it is what says that it is finished
    return 0


def resolve(plan: Sequence[Planned]) -> list[Planned]:
    """The plan with each network's defaults written out, each architecture found to be sound."""
    sound: dict[str, Config] = {}
    tried: set[tuple[str, ...]] = set()
    for member in plan:
        if member.architecture not in sound:
            config = models.resolve(member.config)
            _check(config)
            named = (config.model.name, config.loss, config.optimizer.name, config.init_from)
            if named not in tried:  # tracing takes long, and its mistakes are those of the code
                _try(config)
            tried.add(named)
            sound[member.architecture] = config
    return [
        Planned(m.architecture, dataclasses.replace(sound[m.architecture], seed=m.config.seed))
        for m in plan
    ]


def _check(config: Config) -> None:
    """Raises UserError at the start for what would end a sweep in its middle."""
    parallel.members_layout(config, 1)
    feed.check(config)
    model = build(config, lifting.STEPS_PER_EPOCH).model
    held_out = data.load(config.data.name, config.data.val_split)
    models.check_outputs(model, len(held_out.class_names))


def _try(config: Config) -> None:
    """Raises where a step cannot be traced, or where there are no weights to start from."""
    state = jax.eval_shape(lambda: lifting.try_step(config))
    warm_start(state, config.init_from)


def _train(
    plan: Sequence[Planned], workdir: Path, stop: StopSignal, clock: "_Clock"
) -> list[Member]:
    """Every population, one after the other; their members in the order of the plan."""
    populations = lifting.populations([member.config for member in plan])
    print(_opening(plan, populations), flush=True)
    log = SweepLog(workdir)
    found: dict[int, Member] = {}
    for number, indices in enumerate(populations, start=1):
        if stop.requested:
            raise StoppedError
        members = [plan[i] for i in indices]
        folder = workdir / "populations" / f"{number:03d}"
        title = f"{number}/{len(populations)}"
        log.begin()
        results = trained(folder, members)
        if results is None:
            results = train_group(members, folder, stop, log.show, title)
            clock.keep()
            print(_closing(title, results), flush=True)
        else:
            log.show(members, [member.history for member in results])
        found |= dict(zip(indices, results, strict=True))
    return [found[i] for i in range(len(plan))]


def _opening(plan: Sequence[Planned], populations: list[list[int]]) -> str:
    architectures = len({member.architecture for member in plan})
    return (
        f"{canvas.count(len(plan), 'network')} of {canvas.count(architectures, 'architecture')}, "
        f"in {canvas.count(len(populations), 'compiled program')}"
    )


def _closing(title: str, members: Sequence[Member]) -> str:
    """What became of a population, in a line an architecture."""
    lines = []
    for its in architectures(members):
        found = its.statistic("val_accuracy")
        figures = "" if found.mean is None else f"val {100 * found.mean:.2f}"
        figures += "" if found.deviation is None else f" ± {100 * found.deviation:.2f}"
        figures += " %" if figures else ""
        lost = f"{its.diverged} of {len(its.members)} diverged" if its.diverged else ""
        seconds = f"{sum(member.seconds for member in its.members):.1f} s"
        lines.append("  ".join(filter(None, [title, its.name, figures, lost, seconds])))
    return "\n".join(lines)


def _result(members: Sequence[Member], clock: "_Clock") -> dict[str, Any]:
    return {
        "members": len(members),
        "architectures": len(architectures(members)),
        "diverged": sum(not member.finished for member in members),
        "train_seconds": sum(member.seconds for member in members),
        "total_seconds": clock.seconds(),
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    """What the report says of where its numbers come from."""
    times = {WHOLE: result["total_seconds"], "training": result["train_seconds"]}
    return times | {name: result[name] for name in ("device", "versions", "commit")}


class _Clock:
    """Seconds over all the processes that a sweep takes."""

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / "clock.json"
        self._earlier = read_json(self._path)["seconds"] if self._path.exists() else 0.0

    def seconds(self) -> float:
        return self._earlier + time.perf_counter() - STARTED

    def keep(self) -> None:
        write_json(self._path, {"seconds": self.seconds()})
