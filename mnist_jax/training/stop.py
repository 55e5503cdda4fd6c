"""Handles stop signals: SIGTERM from a scheduler, Ctrl-C from a user, SIGHUP from a terminal."""

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_STATUS = 75  # EX_TEMPFAIL: run the same command again


class StoppedError(Exception):
    """Training ended because of a stop signal; all progress is saved."""


class StopSignal:
    """Sets `requested` at the first stop signal; a second one ends the process at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        for either in self._previous:
            signal.signal(either, signal.SIG_DFL)
