"""Says where the user's own code fails, by file and line."""

import contextlib
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError

LONGEST = 300  # maximum number of characters of an error's text in a message
PACKAGE = str(Path(__file__).resolve().parent) + os.sep
LIBRARY = str(Path(os.__file__).parent) + os.sep
INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]|^<(frozen|__array)")


@contextlib.contextmanager
def reported(where: str, *, function: bool = False) -> Iterator[None]:
    """Context manager for the user's code: an error in it becomes `where: FILE:LINE: TYPE: text`.

    Args:
      where: what is run, for the message.
      function: True to name the function after the line.

    Raises:
      UserError: the code raised an error, or called `sys.exit`.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{where}: {describe(error, function=function)}") from error


def describe(error: BaseException, *, function: bool = False) -> str:
    """Returns `FILE:LINE: TYPE: text` of an error, with the last line of the user's own code."""
    at = place(error, function=function)
    return f"{at}: {_text(error)}" if at else _text(error)


def place(error: BaseException, *, function: bool = False) -> str:
    """Returns `FILE:LINE` of the last frame of an error in the user's code, or else of its cause.

    Returns an empty string if neither has one.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, SyntaxError) and at.filename:
            return f"{at.filename}:{at.lineno}"
        frames = traceback.extract_tb(at.__traceback__)
        own = [frame for frame in frames if is_own(frame.filename)]
        if own:
            name = f" in {own[-1].name}" if function and own[-1].name != "<module>" else ""
            return f"{own[-1].filename}:{own[-1].lineno}{name}"
        at = at.__cause__
    return ""


def _text(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        lines = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().splitlines()
    except Exception:  # the text, too, may be the user's code
        lines = []
    text = lines[0] if lines else ""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{kind}: {text}" if text else kind


def is_own(file: str) -> bool:
    """True if a source file is neither this package's, nor Python's, nor an installed library's."""
    return not (file.startswith((PACKAGE, LIBRARY)) or INSTALLED.search(file))
