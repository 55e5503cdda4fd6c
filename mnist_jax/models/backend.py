"""Determines the kind of device for which the networks are compiled."""

import jax


def on_cpu() -> bool:
    """Returns True if JAX compiles for a CPU, where some layers use other algorithms."""
    return jax.default_backend() == "cpu"
