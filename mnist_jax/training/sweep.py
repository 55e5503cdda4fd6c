"""Trains a sweep: resumes, trains and evaluates each of its populations."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax import data, metrics, models, processes
from mnist_jax.config import Config
from mnist_jax.data import feed
from mnist_jax.errors import UserError
from mnist_jax.members import DIVERGED, FINISHED, Planned
from mnist_jax.training import (
    checkpoints,
    layout,
    logs,
    memory,
    population,
    shared_folder,
    sweepdir,
    task,
)
from mnist_jax.training.clock import Clock
from mnist_jax.training.console import Console
from mnist_jax.training.logs import Log, NoLog, OnEpoch, OnRow, Row, SweepLog, named
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program, prepare_many
from mnist_jax.training.session import trained
from mnist_jax.training.state import count_parameters, evaluation_weights
from mnist_jax.training.stop import Stop
from mnist_jax.training.sweepdir import PopulationDir
from mnist_jax.training.warm_start import warm_start
from mnist_jax.training.workdir import plain

Result = dict[str, Any]


def resolve(plan: Sequence[Planned]) -> list[Planned]:
    """Returns the plan with all defaults filled in.

    Raises:
      UserError: a model has an unknown name, keyword or value.
    """
    whole: dict[str, Config] = {}
    for member in plan:
        if member.architecture not in whole:
            whole[member.architecture] = models.resolve(member.config)
    return [
        Planned(m.architecture, dataclasses.replace(whole[m.architecture], seed=m.config.seed))
        for m in plan
    ]


def check(plan: Sequence[Planned]) -> None:
    """Checks each architecture at the start of a sweep, so that none fails later on.

    Raises:
      UserError: a configuration is invalid, or two metrics would share a column; or the devices of
        several processes form one backend.
    """
    if jax.process_count() > 1:
        raise UserError(
            "JAX sees the chips of all hosts, but each process of a sweep needs its own: set "
            "TPU_PROCESS_BOUNDS=1,1,1 and, for four chips, TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 and "
            "TPU_VISIBLE_CHIPS=0,1,2,3 on each host"
        )
    configs = {member.architecture: member.config for member in plan}.values()
    for config in configs:
        _check(config)
    metrics.refuse_ambiguous(name for config in configs for name in config.metrics)


def _check(config: Config) -> None:
    layout.for_members(config, 1)
    data.check_splits(config.data.name, config.data.train_split, config.data.val_split)
    feed.check(config)
    spec = data.spec(config.data.name)
    task.check(task.build(config, spec, population.STEPS_PER_EPOCH))


def try_new(plan: Sequence[Planned], workdir: Path) -> None:
    """Tries each architecture that is new in `workdir`: its code, its size, its initial weights.

    Raises:
      UserError: a network needs more memory than there is, or the weights that `config.init_from`
        names are missing or do not fit.
      Exception: whatever the user's own code raises.
    """
    folders = sweepdir.populations(workdir)
    begun = {member.architecture for folder in folders for member in folder.members}
    new = {m.architecture: m.config for m in plan if m.architecture not in begun}
    tried: set[str] = set()
    for config in new.values():
        code = repr((config.model.name, config.loss, config.metrics, config.optimizer.name))
        # A step is traced once per code, as it is slow; of the others the state tells the size.
        trial = population.try_start if code in tried else population.try_step
        spec = data.spec(config.data.name)
        state = jax.eval_shape(functools.partial(trial, config, spec))
        need = memory.size(state) + memory.size(state["params"])  # gradients
        memory.refuse(need, jax.local_devices()[:1], "the network")
        if config.init_from:
            warm_start(jax.tree.map(lambda x: np.empty((1, *x.shape), x.dtype), state), config)
        tried.add(code)


def left(plan: Sequence[Planned], workdir: Path) -> list[Planned]:
    """Returns the members that are still to be trained or evaluated, or not in `sweep.jsonl` yet.

    Only the first of several processes writes to it: in the end, what others have trained.
    """
    done = sweepdir.finished(sweepdir.populations(workdir))
    written = logs.epochs_written(workdir)

    def is_left(name: logs.Name) -> bool:
        return name not in done or written[name] < len(done[name]["history"])

    return [its for its in sweepdir.merged(workdir, plan) if is_left(sweepdir.key(its))]


def train(
    plan: Sequence[Planned],
    workdir: Path,
    stop: Stop,
    *,
    keep_clock: Callable[[], None],
    on_epoch: OnEpoch,
    on_row: OnRow = logs.nothing,
) -> list[Result]:
    """Trains and evaluates all members of a sweep that are not finished yet.

    Of several processes, each trains some of the members; the first one returns when all are done.

    Args:
      plan: all members, resolved, in the order of the tables.
      workdir: the sweep's folder.
      stop: checked after each chunk of steps.
      keep_clock: called whenever a population is finished, to save the time taken.
      on_epoch: called with each epoch's lines of `sweep.jsonl`, after they are saved.
      on_row: called with each new line of `sweep.jsonl`, after it is written.

    Returns:
      The result of each member, as in `results.json`, in the order of `plan`; in all processes but
      the first, nothing.

    Raises:
      StoppedError: `stop` was requested; all progress is saved.
    """
    folders, own = _agreed(plan, workdir)
    print(_opening(plan, folders), flush=True)
    log = SweepLog(workdir, on_row) if processes.is_first() else None
    number = 0
    while number < len(own):
        stop.check()
        folder = own[number]
        program = _prepared(folder)
        if program is None:
            own[number : number + 1] = _halves(folder, workdir)
            continue
        number += 1
        title = f"{number}/{len(own)}"
        part = _part(log, folder)
        results = _train(program, folder, stop, part, title, on_epoch)
        keep_clock()
        print(_closing(title, folder.members, results), flush=True)
    processes.barrier("the end of the training", patience=None, waiting=stop.check)
    if log is None:
        return []
    return _all_results(plan, workdir, log)


def _finished(plan: Sequence[Planned], workdir: Path) -> list[PopulationDir]:
    """Returns the populations of all members, once the results of other processes are visible."""
    started = time.monotonic()
    while True:
        folders = sweepdir.populations(workdir)
        missing = {sweepdir.key(its) for its in plan} - sweepdir.finished(folders).keys()
        if not missing:
            return folders
        if time.monotonic() - started > shared_folder.SEEN_WITHIN:
            raise UserError(
                f"the results of {len(missing)} members are not visible in {workdir} to process 0; "
                "run the same command again"
            )
        time.sleep(1.0)


def _part(log: SweepLog | None, folder: PopulationDir) -> Log:
    names = [sweepdir.key(member) for member in folder.members]
    return NoLog() if log is None else log.of(names)


def _all_results(plan: Sequence[Planned], workdir: Path, log: SweepLog) -> list[Result]:
    """Reads the results of all members, and writes to the log what is not in it."""
    folders = _finished(plan, workdir)
    for folder in folders:
        if (results := folder.results) is not None:
            _part(log, folder).show([result["history"] for result in results])
    log.keep({sweepdir.key(member) for member in plan})
    found = sweepdir.finished(folders)
    return [found[sweepdir.key(member)] for member in plan]


def _agreed(
    plan: Sequence[Planned], workdir: Path
) -> tuple[list[PopulationDir], list[PopulationDir]]:
    """Returns the populations, the same in all processes, and those that this one shall train.

    Raises:
      UserError: this process does not see the folders that the first one sees.
    """
    folders = _folders(plan, workdir)
    names, left = processes.decided(
        "the plan of the sweep",
        lambda: [
            [its.path.name for its in folders],
            [its.path.name for its in folders if its.results is None],
        ],
    )
    own = left[processes.index() :: processes.count()]
    started = time.monotonic()
    while [its.path.name for its in folders] != names:  # a network file system may lag behind
        if time.monotonic() - started > shared_folder.SEEN_WITHIN:
            raise UserError(
                f"process {processes.index()} sees other populations in {workdir} than process 0; "
                "run the same command again"
            )
        time.sleep(1.0)
        folders = _folders(plan, workdir)
    processes.barrier("the plan of the sweep, seen")  # before any of them creates a folder
    return folders, [its for its in folders if its.path.name in own]


def _folders(plan: Sequence[Planned], workdir: Path) -> list[PopulationDir]:
    """Returns the populations begun earlier, then new ones for the members in none of them.

    A process may have been killed before it began: what it was to train is one population again,
    unless others have begun to train some of it.
    """
    begun = sweepdir.populations(workdir)
    there = {sweepdir.key(member) for folder in begun for member in folder.members}
    if there >= {sweepdir.key(member) for member in plan}:
        return begun
    first = _shared(plan, workdir)
    new = [its for its in first if there.isdisjoint(map(sweepdir.key, its.members))]
    there |= {sweepdir.key(member) for folder in new for member in folder.members}
    rest = [member for member in plan if sweepdir.key(member) not in there]
    return begun + new + _shared(rest, workdir)


def _shared(members: Sequence[Planned], workdir: Path) -> list[PopulationDir]:
    """Returns populations for all these members; each process gets its share of every group."""
    members = [sweepdir.without_loggers(member) for member in members]
    groups = population.together([member.config for member in members])
    shares = [its[i :: processes.count()] for its in groups for i in range(processes.count())]
    return [sweepdir.population_dir(workdir, [members[i] for i in its]) for its in shares if its]


def _prepared(folder: PopulationDir) -> Program | None:
    """Compiles a population's programs; `None` if they exceed the memory and it can be split."""
    can_be_split = len(folder.members) > 1 and not checkpoints.steps(folder.checkpoints)
    try:
        program = prepare_many([member.config for member in folder.members])
    except memory.TooLargeError:
        if can_be_split:
            return None
        raise
    except jax.errors.JaxRuntimeError as error:
        if can_be_split and memory.EXHAUSTED in str(error):
            return None
        raise
    return program if program.fits or not can_be_split else None


def _halves(folder: PopulationDir, workdir: Path) -> list[PopulationDir]:
    """Splits a population that is too large for the devices' memory into two."""
    folder.forget()
    middle = len(folder.members) // 2
    parts = folder.members[:middle], folder.members[middle:]
    return [sweepdir.population_dir(workdir, part) for part in parts]


def _train(
    program: Program,
    folder: PopulationDir,
    stop: Stop,
    log: Log,
    title: str,
    on_epoch: OnEpoch,
) -> list[Result]:
    """Trains a population to its end, evaluates it on the test split and saves the results."""
    console = Console(program.config.num_epochs, program.steps_per_epoch, title)

    def after(at: Position) -> None:
        console.say(_news(title, at, program))
        lines = [
            named(sweepdir.key(member), rows[-1])
            for member, rows in zip(folder.members, at.rows, strict=True)
            if rows and rows[-1]["step"] == at.step
        ]
        if lines:
            on_epoch(lines)

    with trained(
        program,
        folder.checkpoints,
        stop=stop,
        log=log,
        console=console,
        clock=Clock(time.perf_counter()),
        begin=folder.begin,
        after=after,
    ) as at:
        results = _evaluate(program, at, folder.members)
    folder.finish(results)
    return results


def _evaluate(program: Program, at: Position, members: Sequence[Planned]) -> list[Result]:
    """Evaluates each member's last weights on the test split; diverged ones get no metrics."""
    test = data.load(program.config.data.name, "test")
    outputs = program.examiner(test)(evaluation_weights(at.state))
    means = outputs.means()
    parameters = count_parameters(at.state["params"]) // len(at.state["step"])
    results = []
    for i, member in enumerate(members):
        status = at.status[i]
        if status == FINISHED and not outputs.finite[i]:
            status = f"{DIVERGED}: an output on the test split is not finite"
        sound = status == FINISHED
        results.append(
            {
                "architecture": member.architecture,
                "seed": member.config.seed,
                "config": plain(member.config.to_dict()),
                "parameters": parameters,
                "history": at.rows[i],
                "seconds": sum(row["seconds"] for row in at.rows[i]),
                "test": means[i] if sound else {},
                "status": status,
            }
        )
    return results


def _opening(plan: Sequence[Planned], folders: Sequence[PopulationDir]) -> str:
    """Returns the opening line, which counts networks, architectures and programs.

    For example `72 networks of 24 architectures, in 24 compiled programs, 8 of them finished`.
    """
    architectures = len({member.architecture for member in plan})
    done = sum(folder.results is not None for folder in folders)
    text = f"{_count(len(plan), 'network')} of {_count(architectures, 'architecture')}, "
    text += f"in {_count(len(folders), 'compiled program')}"
    return text + (f", {done} of them finished" if done else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _news(title: str, at: Position, program: Program) -> str:
    """Returns a line like `2/3  epoch 4/60  val_accuracy 95.31 % (mean of 32)`."""
    last = [rows[-1] for rows in at.rows if rows and rows[-1]["epoch"] == at.epochs]
    figure = _mean(last, program.config, count=True)
    return "  ".join(
        filter(None, [title, f"epoch {at.epochs}/{program.config.num_epochs}", figure])
    )


def _closing(title: str, members: Sequence[Planned], results: Sequence[Result]) -> str:
    """Summarises a finished population in one line per architecture."""
    lines = []
    for name in dict.fromkeys(member.architecture for member in members):
        its = [result for result in results if result["architecture"] == name]
        sound = [result for result in its if result["status"] == FINISHED]
        lost = f"{len(its) - len(sound)} of {len(its)} diverged" if len(sound) < len(its) else ""
        figure = _mean([result["history"][-1] for result in sound], members[0].config)
        seconds = f"{sum(result['seconds'] for result in its):.1f} s"
        lines.append("  ".join(filter(None, [title, name, figure, lost, seconds])))
    return "\n".join(lines)


def _mean(rows: Sequence[Row], config: Config, *, count: bool = False) -> str:
    """Formats mean and standard deviation of `config.best` over rows; empty if no row has it."""
    values = [row[config.best] for row in rows if row[config.best] is not None]
    if not values:
        return ""
    metric = metrics.of_column(metrics.find(config.metrics), config.best)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    mean = metric.with_deviation(statistics.fmean(values), deviation)
    text = f"{config.best} {mean}{metric.unit}"
    return f"{text} (mean of {len(values)})" if count else text
