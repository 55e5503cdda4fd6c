"""The configurations of the networks that are timed."""

from typing import Any

from mnist_jax.config import Config, parse

IMAGES = {"mlp": 8192, "mlp_tiny": 8192, "cnn": 2048}  # images per compiled call and network
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": (128, 32)},
    "mlp_tiny": {"name": "mlp", "hidden": (5,)},
    "cnn": {"name": "cnn", "features": (16, 32), "kernel": (5, 3), "dense": (128,)},
}


def of_batch(network: str, batch_size: int = 128, **model: Any) -> Config:
    """Returns the configuration of a network at a batch size; `model` overrides model fields.

    A chunk holds the same number of images at any batch size, but at least two steps, because XLA
    compiles a single step without a loop.
    """
    return parse(
        {
            "batch_size": batch_size,
            "chunk_steps": max(2, IMAGES[network] // batch_size),
            "data": {"val_split": ""},
            "model": MODELS[network] | model,
        }
    )


def of_width(network: str, width: int) -> Config:
    """Returns an MLP whose hidden layer, or a CNN whose second convolution, has this width."""
    if network == "mlp":
        return of_batch(network, hidden=(width,))
    return of_batch(network, features=(16, width), dense=())
