"""Memory that programs need and that devices have, in bytes."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from mnist_jax import control_groups, starved
from mnist_jax.errors import UserError

SHARE = 0.8  # of a device's memory, for populations; the rest is for the process and the system
LIMITS = "memory.max", "memory.limit_in_bytes"  # of control groups, versions 2 and 1
HOST = ()  # in place of devices: the memory of the process itself
M_ARENA_MAX = -8  # of mallopt(3)
ARENAS = 2
SIZES = Path("/proc/self/statm")
EXHAUSTED = "RESOURCE_EXHAUSTED"  # how XLA's message begins
ADVICE = "Use a smaller network or config.batch_size, or a machine with more memory"
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class TooLargeError(UserError):
    """A program needs more memory than there is."""


def needed(compiled: Any) -> int:
    """Returns the bytes per device that XLA says a compiled program needs; 0 if unknown."""
    found = compiled.memory_analysis()
    if found is None:  # not every backend reports it
        return 0
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


def size(tree: Any) -> int:
    """Returns the bytes of the arrays in a tree, or of arrays of these shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def available(devices: Any) -> float:
    """Returns the bytes that a population may use on each of the devices; infinite if unknown."""
    if devices[0].platform != "cpu":
        return SHARE * _told(devices[0])
    return SHARE * min(_limits()) / len(devices)


def most(devices: Any) -> float:
    """Returns the bytes beyond which a program cannot run; infinite if unknown."""
    if devices and devices[0].platform != "cpu":
        return _told(devices[0])
    return max(min(_limits()) - _in_use()[1], 0) / max(1, len(devices))


def refuse(need: int, devices: Any, what: str) -> None:
    """Raises TooLargeError if each of the devices needs more than there is.

    Args:
      need: bytes per device.
      devices: in use, or `HOST`.
      what: needs them, as the message begins; it ends with what to do.
    """
    room = most(devices)
    if need > room:
        share = f" for each of {len(devices)} devices" if len(devices) > 1 else ""
        raise TooLargeError(
            f"{what} needs {_text(need)} of memory, but there are {_text(room)}{share}. {ADVICE}"
        )


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Context manager that turns running out of memory into a UserError."""
    try:
        yield
    except MemoryError as error:
        raise UserError(starved.explained(error)) from error
    except jax.errors.JaxRuntimeError as error:
        first, _, _ = str(error).strip().partition("\n")
        if EXHAUSTED not in first:
            raise
        raise UserError(f"the memory does not suffice: {first}. {ADVICE}") from error


def _text(count: float) -> str:
    """Formats a number of bytes: `1.5 GiB`."""
    power = next((n for n in range(len(UNITS)) if count < 1024 ** (n + 1)), len(UNITS) - 1)
    return f"{count / 1024**power:,.1f} {UNITS[power]}"


def _told(device: Any) -> float:
    return (device.memory_stats() or {}).get("bytes_limit", float("inf"))


def _limits() -> Iterator[float]:
    """Yields the machine's memory, and the limits of this process and its containers."""
    yield float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder in control_groups.folders("memory"):
        for name in LIMITS:
            with contextlib.suppress(OSError):
                if (text := (folder / name).read_text().strip()).isdecimal():
                    yield float(text)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # `ulimit -v`
    if limit != resource.RLIM_INFINITY:
        virtual, resident = _in_use()
        yield float(max(limit - virtual, 0) + resident)


def _in_use() -> tuple[int, int]:
    """Returns the bytes of address space and of memory that this process uses; 0 if unknown."""
    try:
        virtual, resident, *_ = map(int, SIZES.read_text().split())
    except (OSError, ValueError):  # not on Linux
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return virtual * page, resident * page


def share_arenas() -> None:
    """Lets threads that start from now on share the C library's pools of free memory.

    glibc would give many threads a pool of their own, and each would keep what it once had, such as
    copies of the text of all epochs, of which each checkpoint makes many. A fixed size from which
    blocks go back to the system at once would cost every step new pages for its batch. Does nothing
    where the library has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
