"""Trains and reports a run or a sweep, for the commands and for the Python API.

The packages `training` and `analysis` do not import each other; this module combines them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from mnist_jax import data, devices, models, processes, users_code
from mnist_jax.analysis.network.summary import summary
from mnist_jax.analysis.pad import Drawing
from mnist_jax.analysis.run.report import publish
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config, difference
from mnist_jax.errors import UserError, print_warning
from mnist_jax.evaluations.split import ADVICE, EVALUATING, TEST, predictions
from mnist_jax.exporting import page
from mnist_jax.files import writing
from mnist_jax.lock import sole_writer
from mnist_jax.members import FINISHED, Planned, find_analysis
from mnist_jax.training import (
    loggers,
    network,
    own_code,
    provenance,
    sweep,
    sweepdir,
    task,
    trace,
    workdir,
)
from mnist_jax.training.clock import Clock, SweepClock
from mnist_jax.training.console import Console
from mnist_jax.training.inference import Outputs
from mnist_jax.training.logs import NoLog, OnEpoch, Row, RunLog
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program, prepare_one
from mnist_jax.training.restored import restore
from mnist_jax.training.session import opened, trained
from mnist_jax.training.state import count_parameters, evaluation_weights
from mnist_jax.training.stop import Stop


def nothing(rows: list[Row]) -> None:
    """Does nothing; the default for callbacks that are called after each epoch."""


def _refuse_strangers(what: dict[str, Any], configs: Iterable[Config]) -> None:
    """Raises UserError unless all processes of a run are about to do the same.

    Args:
      what: the configurations, by name.
      configs: the same, for the user's own code that they name.
    """
    if processes.count() == 1:
        if jax.distributed.is_initialized() and jax.process_count() > 1:
            raise UserError(
                "JAX was connected with other processes before this training, which would not "
                "know of them: run the command in each, with --coordinator, --processes and "
                "--process"
            )
        return
    modules = own_code.read(name for one in configs for name in own_code.modules(one))
    code = {name: its["sha256"] for name, its in modules.items()}
    facts = {"versions": provenance.versions(), "commit": provenance.commit(), "own code": code}
    mine = json.dumps(workdir.plain(what | facts), sort_keys=True)
    digest = hashlib.sha256(mine.encode()).hexdigest()
    if len(set(processes.gather("the comparison", digest))) == 1:
        return
    first, *others = map(json.loads, processes.gather("the differences", mine))
    for i, other in enumerate(others, start=1):
        if lines := difference(first, other)[: workdir.SHOWN]:
            raise UserError(
                f"process {i} of {processes.count()} does not do what process 0 does; all must run "
                "the same command, with the same packages (process 0 -> this one):\n  "
                + "\n  ".join(lines)
            )


class _Start:
    """What was true when a training started, and is kept with its result."""

    def __init__(
        self,
        folder: Path,
        *,
        configs: Iterable[Config],
        left: Iterable[Config],
        accept_code: bool,
    ) -> None:
        """Notes it; warns of splits that list rows more than once, and refuses what cannot go on.

        Args:
          folder: of the run or the sweep.
          configs: of all networks there.
          left: of those that are not trained, or not logged, yet.
          accept_code: True to go on with changed code of the user's.

        Raises:
          UserError: the user's code has changed since the training in this folder began, or
            training, validation and test splits overlap.
        """
        self.folder = folder
        self.warnings: list[str] = []
        # Both now, since files may be edited while the networks train.
        self._commit = provenance.commit()
        self._code = own_code.read(name for one in left for name in own_code.modules(one))
        if not accept_code:
            own_code.refuse_changes(folder, self._code)
        self.warn(_repeated_rows(configs))

    def warn(self, warnings: Iterable[str]) -> None:
        """Prints warnings that `result.json` records as well."""
        for text in warnings:
            print_warning(text)
            self.warnings.append(text)

    def record_code(self) -> None:
        """Records the user's own code in the folder, which is claimed by now."""
        own_code.record(self.folder, self._code)

    def facts(self) -> dict[str, Any]:
        """Returns the device, versions, commit, code and warnings, as `result.json` has them."""
        return {
            **provenance.conditions(self._commit),
            "warnings": [*devices.notice(), *self.warnings],
            **own_code.facts(self.folder),
        }


def _repeated_rows(configs: Iterable[Config]) -> list[str]:
    """Returns a warning for each split that lists rows more than once.

    Raises:
      UserError: training, validation and test splits overlap, as in `data.check_splits`.
    """
    splits = dict.fromkeys(
        (one.data.name, one.data.train_split, one.data.val_split) for one in configs
    )
    found = [text for names in splits for text in data.check_splits(*names)]
    return list(dict.fromkeys(found))


# One network


def run(
    config: Config,
    folder: Path,
    *,
    started: float,
    profile: bool = False,
    accept_code: bool = False,
    on_epoch: OnEpoch = nothing,
) -> bool:
    """Trains or resumes the run in a folder, evaluates it on the test split, and writes its report.

    Args:
      config: the configuration of the run.
      folder: the folder of the run; created if it does not exist.
      started: start of `total_seconds`, as returned by `time.perf_counter`.
      profile: True to write a profiler trace of a few steps first.
      accept_code: True to resume even if the user's own code has changed since the run began.
      on_epoch: called after each epoch with the rows of all epochs so far, once they are saved.

    Returns:
      False if the run was finished already and nothing was done, else True.

    Raises:
      StoppedError: the process was told to stop; everything is saved.
      UserError: the configuration is invalid, the folder holds something else, the user's code has
        changed since the run began, or the network diverged.
    """
    users_code.refresh()
    users_code.refuse_inside(config.modules(), folder)
    config = models.resolve(config)
    if profile and processes.count() > 1:
        raise UserError("--profile: traces a run of one process; leave it out, or --processes")
    _refuse_strangers(config.to_dict(), [config])
    if processes.decided("the look for a result", lambda: workdir.finished(folder, config)):
        own_code.warn_of_changes(folder, own_code.modules(config))
        return False
    keep_programs()
    provenance.announce()
    with opened(folder, in_step=True) as stop:
        # Again, as another run may have finished it before this one had the lock.
        if processes.decided(
            "the second look", lambda: workdir.finished(folder, config, warn=True)
        ):
            return False
        start = _Start(folder, configs=[config], left=[config], accept_code=accept_code)
        result = _run(config, start, stop, started=started, profile=profile, on_epoch=on_epoch)
        print(_closing(result, folder))
    return True


def _run(
    config: Config,
    start: _Start,
    stop: Stop,
    *,
    started: float,
    profile: bool,
    on_epoch: OnEpoch,
) -> dict[str, Any]:
    """Trains and evaluates one network; returns the contents of `result.json`, which it writes."""
    folder = start.folder
    first = processes.is_first()
    on_row = loggers.of_run(config, folder)
    program = prepare_one(config)
    start.warn(task.warnings([config]))
    print(summary(program.task.model), flush=True)
    if profile:
        trace.write(program, folder / "profile")
    clock = Clock(started, compiling=program.compile_seconds)
    report = _Reporter(program, on_epoch)

    def begin() -> None:  # called late, so that an invalid run does not claim the folder
        if first:
            workdir.claim(folder, config)
            start.record_code()

    log = RunLog(folder, program.task.metrics, on_row) if first else NoLog()
    with on_row, log:
        with trained(
            program,
            folder / "checkpoints",
            stop=stop,
            log=log,
            console=report.console,
            clock=clock,
            begin=begin,
            after=report,
        ) as at:
            outputs, result = _evaluate(program, at, clock, start)
            if first:
                _publish(program, at, outputs, result, folder, stop)
        log.keep()
        result |= clock.record()
        if first:
            workdir.write_result(folder, result)  # last: the run is finished
    return result


class _Reporter:
    """Prints one line per epoch and calls `on_epoch`."""

    def __init__(self, program: Program, on_epoch: OnEpoch) -> None:
        self.console = Console(program.config.num_epochs, program.steps_per_epoch)
        self._metrics = program.task.metrics
        self._on_epoch = on_epoch

    def __call__(self, at: Position) -> None:
        (rows,) = at.rows
        if rows and rows[-1]["step"] == at.step:  # False if stopped within an epoch
            self.console.end_epoch(rows[-1], self._metrics)
            if self._on_epoch is not nothing:  # copies of all rows take time
                self._on_epoch([dict(row) for row in rows])


def _evaluate(
    program: Program,
    at: Position,
    clock: Clock,
    start: _Start,
) -> tuple[Outputs, dict[str, Any]]:
    """Evaluates the last step's weights on the test split.

    Returns:
      The network's outputs, and the contents of `result.json`.

    Raises:
      UserError: the network diverged.
    """
    if at.diverged.any():
        raise UserError(f"{at.status[0]}. Nothing of this epoch was saved. {ADVICE}")
    config = program.config
    split = data.load(config.data.name, TEST)
    started = time.perf_counter()
    examiner = program.examiner(split, p=True)
    clock.compiling += time.perf_counter() - started
    outputs = examiner(evaluation_weights(at.state))
    (rows,) = at.rows
    seconds = sum(row["seconds"] for row in rows)
    result = {
        "config": config.to_dict(),
        "parameters": count_parameters(at.state["params"]),
        "epochs": len(rows),
        **{f"test_{name}": mean for name, mean in outputs.means()[0].items()},
        "test_count": len(split.labels),
        **{name: value for name, value in rows[-1].items() if name.startswith("val_")},
        "train_seconds": seconds,
        **clock.record(),
        "images_per_second": at.step * config.batch_size / seconds,
        **start.facts(),
    }
    return outputs, result


def _publish(
    program: Program,
    at: Position,
    outputs: Outputs,
    result: dict[str, Any],
    folder: Path,
    stop: Stop,
) -> None:
    """Writes the evaluation of a trained network, its plots and its report."""
    config = program.config
    split = data.load(config.data.name, TEST)
    title = folder.resolve().name
    weights = jax.tree.map(lambda x: x[0], program.layout.members(evaluation_weights(at.state)))
    ink, model = data.ink(config.data.name), program.task.model
    # An `evaluate` of an earlier checkpoint may be writing: the last word is this one's.
    with sole_writer(folder, EVALUATING, waiting=stop.check):
        publish(
            folder,
            predictions(split, outputs),
            config=config.to_dict(),
            model=model,
            weights=weights,
            history=at.rows[0],
            result=result,
            checkpoint=at.step,
            title=title,
            drawing=page.drawing(folder, title, model, weights, split.class_names, ink),
        )


def _closing(result: dict[str, Any], folder: Path) -> str:
    return (
        f"test accuracy {result['test_accuracy']:.2%} of {result['test_count']:,} images, "
        f"loss {result['test_loss']:.4f}; "
        f"training took {result['train_seconds']:.1f} s of {result['total_seconds']:.1f} s\n"
        f"{folder / 'report.html'}"
    )


# Many networks


def run_sweep(
    plan: Sequence[Planned],
    folder: Path,
    *,
    started: float,
    analysis: str | Callable[..., Any] = "",
    accept_code: bool = False,
    on_epoch: OnEpoch = nothing,
) -> bool:
    """Trains or resumes the sweep in a folder, and compares its members.

    Args:
      plan: the members to train, in addition to those that the folder holds.
      folder: the folder of the sweep; created if it does not exist.
      started: start of `total_seconds`, as returned by `time.perf_counter`.
      analysis: as `Sweep.analysis`: writes further sections of the report.
      accept_code: True to go on even if the user's own code has changed since the sweep began.
      on_epoch: called after each epoch with its rows of `sweep.jsonl`, once they are saved.

    Returns:
      False if all members were finished and compared already and nothing was done, else True.

    Raises:
      StoppedError: the process was told to stop; finished work is saved.
      UserError: the configuration of a member is invalid, the analysis cannot be imported, the
        folder holds something else, or the user's code has changed since the sweep began.
    """
    users_code.refresh()
    named = {name for member in plan for name in member.config.modules()}
    users_code.refuse_inside(named, folder)
    write_sections = find_analysis(analysis)
    plan = sweep.resolve(plan)
    _refuse_strangers(
        {f"{its.architecture}, seed {its.config.seed}": its.config.to_dict() for its in plan},
        [its.config for its in plan],
    )
    if processes.decided("the look for a result", lambda: _compared(plan, folder)):
        own_code.warn_of_changes(folder, [n for its in plan for n in own_code.modules(its.config)])
        return False
    keep_programs()
    provenance.announce()
    sweep.check(plan)
    with opened(folder, in_step=False) as stop:
        # As in `run`.
        if processes.decided("the second look", lambda: _compared(plan, folder, warn=True)):
            return False
        left = sweep.left(plan, folder)
        start = _Start(
            folder,
            configs=[member.config for member in plan],
            left=[member.config for member in left],
            accept_code=accept_code,
        )
        clock = SweepClock(folder, started)
        results = _run_sweep(plan, left, start, clock, stop, on_epoch)
        if processes.is_first():
            _compare(results, start, clock, write_sections)
    return True


def _run_sweep(
    plan: Sequence[Planned],
    left: Sequence[Planned],
    start: _Start,
    clock: SweepClock,
    stop: Stop,
    on_epoch: OnEpoch,
) -> list[sweep.Result]:
    """Trains the members of a sweep that are `left`; returns the results of all."""
    on_row = loggers.of_sweep(left, start.folder)
    start.warn(task.warnings(member.config for member in plan))
    sweep.try_new(plan, start.folder)
    first = processes.is_first()
    plan = sweepdir.claim(start.folder, plan) if first else sweepdir.merged(start.folder, plan)
    if first:
        start.record_code()
    keep_clock = clock.keep if first else lambda: None
    try:
        with on_row:
            return sweep.train(
                plan, start.folder, stop, keep_clock=keep_clock, on_epoch=on_epoch, on_row=on_row
            )
    finally:
        keep_clock()


def _compare(
    results: Sequence[sweep.Result],
    start: _Start,
    clock: SweepClock,
    write_sections: Callable[..., Any] | None,
) -> None:
    """Writes the tables, plots and report of a sweep, and `result.json`."""
    # Imported late: only the end of a sweep needs pandas.
    from mnist_jax.analysis.sweep.report import WHOLE
    from mnist_jax.compare import compare

    folder = start.folder
    result = _summary(results, clock) | start.facts()
    times = {WHOLE: result["total_seconds"], "training": result["train_seconds"]}
    facts = times | {name: result[name] for name in ("device", "versions", "commit")}
    with writing(folder):
        compare(results, folder, facts, write_sections, _drawing_of_best(folder))
    workdir.write_result(folder, result)  # last: the sweep is finished


def _drawing_of_best(folder: Path) -> Drawing | None:
    """Returns the pad of a sweep's best network; None if no network is best."""
    try:
        best = network.find(folder, network.BEST)
        restored = restore(best)
    except UserError:
        return None
    return page.drawing_of(folder, best.title, restored)


def _compared(plan: Sequence[Planned], folder: Path, *, warn: bool = False) -> bool:
    """True if all members of `plan` and of the folder are finished and in the report."""
    both = sweepdir.merged(folder, plan)
    result = workdir.read_result(folder, "members", int, warn=warn)
    done = sweepdir.finished(sweepdir.populations(folder))
    its = {sweepdir.key(member) for member in both}
    return (
        result is not None
        and its <= done.keys()
        and result["members"] == len(its)
        and workdir.is_whole(folder, result, warn=warn)
    )


def _summary(results: Sequence[sweep.Result], clock: SweepClock) -> dict[str, Any]:
    return {
        "members": len(results),
        "architectures": len({its["architecture"] for its in results}),
        "diverged": sum(its["status"] != FINISHED for its in results),
        "train_seconds": sum(its["seconds"] for its in results),
        "total_seconds": clock.seconds(),
    }
