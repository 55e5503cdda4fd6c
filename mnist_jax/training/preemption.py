"""Handles a stop signal to one of several processes: all stop at the same point.

SIGTERM, which a scheduler sends to any of them, is caught by JAX's preemption service, which tells
the others. Python must not handle that signal as well: the later handler would replace JAX's. See
https://docs.jax.dev/en/latest/jax.experimental.multihost_utils.html
Ctrl-C and SIGHUP, as from a terminal, are passed on as SIGTERM.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType

from mnist_jax import processes
from mnist_jax.errors import StoppedError
from mnist_jax.training.stop import SAME_REQUEST

TICK = 0.2  # seconds
PASSED_ON = (signal.SIGINT, signal.SIGHUP)


class Preemption:
    """Sets `requested` in all processes at the same count, once one of them got SIGTERM.

    With `in_step`, the processes train one network, and each call of `poll` counts. Otherwise each
    trains networks of its own, and time since the start is what they have in common: every `TICK`
    counts.
    """

    def __init__(self, *, in_step: bool) -> None:
        self.requested = False
        self._in_step = in_step
        self._counts = itertools.count(1)
        self._started = 0.0
        self._told: float | None = None  # when a signal was first passed on, by `time.monotonic`
        self._previous: dict[int, object] = {}

    def poll(self) -> None:
        """Looks whether a stop was requested.

        Raises:
          UserError: another process has failed.
        """
        processes.check()
        for count in self._due():
            if not self.requested and processes.reached_stop(count):
                self.requested = True

    def check(self) -> None:
        """Raises StoppedError if a stop was requested; for processes that train on their own."""
        if not self._in_step:
            self.poll()
        if self.requested:
            raise StoppedError

    def _due(self) -> Iterator[int]:
        """Yields the counts that are due: none may be left out."""
        if self._in_step:
            yield next(self._counts)
            return
        while self._started + TICK < time.monotonic():
            self._started += TICK
            yield next(self._counts)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Lets all processes stop; a later signal has the effect that it had before."""
        now = time.monotonic()
        if self._told is None:
            self._told = now
            os.kill(os.getpid(), signal.SIGTERM)
        elif now - self._told > SAME_REQUEST:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)  # pyright: ignore[reportArgumentType]

    def __enter__(self) -> "Preemption":
        processes.barrier("the start of the clock")
        self._started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in PASSED_ON:
                if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                    self._previous[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
