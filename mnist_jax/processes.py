"""The processes that train one run or sweep together, on one machine or on many.

The same command runs on every host. JAX's coordination service, in the first process, connects them
(https://docs.jax.dev/en/latest/multi_process.html). Here they exchange small texts through it, by
name. Whoever waits says whom it is waiting for, and stops if another process has failed. A process
that is killed breaks its connections: the others then end with status 75. JAX ends them where a
process does not answer for `connection.HEARTBEAT` seconds.
"""

import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from mnist_jax.connection import connected
from mnist_jax.errors import LostError, StoppedError, UserError
from mnist_jax.place import find

PATIENCE = 300  # seconds to wait for the others at a barrier
REPORT = 60  # seconds between two lines that say whom a process is waiting for
POLL = 1.0  # seconds between two looks at what has happened to the others
GRACE = 10  # seconds in which a process ends by itself once another has failed
FAILED, LEFT = "failed", "left"  # keys: why a process ends, and which have heard of it
END = "the end"
BROKEN = ("Gloo ", "UNAVAILABLE:", "UNAVAILABLE;", "CoordinationService")


class _Alone:
    """A run of one process, which waits for nobody."""

    index, count, failed = 0, 1, False

    def gather(self, name: str, text: str, **options: Any) -> list[str]:
        return [text]

    def check(self) -> None:
        pass


class _Together:
    """A run of several processes, connected by JAX's coordination service."""

    def __init__(self, state: Any) -> None:
        """Takes the state of JAX's distributed runtime, as it was initialised."""
        self.index, self.count = state.process_id, state.num_processes
        self.failed = self.parted = self._told = False
        self._why: str | None = None  # another process has failed
        self._state = state
        self._client = state.client
        self._names: dict[str, Iterator[int]] = {}  # a key can be given only once
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def gather(
        self,
        name: str,
        text: str,
        *,
        patience: float | None = PATIENCE,
        waiting: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """Returns the texts that all processes give under a name; see `gather`."""
        number = next(self._names.setdefault(name, itertools.count()))
        started = said = time.monotonic()
        self._client.key_value_set(f"{name}/{number}/{self.index}", text)
        found: dict[int, str] = {}
        while missing := [i for i in range(self.count) if i not in found]:
            value = self._wait(f"{name}/{number}/{missing[0]}", POLL)
            if value is not None:
                found[missing[0]] = value
                continue
            self.check()
            waiting()
            now = time.monotonic()
            late = patience is not None and now - started > patience
            if not late and now - said <= REPORT:
                continue
            said = now
            keys = {i: f"{name}/{number}/{i}" for i in missing}
            missing = [i for i, key in keys.items() if self._wait(key, 0.001) is None]
            if late and missing:
                raise LostError(
                    f"{_listed(missing, self.count)} did not come to {name!r} within "
                    f"{patience:.0f} s: look at what it printed last, then run the same command "
                    "again"
                )
            if missing:
                print(f"waiting at {name!r} for {_listed(missing, self.count)}", flush=True)
        return [found[i] for i in range(self.count)]

    def _wait(self, key: str, seconds: float) -> str | None:
        try:
            return self._client.blocking_key_value_get(key, int(1000 * seconds))
        except Exception as error:
            if "DEADLINE_EXCEEDED" in str(error):
                return None
            raise LostError(str(error)) from error

    def part(self) -> None:
        """Leaves in peace: ends when all others do so, too."""
        self.parted = True
        self._state.shutdown()  # which ends the watcher's waiting
        # If it came back from JAX while the interpreter ends, that would abort the process.
        self._watcher.join(GRACE)

    def fail(self, text: str) -> None:
        """Lets the others know why this process ends; `leave` follows."""
        self.failed = self._told = True
        with contextlib.suppress(Exception):  # another one was first, or the service is gone
            self._client.key_value_set(FAILED, json.dumps([self.index, text]))

    def leave(self, status: int) -> None:
        """Ends this process after `fail`; the first one gives the others the time to end as well.

        It hosts the service: JAX aborts whoever is still connected when that is gone.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        if self._told:
            with contextlib.suppress(Exception):
                self._client.key_value_set(f"{LEFT}/{self.index}", "")
                for i in range(self.count if self.index == 0 else 0):
                    self._wait(f"{LEFT}/{i}", GRACE + POLL)
            if self.index == 0:
                time.sleep(POLL)  # in which the last one ends
        os._exit(status)

    def _failure(self, seconds: float) -> str | None:
        """Returns why another process has ended, if it does so within some seconds."""
        text = self._wait(FAILED, seconds)
        if text is None:
            return None
        index, why = json.loads(text)
        return f"process {index} of {self.count} failed: {why}"

    def reached_stop(self, count: int) -> bool:
        return self._state.preemption_sync_manager.reached_sync_point(count)

    def check(self) -> None:
        """Raises UserError if another process has failed."""
        if self._why is not None and not self.failed:
            raise UserError(self._why)

    def _watch(self) -> None:
        """Ends this process if another one has failed, and this one does not notice it.

        It may wait in a computation for the one that is gone. Runs in a thread of its own.
        """
        with contextlib.suppress(LostError):
            while (why := self._failure(60)) is None:
                if self.parted:
                    return
            self._why = why
            time.sleep(GRACE)
            if not self.failed:  # else this process knows of it, or is the one
                sys.stderr.write(f"error: {why}\n")
                self.fail(why)
                self.leave(1)


_group: Any = _Alone()


def count() -> int:
    """Returns the number of processes of this run."""
    return _group.count


def index() -> int:
    """Returns the place of this process among those of the run, from 0."""
    return _group.index


def is_first() -> bool:
    """True in the process that writes logs, results and reports."""
    return _group.index == 0


def gather(
    name: str,
    text: str,
    *,
    patience: float | None = PATIENCE,
    waiting: Callable[[], None] = lambda: None,
) -> list[str]:
    """Returns the texts that all processes give under a name, in their order; waits for them.

    Args:
      name: of the point in the program, for messages.
      text: of this process.
      patience: seconds to wait; None: as long as the others live.
      waiting: called each second while it waits; may raise.

    Raises:
      UserError: a process failed, or does not come in time.
      LostError: the processes are no longer connected.
    """
    return _group.gather(name, text, patience=patience, waiting=waiting)


def barrier(name: str, **options: Any) -> None:
    """Waits for all processes; arguments and errors as for `gather`."""
    gather(name, "", **options)


def _listed(missing: list[int], total: int) -> str:
    """Returns `process 1 of 4`, or `processes 1, 3 of 4`."""
    noun = "process" if len(missing) == 1 else "processes"
    return f"{noun} {', '.join(map(str, missing))} of {total}"


def decided(name: str, decide: Callable[[], Any]) -> Any:
    """Returns in all processes what `decide()` returns in the first one, which must be plain JSON.

    Raises:
      UserError: `decide` raised it in the first process.
    """
    text = json.dumps(decide()) if is_first() else ""
    return json.loads(gather(name, text)[0])


def check() -> None:
    """Raises UserError if another process has failed."""
    _group.check()


def reached_stop(count: int) -> bool:
    """True if all processes shall stop at this count, because one of them got SIGTERM.

    They find out by JAX's preemption service, which caught the signal. Each calls this with 1, 2,
    3, ..., at the same points of the program.
    """
    return _group.reached_stop(count)


@contextlib.contextmanager
def joined(
    coordinator: str | None, number: int | None, place: int | None, *, one_backend: bool
) -> Iterator[None]:
    """Joins the processes of a run, as a context manager; does nothing if there is only one.

    Only the first process prints. JAX must not have been used before.

    Args:
      coordinator: address of the first process, `HOST:PORT`.
      number: of processes.
      place: of this one among them, from 0.
      one_backend: True if JAX shall see the devices of all processes, which train one network;
        False if each process uses its own alone.

    The first three may come from the variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID` as well, or from Slurm, Open MPI or Cloud TPU.

    Raises:
      UserError: some are missing, or the others cannot be reached; or another process failed.
      LostError: another process has ended without a word.
    """
    global _group
    asked = find(coordinator, number, place)
    state = None if asked is None else connected(asked, one_backend=one_backend)
    if state is not None:
        _group = _Together(state)
    if count() == 1:
        yield
        return
    silent = contextlib.nullcontext() if is_first() else _silenced()
    try:
        with silent:
            try:
                yield
            except StoppedError:  # which all processes raise
                barrier(END, patience=None)
                raise
            barrier(END, patience=None)  # the first one may have a report to draw
        _group.part()
    except StoppedError:
        _group.part()
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        _group.fail(f"it was interrupted ({type(error).__name__})")
        raise
    except Exception as error:
        if not _is_loss(error):
            _group.fail(str(error))
            raise
        _group.failed = True
        raise _lost(error) from error


def leave(status: int) -> None:
    """Ends this process if it could not go on with the others; else it returns.

    Otherwise JAX would wait at the exit for processes that are gone.
    """
    if _group.failed:
        _group.leave(status)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Context manager in which standard output goes nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _lost(error: Exception) -> LostError:
    why = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
    return LostError(
        "another process of this run has ended, or the network failed; what was saved is sound. "
        f"Run the same command again on all hosts to continue ({why})"
    )


def _is_loss(error: BaseException | None) -> bool:
    """True if an error, or what caused it, says that another process is gone."""
    if error is None:
        return False
    if isinstance(error, LostError) or _is_loss(error.__cause__):
        return True
    # Gloo's errors come as ValueErrors.
    ours = isinstance(error, RuntimeError | ValueError) and not isinstance(error, UserError)
    return ours and any(word in str(error) for word in BROKEN)
