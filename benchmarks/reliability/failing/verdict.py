"""Judges how a disturbed command ended, and whether the next start goes on to the same bits."""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability.failing.scenes import EPOCHS, KEPT, STEPS, WORKDIR, Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.trial import Disturbance, Operation, Trial
from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint, checkpoints

HARMLESS, MESSAGE, STOPPED, ABORTED, UNMET = "harmless", "message", "stopped", "aborted", "unmet"
ON = "and the next start went on to the same bits"
KEPT_PROMISES = {  # how a case ends that loses nothing, and what the table says of it
    HARMLESS: "changed nothing",
    MESSAGE: f"ended with status 1 and one message, {ON}",
    STOPPED: f"ended by the signal that they were sent, {ON}",
    ABORTED: f"were ended by the system without a message, {ON}",
    UNMET: "were not met by what was to happen to them, and are not counted",
}


class End(NamedTuple):
    """How a case ended, and which operation was disturbed first; None: none, or it was no case."""

    text: str  # one of `KEPT_PROMISES`, or a sentence that says what was lost
    met: Operation | None = None


def play(stage: Stage, scene: Scene, disturbance: Disturbance, plain: Any, reason: str = "") -> End:
    """Plays a scene once, and judges it.

    Args:
      stage: where.
      scene: what.
      disturbance: of its first start.
      plain: what the scene leaves if nothing disturbs it.
      reason: words of which its message must contain one line; empty: any message.

    Returns:
      `HARMLESS` or `MESSAGE`, or `UNMET` if it ended before the operation; or what was lost.

    Raises:
      TimeoutError: it hangs.
    """
    stage.reset(scene)
    before = _steps(stage.workdir)
    trial = stage.run(*scene.words, disturbance=disturbance)
    met = trial.disturbed
    end = judged(stage, scene, trial, plain, reason, before)
    if met is None:
        ended = f"nothing was disturbed, and it ends with status {trial.status}: {_last(trial)}"
        return End({HARMLESS: UNMET, MESSAGE: ended}.get(end, end))
    # Threads may do the same operations in another order, so what was met is named.
    return End(end if end in KEPT_PROMISES else f"{end} (met: {met.kind} {met.path})", met)


def judged(
    stage: Stage,
    scene: Scene,
    trial: Trial,
    plain: Any,
    reason: str = "",
    before: list[int] | None = None,
    *,
    names_file: bool = True,
) -> str:
    """Judges how a scene has ended, as `play` does."""
    if wrong := ended_badly(trial, reason, names_file=names_file) or _lost_checkpoint(
        stage.workdir, trial, before or []
    ):
        return wrong
    if trial.status == 0:
        return compared(stage.workdir, scene, trial, plain) or HARMLESS
    return goes_on(stage, scene, plain) or MESSAGE


def goes_on(stage: Stage, scene: Scene, plain: Any, *, ignored: Container[str] = ()) -> str:
    """Starts a scene's command again, undisturbed; returns what is then wrong, or nothing."""
    try:
        again = stage.run(*scene.words)
    except TimeoutError:
        return "the next start hangs"
    if again.status:
        return f"the next start ends with status {again.status}: {_last(again)}"
    if wrong := compared(stage.workdir, scene, again, plain, ignored=ignored):
        return f"after the next start, {wrong}"
    return ""


def ended_badly(trial: Trial, reason: str = "", *, names_file: bool = True) -> str:
    """Returns what is wrong with the end of a command; empty if it ended as promised."""
    if trial.status == 0:
        return ""
    if trial.status != 1:
        return f"it ends with status {trial.status}: {_last(trial)}"
    if "Traceback" in trial.errors:
        return f"it ends with a traceback: {_last(trial)}"
    messages = re.findall(r"^error: .*", trial.errors, re.MULTILINE)
    if len(messages) != 1:
        return f"it ends with {len(messages)} messages: {_last(trial)}"
    if names_file and not re.search(rf"/|\b{WORKDIR}\b", messages[0]):
        return f"its message names no file: {messages[0]}"
    if reason and reason.lower() not in trial.errors.lower():
        return f"its message does not say {reason!r}: {_last(trial)}"
    return ""


def _lost_checkpoint(workdir: Path, trial: Trial, before: list[int]) -> str:
    """Returns which checkpoint is missing, damaged or set aside; empty if none is."""
    folder = workdir / "checkpoints"
    if aside := [path.name for path in folder.glob("*damaged*")]:
        return f"checkpoints were set aside: {', '.join(aside)}"
    there = _steps(workdir)
    for step in there:
        try:
            checkpoint.check(folder, step)
        except (checkpoint.DamagedError, UserError) as error:
            return f"checkpoint {step} is not sound: {error}"
    shown = re.findall(rf"^ +(\d+)/{EPOCHS} ", trial.output, re.MULTILINE)
    # An epoch is shown once the checkpoint of the one before is on the disk.
    written = {STEPS * epoch for epoch in range(1, max(map(int, shown), default=0))}
    for step in sorted(written | {*before}):
        if step not in there and step + KEPT * STEPS not in there:
            return f"checkpoint {step} is lost; there are {there}"
    return ""


def compared(
    workdir: Path, scene: Scene, trial: Trial, plain: Any, *, ignored: Container[str] = ()
) -> str:
    """Returns how what a scene has left differs from an undisturbed one; empty if it does not.

    Args:
      workdir: the folder of the scene.
      scene: the scene.
      trial: its command.
      plain: what the undisturbed one has left.
      ignored: names of what may differ.
    """
    try:
        found = scene.left(workdir, trial)
    except Exception as error:
        return f"what it leaves cannot be read: {error!r}"
    differing = [name for name in plain | found if plain.get(name) != found.get(name)]
    differing = [name for name in differing if name not in ignored]
    return f"these differ from an undisturbed one: {', '.join(differing)}" if differing else ""


def _steps(workdir: Path) -> list[int]:
    return checkpoints.steps(workdir / "checkpoints")


def _last(trial: Trial) -> str:
    """Returns the last lines of what a command has printed."""
    lines = (trial.errors.strip() or trial.output.strip()).splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-400:]
