"""Lets the system fail under real trainings: disks, folders, clocks, memory and compiled programs.

File operations of short commands fail, each in a run of its own. A case holds its
promise if the command ends as if nothing had happened, or with status 1 and one message that names
the file and the system's reason; if no sound checkpoint is lost or set aside; and if the next start
goes on to the same bits.
"""

import dataclasses
import errno
import os
import queue
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.failing import cases, mishaps, scenes, verdict
from benchmarks.reliability.failing.cases import Case
from benchmarks.reliability.failing.scenes import Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.failing.verdict import KEPT_PROMISES, End
from benchmarks.reliability.progress import Progress
from benchmarks.reliability.row import Row

STAGES = 2  # that work at once
TRIES = 6  # to meet an operation whose number differs from run to run
MOST = 7  # errors of an operation that are tried
WHOLE = (scenes.RESTORING, scenes.TRAINING)
EACH = (
    "each operation that writes into its folder fails in its turn; of each kind of those that "
    "read, or are on data or compiled programs, the first, a middle and the last; and each new "
    "kind with each of its errors"
)
NEW = "the same for the kinds of operations that the commands above do not have"
OTHERS = f"{NEW}, with two errors each"
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
                again = [near(job, attempt) for job in unmet(jobs, ends)]
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
        first = scene in WHOLE or scene is scenes.SAVING
        its = cases.single(operations, known, again=scene in WHOLE, most=MOST if first else 2)
        jobs += _failing(scene, its)
        known |= cases.groups(operations).keys()
        if scene is scenes.TRAINING:
            jobs += _onward(scene, cases.onward(operations, 40))
            jobs += _slow(scene, cases.slow(operations, 60, 2.0))
    return jobs + _mishaps(mishaps.EVERY)


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


def unmet(jobs: Sequence[Job], ends: Sequence[End]) -> list[Job]:
    """Returns one job for each kind of operation of a scene of which none met its fault.

    The order of operations, and with it their numbers, differs from run to run.
    """
    goals = {job.goal: job for job in jobs if job.goal}
    for job, end in zip(jobs, ends, strict=True):
        if job.goal and end.met:
            met = end.met.kind, cases.kind_of_file(end.met.path)
            goals.pop((job.scene.name, met), None)
    return list(goals.values())


def near(job: Job, attempt: int) -> Job:
    """Returns a job with the case near that of another one; see `Case.near`."""
    if job.case is None:
        return job
    first = dataclasses.replace(job.case, act=cases.ERRORS[job.case.kinds][0])
    return _job(job.row, job.scene, first.near(attempt))


def played(stages: Sequence[Stage], jobs: Sequence[Job]) -> list[End]:
    """Plays all jobs, each on one of the stages; returns how they ended."""
    progress = Progress("faults", len(jobs))
    ends = [End("")] * len(jobs)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(len(jobs)):
        waiting.put(i)

    def work(stage: Stage) -> None:
        while True:
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                _, plain = stage.listed(jobs[i].scene)
                ends[i] = jobs[i].play(stage, plain)
            except TimeoutError:
                ends[i] = End("it hangs")
            except Exception:  # a fault of the measurement is no reason to lose what is measured
                ends[i] = End(f"it cannot be judged: {traceback.format_exc(limit=-2)}")
            progress.add(lost=ends[i].text not in KEPT_PROMISES)

    threads = [threading.Thread(target=work, args=(stage,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


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
        its = [(job, end.text) for job, end in zip(jobs, ends, strict=True) if job.row == what]
        counts = Counter(text for _, text in its)
        goals = {job.goal for job, _ in its if job.goal}
        never = [job for job in missed if job.row == what]
        said = [f"{len(goals) - len(never):,} of {len(goals):,} kinds of operations were met"]
        said = said if goals else []
        said += [f"{counts[end]:,} {text}" for end, text in KEPT_PROMISES.items() if counts[end]]
        lost = [f"{job.name}: {text}" for job, text in its if text not in KEPT_PROMISES]
        if whole:
            lost += [f"{' '.join(job.case.group)}: no fault was met" for job in never if job.case]
        tried = len(its) - counts[verdict.UNMET]
        lost += [] if tried else ["nothing was met by what was to happen to it"]
        found.append(Row(what, tried, "; ".join(said), lost))
    return found


def _failing(scene: Scene, its: Sequence[Case]) -> list[Job]:
    which = EACH if scene in WHOLE else NEW if scene is scenes.SAVING else OTHERS
    return [_job(f"{scene.name}: {which}", scene, case) for case in its]


def _onward(scene: Scene, its: Sequence[Case]) -> list[Job]:
    return [
        _job(f"{scene.name}: {NAMES[case.act]}, from some moment on", scene, case) for case in its
    ]


def _slow(scene: Scene, its: Sequence[Case]) -> list[Job]:
    return [_job(f"{scene.name}: operations that take long", scene, case) for case in its]


def _job(what: str, scene: Scene, case: Case) -> Job:
    code = getattr(errno, case.act, None)
    # What orbax and tfds may not look at or list is missing for them, whatever the reason.
    silent = code is None or {"stat", "list"} & {*case.kinds.split(",")}
    reason = "" if silent else os.strerror(getattr(errno, case.act))

    def play(stage: Stage, plain: Any) -> End:
        return verdict.play(stage, scene, case.disturbance, plain, reason)

    single = case.kinds in cases.ERRORS and not case.onward
    return Job(what, str(case), scene, play, case if single else None)


def _mishaps(its: Sequence[mishaps.Mishap]) -> list[Job]:
    def playing(one: mishaps.Mishap) -> Callable[[Stage, Any], End]:
        return lambda stage, plain: End(one.play(stage, plain))

    return [Job(one.row, one.name, one.scene, playing(one)) for one in its]
