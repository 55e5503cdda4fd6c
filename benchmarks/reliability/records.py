"""Records of checkpoints, as a training begins with them."""

from typing import Any

from mnist_jax.training.position import TRAINING


def record(step: int, networks: int = 1) -> dict[str, Any]:
    """Returns the record of so many networks after so many steps, without rows."""
    return {
        "status": [TRAINING] * networks,
        "step": step,
        "epochs": 0,
        "seconds": 0.0,
        "rows": [""] * networks,
        "clock": {"compile_seconds": 0.0, "total_seconds": 0.0},
    }
