"""Being told to stop: SIGTERM from a scheduler, Ctrl-C from a person, SIGHUP from a terminal."""

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_STATUS = 75  # EX_TEMPFAIL: run the same command again


class StoppedError(Exception):
    """The run was told to stop, and everything is saved."""


class StopSignal:
    """Remembers a first signal to stop until it is asked; a second one ends the process at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python delivers signals to the main thread alone
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        for either in self._previous:
            signal.signal(either, signal.SIG_DFL)
