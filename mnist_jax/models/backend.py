"""Determines the kind of device for which the networks are compiled."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_plain = contextvars.ContextVar("plain", default=False)


def on_cpu() -> bool:
    """Returns True if JAX compiles for a CPU, where some layers use other algorithms."""
    return not _plain.get() and jax.default_backend() == "cpu"


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Context manager in which networks are traced in their plain form, as for an accelerator."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)
