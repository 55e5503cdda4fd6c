"""Lets the system fail under real trainings: disks, folders, clocks, memory and compiled programs.

Every file operation of short commands fails once, each in a run of its own. A case holds its
promise if the command ends as if nothing had happened, or with status 1 and one message that names
the file and the system's reason; if no sound checkpoint is lost or set aside; and if the next start
goes on to the same bits.
"""

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
from benchmarks.reliability.progress import Progress
from benchmarks.reliability.row import Row

STAGES = 2  # that work at once
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
    play: Callable[[Stage, Any], str]  # returns the verdict; see `verdict.play`


def measure(*, quick: bool) -> list[Row]:
    """Plays all cases, or a few of each kind, and returns a row for each kind.

    Args:
      quick: True for a few of each kind, in half a minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        stages = [Stage(Path(folder, str(i))) for i in range(1 if quick else STAGES)]
        try:
            jobs = few(stages[0]) if quick else every(stages[0])
            return rows(jobs, played(stages, jobs))
        finally:
            for stage in stages:
                stage.close()


def every(stage: Stage) -> list[Job]:
    """Returns all cases: the operations are listed on a stage."""
    jobs: list[Job] = []
    known: set[cases.Group] = set()
    for scene in scenes.SCENES:
        operations, _ = stage.listed(scene)
        training = scene is scenes.TRAINING
        jobs += _failing(scene, cases.single(operations, known, again=training))
        known |= cases.groups(operations).keys()
        if training:
            jobs += _onward(scene, cases.onward(operations, 20))
            jobs += _slow(scene, cases.slow(operations, 25, 2.0))
    return jobs + _mishaps(mishaps.EVERY)


def few(stage: Stage) -> list[Job]:
    """Returns a few cases of each kind."""
    jobs: list[Job] = []
    for scene, count in ((scenes.RESTORING, 4), (scenes.SAVING, 4), (scenes.TRAINING, 2)):
        operations, _ = stage.listed(scene)
        jobs += _failing(scene, spread(cases.single(operations), count))
    return [
        *jobs,
        *_onward(scene, spread(cases.onward(operations, 5), 1)),
        *_slow(scene, cases.slow(operations, len(operations) // 2, 0.5)[:1]),
        *_mishaps(mishaps.FEW),
    ]


def spread(found: Sequence[Case], count: int) -> list[Case]:
    """Returns so many of the cases, from all over them."""
    return [found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)]


def played(stages: Sequence[Stage], jobs: Sequence[Job]) -> list[str]:
    """Plays all jobs, each on one of the stages; returns their verdicts."""
    progress = Progress("faults", len(jobs))
    verdicts = [""] * len(jobs)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(len(jobs)):
        waiting.put(i)

    def work(stage: Stage) -> None:
        plain: dict[str, Any] = {}
        while True:
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            scene = jobs[i].scene
            try:
                if scene.name not in plain:
                    _, plain[scene.name] = stage.listed(scene)
                verdicts[i] = jobs[i].play(stage, plain[scene.name])
            except Exception:  # a fault of the measurement is no reason to lose what is measured
                verdicts[i] = f"it cannot be judged: {traceback.format_exc(limit=-2)}"
            progress.add(lost=verdicts[i] not in verdict.KEPT_PROMISES)

    threads = [threading.Thread(target=work, args=(stage,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return verdicts


def rows(jobs: Sequence[Job], verdicts: Sequence[str]) -> list[Row]:
    """Returns a row for each kind of job, with what came of them."""
    found = []
    for what in dict.fromkeys(job.row for job in jobs):
        its = {job.name: end for job, end in zip(jobs, verdicts, strict=True) if job.row == what}
        counts = Counter(its.values())
        ends = [f"{counts[end]:,} {text}" for end, text in verdict.KEPT_PROMISES.items()]
        ends = [text for text in ends if not text.startswith("0 ")]
        lost = [f"{name}: {end}" for name, end in its.items() if end not in verdict.KEPT_PROMISES]
        tried = len(its) - counts[verdict.UNMET]
        found.append(Row(what, tried, "; ".join(ends), lost))
    return found


def _failing(scene: Scene, its: Sequence[Case]) -> list[Job]:
    what = f"{scene.name}: each operation on its folder, data and compiled programs fails once"
    return [_job(what, scene, case) for case in its]


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

    def play(stage: Stage, plain: Any) -> str:
        return verdict.play(stage, scene, case.disturbance, plain, reason)

    return Job(what, str(case), scene, play)


def _mishaps(its: Sequence[mishaps.Mishap]) -> list[Job]:
    return [Job(one.row, one.name, one.scene, one.play) for one in its]
