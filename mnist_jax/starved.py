"""The lack of memory and of threads: what it looks like, and what a user can do about it."""

import _thread
import collections
import errno
import functools
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from mnist_jax.errors import led_to

OF_MEMORY = (
    "the memory does not suffice. Close other programs, raise the limit (ulimit -v), or use a "
    "machine with more memory, then run the same command again"
)
OF_THREADS = (
    "the system starts no more threads. Close other programs, or raise the limits of memory and of "
    "processes (ulimit -v, ulimit -u), then run the same command again"
)
NO_THREAD = "can't start new thread"  # as Python says it
LAST_WORDS = f"error: {OF_MEMORY}\n".encode()  # made early, as it then takes no memory
BEGIN = 30.0  # seconds that the thread which watches the others may take to start
SECONDS = 10.0  # between two looks at the others; a thread starts within microseconds
LOOKS = 3  # in a row at which a thread is still starting, until the process ends


def shortage(error: BaseException | None) -> BaseException | None:
    """Returns the lack of memory or of threads that has led to an error; None if none has."""
    return next(filter(_is_shortage, led_to(error)), None)


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and NO_THREAD in str(error)
    )


def explained(found: BaseException) -> str:
    """Returns the message for a shortage."""
    if isinstance(found, RuntimeError):
        return OF_THREADS
    told = isinstance(found, MemoryError) and str(found)
    return f"{OF_MEMORY} ({found})" if told else OF_MEMORY


@functools.cache  # once in a process
def watch() -> None:
    """Ends the process with a message if a thread runs out of memory while it starts.

    Python would wait for that thread forever: https://github.com/python/cpython/issues/140746.
    Checkpoints are whole at any time.

    Raises:
      MemoryError: there is none for the thread that watches the others.
      RuntimeError: the system starts no more threads.
    """
    sys.unraisablehook = functools.partial(_end_or_show, sys.unraisablehook)
    watching = threading.Event()
    _thread.start_new_thread(_watch, (watching,))  # does not wait for it, as `Thread.start` does
    if not watching.wait(BEGIN):
        raise MemoryError


def _end_or_show(show: Callable[[Any], object], found: Any) -> None:
    """Ends the process if an error that reaches nobody was caused by a lack of memory.

    In a thread that starts, Python's cleanup raises another error, whose context is this one.
    """
    if isinstance(shortage(found.exc_value), MemoryError):
        _end()
    show(found)


def _watch(watching: threading.Event) -> None:
    """Ends the process once a thread is still starting at several looks in a row.

    Without memory, a thread cannot even report that it fails. Nor can this one do its work.
    """
    watching.set()
    looks: collections.deque[set[threading.Thread]] = collections.deque(maxlen=LOOKS)
    try:
        while len(looks) < LOOKS or not set.intersection(*looks):
            time.sleep(SECONDS)
            looks.append(_starting())
    except MemoryError:
        pass
    _end()


def _starting() -> set[threading.Thread]:
    """Returns the threads that others are waiting for to start."""
    return {
        frame.f_locals["self"]
        for top in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(top)
        if frame.f_code is threading.Thread.start.__code__
    }


def _end() -> NoReturn:
    try:
        os.write(2, LAST_WORDS)
    finally:
        os._exit(1)
