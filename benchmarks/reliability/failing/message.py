"""The message with which a command has to end: one line, with the file and the system's reason."""

import re
from pathlib import Path

from benchmarks.reliability.trial import Trial

ADVICE = "run the same command again"  # in which `run` is not the folder of that name
TEMPORARY = ".mnist_jax-"  # begins the names of files that get their own name once they are whole
UNFINISHED = r"\.preparing(/.*)?$|\.partial$"  # in other such names, and then no longer


def wrong(trial: Trial, folders: tuple[Path, ...], reason: str = "", *, names: bool = True) -> str:
    """Returns what is wrong with the message of a command; empty if it is as promised.

    Args:
      trial: the command, with status 1.
      folders: of its run, and of its data and programs.
      reason: words that have to be in the message.
      names: True if it has to name what was disturbed.
    """
    messages = re.findall(r"^error: .*", trial.errors, re.MULTILINE)
    if len(messages) != 1:
        return f"it ends with {len(messages)} messages: {last(trial)}"
    if names and not _names(messages[0], trial, folders):
        return f"its message does not name the file: {messages[0]}"
    if reason.lower() not in messages[0].lower():
        return f"its message does not say {reason!r}: {messages[0]}"
    return ""


def _names(message: str, trial: Trial, folders: tuple[Path, ...]) -> bool:
    """True if a message names a file that was disturbed, or a folder below `folders` around it.

    If none was, it has to name one of `folders`, or what is in it.
    """
    words = re.findall(r"[^\s'\"(),:;]+", message.replace(ADVICE, ""))
    named = {folders[0].parent / word.rstrip(".") for word in words}
    met = {Path(its.path) for its in trial.operations if its.disturbed}
    met |= {Path(re.sub(UNFINISHED, "", str(path))) for path in met}
    if not met:
        return any(path.is_relative_to(folder) for path in named for folder in folders)
    around = {path for its in met for path in its.parents if {*folders} & {*path.parents}}
    beside = {its.parent for its in met if its.name.startswith(TEMPORARY)}
    # Of a folder that could not be made, what was to be in it says as much.
    made = {Path(its.path) for its in trial.operations if its.disturbed and its.kind == "mkdir"}
    return bool(named & (met | around)) or any(
        path.parent in beside or made & {*path.parents} for path in named
    )


def last(trial: Trial) -> str:
    """Returns the last lines of what a command has printed."""
    lines = (trial.errors.strip() or trial.output.strip()).splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-400:]
