"""Lets the system fail under real trainings: disks, folders, clocks, memory and compiled programs.

File operations of short commands fail, each in a run of its own. A case holds its
promise if the command ends as if nothing had happened, or with status 1 and one message that names
the file and the system's reason; if no sound checkpoint is lost or set aside; and if the next start
goes on from the newest checkpoint to the same bits, and leaves nothing over.
"""

import dataclasses
import errno
import os
import queue
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.failing import cases, mishaps, scenes, verdict
from benchmarks.reliability.failing.cases import Case
from benchmarks.reliability.failing.ending import End, Ending
from benchmarks.reliability.failing.promise import Promise
from benchmarks.reliability.failing.scenes import Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.progress import Progress
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Operation

STAGES = 2  # that work at once
TRIES = 6  # to meet an operation whose number differs from run to run
ALL_ERRORS = (scenes.RESTORING, scenes.SAVING)
# Files of which a kind of operation fails again, though it has failed in an earlier scene.
AGAIN = {scenes.RESUMED: r"/checkpoints(/N(/.*)?)?$", scenes.SWEEPING: "/checkpoints"}
EACH = "each operation fails in its turn"
NEW = "each kind of operation that the commands above lack fails"
NAMES = {
    "ENOSPC": "a disk that stays full",
    "EMFILE": "no file that can be opened",
    "EROFS": "a disk that stays read-only",
    "EIO": "a disk that is dead",
    "ESTALE": "a file server that is gone",
}


@dataclass(frozen=True)
class Job:
    """A case of a row, which a stage plays."""

    row: str
    name: str  # tells it from the others of its row
    scene: Scene
    play: Callable[[Stage, Any], End]
    case: Case | None = None  # of which one operation has to be met

    @property
    def goal(self) -> tuple[str, cases.Group] | None:
        """The scene, and the kind of operation that has to be met in it."""
        return None if self.case is None else (self.scene.name, self.case.group)


def measure(*, quick: bool) -> list[Row]:
    """Plays all cases, or a few of them, and returns a row for each kind.

    Args:
      quick: True for a few of some kinds, in less than a minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        stages = [Stage(Path(folder, str(i))) for i in range(1 if quick else STAGES)]
        try:
            jobs = few(stages[0]) if quick else every(stages[0])
            ends = played(stages, jobs)
            for attempt in range(0 if quick else TRIES):
                again = [near(job, case, attempt) for job, case in unmet(jobs, ends)]
                jobs, ends = jobs + again, ends + played(stages, again)
            return rows(jobs, ends, whole=not quick)
        finally:
            for stage in stages:
                stage.close()


def every(stage: Stage) -> list[Job]:
    """Returns all cases: the operations are listed on a stage."""
    jobs: list[Job] = []
    known: set[cases.Group] = set()
    for scene in scenes.SCENES:
        operations, _ = stage.listed(scene)
        jobs += _failing(scene, _single(scene, operations, known))
        known |= cases.groups(operations).keys()
        if scene is scenes.TRAINING:
            jobs += _onward(scene, cases.onward(operations, 40))
            jobs += _slow(scene, cases.slow(operations, 60, 2.0))
    return jobs + _mishaps(mishaps.EVERY)


def _single(
    scene: Scene, operations: Sequence[Operation], known: Container[cases.Group]
) -> list[Case]:
    return cases.single(
        operations,
        known,
        each=scene is scenes.TRAINING,
        again=AGAIN.get(scene, cases.NOTHING),
        most=cases.MOST if scene in ALL_ERRORS else 1,
    )


def few(stage: Stage) -> list[Job]:
    """Returns a few cases of some kinds."""
    jobs: list[Job] = []
    for scene, count in ((scenes.RESTORING, 2), (scenes.SAVING, 3)):
        operations, _ = stage.listed(scene)
        jobs += _failing(scene, spread(cases.single(operations), count))
    operations, _ = stage.listed(scenes.TRAINING)
    jobs += _onward(scenes.TRAINING, spread(cases.onward(operations, 5), 1))
    return jobs + _mishaps(mishaps.FEW)


def spread(found: Sequence[Case], count: int) -> list[Case]:
    """Returns so many of the cases, from all over them."""
    return [found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)]


def unmet(jobs: Sequence[Job], ends: Sequence[End]) -> list[tuple[Job, Case]]:
    """Returns one job for each kind of operation of a scene of which none met its fault.

    The order of operations, and with it their numbers, differs from run to run.
    """
    # The first job of each is kept: later ones are those that were tried near it.
    goals = {job.goal: (job, case) for job in reversed(jobs) if (case := job.case)}
    for job, end in zip(jobs, ends, strict=True):
        if job.goal and end.met:
            met = end.met.kind, cases.kind_of_file(end.met.path)
            goals.pop((job.scene.name, met), None)
    return list(goals.values())


def near(job: Job, case: Case, attempt: int) -> Job:
    """Returns a job with the case near that of another one; see `Case.near`."""
    first = dataclasses.replace(case, act=cases.ERRORS[case.kinds][0])
    return _job(job.row, job.scene, first.near(attempt))


def played(stages: Sequence[Stage], jobs: Sequence[Job]) -> list[End]:
    """Plays all jobs, each on one of the stages; returns how they ended."""
    progress = Progress("faults", len(jobs))
    free: queue.SimpleQueue[Stage] = queue.SimpleQueue()
    for stage in stages:
        free.put(stage)

    def play(job: Job) -> End:
        stage = free.get()
        try:
            end = _end(stage, job)
        finally:
            free.put(stage)
        progress.add(f"{job.name}: {end.wrong}" if end.wrong else "")
        return end

    with ThreadPoolExecutor(len(stages)) as pool:
        return list(pool.map(play, jobs))


def _end(stage: Stage, job: Job) -> End:
    try:
        _, plain = stage.listed(job.scene)
        return job.play(stage, plain)
    except TimeoutError:
        return End(wrong="it hangs")
    except Exception:  # a fault of the measurement is no reason to lose what is measured
        return End(wrong=f"it cannot be judged: {traceback.format_exc(limit=-2)}")


def rows(jobs: Sequence[Job], ends: Sequence[End], *, whole: bool = False) -> list[Row]:
    """Returns a row for each kind of job, with what came of them.

    Args:
      jobs: the jobs.
      ends: how they ended.
      whole: True to count each kind of operation as lost that met no fault.
    """
    missed = unmet(jobs, ends)
    found = []
    for what in dict.fromkeys(job.row for job in jobs):
        its = [(job, end) for job, end in zip(jobs, ends, strict=True) if job.row == what]
        never = [case for job, case in missed if job.row == what]
        found.append(_row(what, its, never, whole=whole))
    return found


def _row(what: str, its: Sequence[tuple[Job, End]], never: Sequence[Case], *, whole: bool) -> Row:
    """Returns a row of jobs, of which `never` are the kinds of operations that met no fault."""
    counts = Counter(end.ending for _, end in its if not end.wrong)
    goals = {job.goal for job, _ in its if job.goal}
    said = [f"{len(goals) - len(never):,} of {len(goals):,} kinds of operations were met"]
    said = said if goals else []
    said += [f"{counts[ending]:,} {ending.value}" for ending in Ending if counts[ending]]
    lost = [f"{job.name}: {end.wrong}" for job, end in its if end.wrong]
    if whole:
        lost += [f"{' '.join(case.group)}: no fault was met" for case in never]
    tried = len(its) - counts[Ending.UNMET]
    lost += [] if tried else ["nothing was met by what was to happen to it"]
    return Row(what, tried, "; ".join(said), lost)


def _failing(scene: Scene, its: Sequence[Case]) -> list[Job]:
    which = EACH if scene is scenes.TRAINING else NEW
    which += " with each of its errors" if scene in ALL_ERRORS else ""
    which += ", and each on its checkpoints" if scene in AGAIN else ""
    return [_job(f"{scene.name}: {which}", scene, case) for case in its]


def _onward(scene: Scene, its: Sequence[Case]) -> list[Job]:
    return [
        _job(f"{scene.name}: {NAMES[case.act]}, from some moment on", scene, case) for case in its
    ]


def _slow(scene: Scene, its: Sequence[Case]) -> list[Job]:
    return [_job(f"{scene.name}: operations that take long", scene, case) for case in its]


def _job(what: str, scene: Scene, case: Case) -> Job:
    code = getattr(errno, case.act, 0)
    # What orbax and tfds may not look at or list is missing for them, whatever the reason.
    silent = not code or {"stat", "list"} & {*case.kinds.split(",")}
    promise = Promise("" if silent else os.strerror(code), harmless=case.act == "slow")

    def play(stage: Stage, plain: Any) -> End:
        return verdict.play(stage, scene, case.disturbance, plain, promise)

    single = case.kinds in cases.ERRORS and not case.onward
    return Job(what, str(case), scene, play, case if single else None)


def _mishaps(its: Sequence[mishaps.Mishap]) -> list[Job]:
    return [Job(one.row, one.name, one.scene, one.play) for one in its]
