"""Judges how a disturbed command ended, and whether the next start goes on to the same bits."""

from collections.abc import Container
from pathlib import Path
from typing import Any

from benchmarks.reliability.failing import message, saved
from benchmarks.reliability.failing.ending import End, Ending
from benchmarks.reliability.failing.promise import Promise
from benchmarks.reliability.failing.saved import NOTHING, Saved
from benchmarks.reliability.failing.scenes import EARLIER, LAST, Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.killing.left import differences
from benchmarks.reliability.trial import Disturbance, Trial

ANY = Promise()
REMOVING = ("list", "open", "stat", "rmdir", "unlink")  # what removes a file or a folder


def play(
    stage: Stage, scene: Scene, disturbance: Disturbance, plain: Any, promise: Promise = ANY
) -> End:
    """Plays a scene once, and judges it.

    Args:
      stage: where.
      scene: what.
      disturbance: of its first start.
      plain: what the scene leaves if nothing disturbs it.
      promise: how it may end.

    Returns:
      `HARMLESS` or `MESSAGE`, or `UNMET` if it ended before the operation; or what was lost.

    Raises:
      TimeoutError: it hangs.
    """
    stage.reset(scene)
    before = saved.saved(stage.workdir)
    trial = stage.run(*scene.words, disturbance=disturbance)
    end = judged(stage, scene, trial, plain, promise, before)
    met = trial.disturbed
    if met is None:
        return _unmet(end, trial)
    # Threads may do the same operations in another order, so what was met is named.
    wrong = f"{end.wrong} (met: {met.kind} {met.path})" if end.wrong else ""
    return End(end.ending, wrong, met)


def _unmet(end: End, trial: Trial) -> End:
    if end.wrong or end.ending is Ending.HARMLESS:
        return End(Ending.UNMET, end.wrong)
    return End(wrong=f"nothing was disturbed, and it ends with: {message.last(trial)}")


def judged(
    stage: Stage,
    scene: Scene,
    trial: Trial,
    plain: Any,
    promise: Promise = ANY,
    before: Saved = NOTHING,
) -> End:
    """Judges how a scene has ended; `before` is what its folder held before."""
    wrong = _ended_badly(stage, trial, promise) or saved.lost(
        stage.workdir, trial, before, taken=promise.taken
    )
    if wrong:
        return End(wrong=wrong)
    if trial.status == 0:
        may_miss = (EARLIER, LAST) if promise.taken else ()
        return End(Ending.HARMLESS, _differs(stage, scene, trial, plain, before, may_miss))
    ending = promise.others.get(trial.status, Ending.MESSAGE)
    return End(ending, _goes_on_badly(stage, scene, plain, promise))


def _goes_on_badly(stage: Stage, scene: Scene, plain: Any, promise: Promise) -> str:
    """Starts a scene's command again, undisturbed; returns what is then wrong, or nothing."""
    before = saved.saved(stage.workdir)
    may_miss = (EARLIER,) if promise.taken else ()
    try:
        again = stage.run(*scene.words)
    except TimeoutError:
        return "the next start hangs"
    wrong = (
        _ended_badly(stage, again, Promise(harmless=True))
        or saved.lost(stage.workdir, again, before)
        or _differs(stage, scene, again, plain, before, may_miss)
    )
    return f"at the next start, {wrong}" if wrong else ""


def _ended_badly(stage: Stage, trial: Trial, promise: Promise) -> str:
    """Returns what is wrong with the end of a command; empty if it ended as promised."""
    if "Traceback" in trial.errors:
        return f"there is a traceback: {message.last(trial)}"
    if trial.status == 0 or trial.status in promise.others:
        return ""
    if trial.status != 1 or promise.harmless:
        return f"it ends with status {trial.status}: {message.last(trial)}"
    folders = stage.workdir, stage.shared
    return message.wrong(trial, folders, promise.reason, names=promise.names)


def _differs(
    stage: Stage, scene: Scene, trial: Trial, plain: Any, before: Saved, may_miss: Container[str]
) -> str:
    """Returns how a command or what it has left differs from an undisturbed one, if it does."""
    if wrong := saved.not_gone_on(trial, before):
        return wrong
    try:
        found = scene.left(stage.workdir, trial)
    except Exception as error:
        return f"what it leaves cannot be read: {error!r}"
    return differences(
        {n: its for n, its in found.items() if n in plain or not _stays(stage.workdir / n, trial)},
        {n: its for n, its in plain.items() if n in found or n not in may_miss},
    )


def _stays(path: Path, trial: Trial) -> bool:
    """True if the system has refused to remove what is at a path, or to look into it for that."""
    return any(
        its.disturbed and its.kind in REMOVING and Path(its.path).is_relative_to(path)
        for its in trial.operations
    )
