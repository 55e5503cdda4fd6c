"""Handles stop signals: SIGTERM from a scheduler, Ctrl-C from a user, SIGHUP from a terminal."""

import signal
import threading
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_STATUS = 75  # EX_TEMPFAIL: run the same command again
# A scheduler or a closing terminal may signal a process and its group, or send SIGHUP and SIGTERM:
# what follows the first signal within so many seconds is the same request.
SAME_REQUEST = 1.0


class StoppedError(Exception):
    """Training ended because of a stop signal; all progress is saved."""


class StopSignal:
    """Sets `requested` at the first stop signal; a later one has the effect that it had before.

    In a command, the later one ends the process; in a notebook, Ctrl-C raises `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._first = 0.0  # when the first signal came, by `time.monotonic`
        self._previous: dict[int, object] = {}

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
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not set from Python, which cannot be set again.
            signal.signal(number, handler or signal.SIG_DFL)  # pyright: ignore[reportArgumentType]

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.requested:
            self.requested, self._first = True, now
        elif now - self._first > SAME_REQUEST:
            self._restore()
            signal.raise_signal(number)
