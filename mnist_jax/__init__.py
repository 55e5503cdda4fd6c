"""Trains, compares and applies dense and convolutional networks on MNIST, in JAX and Flax.

    import mnist_jax

    run = mnist_jax.train("configs/mlp.py", workdir="runs/mlp", num_epochs=3)
    classifier = mnist_jax.load("runs/mlp")
    classifier.predict(images).labels
    mnist_jax.sweep("configs/sweeps/looped.py", seeds=3).table

Each name is imported on its first use, so `import mnist_jax` alone imports neither JAX nor NumPy.
"""

import importlib
import sys
import time
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_jax.api import load, sweep, train
    from mnist_jax.config import Config, default

STARTED = time.perf_counter()  # start of the process, as early as the package can record it
API = {
    "train": "mnist_jax.api",
    "load": "mnist_jax.api",
    "sweep": "mnist_jax.api",
    "default": "mnist_jax.config",
    "Config": "mnist_jax.config",
}

__all__ = ["Config", "default", "load", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in API:
        raise AttributeError(f"module 'mnist_jax' has no attribute {name!r}")
    if API[name] == "mnist_jax.api":
        importlib.import_module("mnist_jax.settings").imported()  # JAX; a bad setting is named
    return getattr(importlib.import_module(API[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *API})


class _Package(types.ModuleType):
    """Keeps `mnist_jax.sweep` a function after the module `mnist_jax/sweep.py` is imported.

    Python sets each imported submodule as an attribute of its package
    (https://docs.python.org/3/reference/import.html#submodules), which would replace the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in API and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
