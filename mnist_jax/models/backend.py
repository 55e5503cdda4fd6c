"""What the networks are compiled for."""

import jax


def on_cpu() -> bool:
    """Whether what is traced now is meant for a CPU, where some products have another form."""
    return jax.default_backend() == "cpu"
