"""The networks that are timed, as configurations."""

from typing import Any

from mnist_jax.config import Config, parse

IMAGES = {"mlp": 8192, "mlp_tiny": 8192, "cnn": 2048}  # in one compiled call of one network
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": (128, 32)},
    "mlp_tiny": {"name": "mlp", "hidden": (5,)},
    "cnn": {"name": "cnn", "features": (16, 32), "kernel": (5, 3), "dense": (128,)},
}


def of_batch(network: str, batch_size: int = 128, **model: Any) -> Config:
    """The network, in chunks of always as many images, at least two steps: else it is no loop."""
    return parse(
        {
            "batch_size": batch_size,
            "chunk_steps": max(2, IMAGES[network] // batch_size),
            "data": {"val_split": ""},
            "model": MODELS[network] | model,
        }
    )


def of_width(network: str, width: int) -> Config:
    """An MLP with one hidden layer of this width, or a CNN with a second convolution of it."""
    if network == "mlp":
        return of_batch(network, hidden=(width,))
    return of_batch(network, features=(16, width), dense=())
