"""Handles stop signals: SIGTERM from a scheduler, Ctrl-C from a user, SIGHUP from a terminal.

Where `ulimit -t` limits the processor time, SIGXCPU announces the end, too.
"""

import resource
import signal
import threading
import time
from types import FrameType
from typing import Protocol

from mnist_jax import processors
from mnist_jax.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)
EXIT_STATUS = 75  # EX_TEMPFAIL: run the same command again
# A scheduler or a closing terminal may signal a process and its group, or send SIGHUP and SIGTERM:
# what follows the first signal within so many seconds is the same request.
SAME_REQUEST = 1.0
# Seconds of processor time in which to save before a limit ends the process; every core counts.
NOTICE = 15 * max(2, processors.count())


class Stop(Protocol):
    """Tells a training that it shall stop."""

    @property
    def requested(self) -> bool:
        """True once a stop was requested."""
        ...

    def poll(self) -> None:
        """Looks whether a stop was requested; called after each chunk of steps."""
        ...

    def check(self) -> None:
        """Raises StoppedError if a stop was requested."""
        ...


class StopSignal:
    """Sets `requested` at the first stop signal; a later one has the effect that it had before.

    In a command, the later one ends the process; in a notebook, Ctrl-C raises `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._first = 0.0  # when the first signal came, by `time.monotonic`
        self._previous: dict[int, object] = {}
        self._limit: tuple[int, int] | None = None  # of processor time, as it was

    def poll(self) -> None:
        """Does nothing: the signal itself sets `requested`."""

    def check(self) -> None:
        """Raises StoppedError if a stop was requested."""
        if self.requested:
            raise StoppedError

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                self._previous[number] = signal.signal(number, self._note)
        self._limit = resource.getrlimit(resource.RLIMIT_CPU)
        soft, hard = self._limit
        if hard != resource.RLIM_INFINITY and soft == hard > NOTICE:
            # Else the system would kill the process without a signal that can be handled.
            resource.setrlimit(resource.RLIMIT_CPU, (hard - NOTICE, hard))
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._limit is not None:
            soft, _ = self._limit
            if soft != resource.RLIM_INFINITY and time.process_time() > soft - 1:
                # It is used up: the signal comes each second, and would end the process.
                self._previous[signal.SIGXCPU] = signal.SIG_IGN
            else:
                resource.setrlimit(resource.RLIMIT_CPU, self._limit)
        for number, handler in self._previous.items():
            # None: a handler that was not set from Python, which cannot be set again.
            signal.signal(number, handler or signal.SIG_DFL)  # pyright: ignore[reportArgumentType]

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.requested:
            self.requested, self._first = True, now
        elif number != signal.SIGXCPU and now - self._first > SAME_REQUEST:
            self._restore()
            signal.raise_signal(number)
