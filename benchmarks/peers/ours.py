"""The contestant of this project, which trains as `mnist_jax.main` does."""

import dataclasses
from typing import Any

import jax

from benchmarks import epochs
from benchmarks.peers.networks import NETWORKS, Block, Shapes
from mnist_jax import config_file, data, models
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config
from mnist_jax.training.program import prepare_one
from mnist_jax.training.state import count_parameters

STEP_BY_STEP = "step by step"


class Ours:
    """Trains a configuration as a run does, but without checkpoints, validation and report."""

    def __init__(self, config: Config) -> None:
        keep_programs()
        self.config = config
        self.reset(config.seed)
        self.facts: dict[str, Any] = {
            "parameters": count_parameters(self._state["params"]),
            "epochs": config.num_epochs,
            "device": jax.default_backend(),
        }

    def reset(self, seed: int) -> None:
        """Returns to the state before the first step, with another seed."""
        self._program = prepare_one(dataclasses.replace(self.config, seed=seed))
        self._state = self._program.start()
        self._epoch = 0

    def epoch(self) -> None:
        """Trains one epoch: the work that a run counts as the `seconds` of an epoch."""
        self._state = epochs.train_epoch(self._program, self._state, self._epoch)
        self._epoch += 1

    def accuracy(self) -> float:
        """Returns the accuracy on the test images."""
        return epochs.accuracy(self._program, self._state)


def build(network: str, examples: int, variant: str) -> Ours:
    """Builds the trainer of a network, with the first `examples` training images."""
    asked = NETWORKS[network]
    overrides = (
        *asked.overrides,
        ("data.train_split", f"train[:{examples}]"),
        ("data.val_split", ""),
        ("chunk_steps", "1" if variant == STEP_BY_STEP else "0"),
    )
    return Ours(config_file.load(asked.config, overrides))


def recipe(config: str) -> Ours:
    """Builds the trainer of a configuration as it is, and counts its floating-point operations."""
    ours = Ours(config_file.load(config))
    ours.facts["flops"] = flops(ours.config)
    return ours


def flops(config: Config) -> int | None:
    """Returns the floating-point operations of the whole training, counted as in `Network.flops`.

    Like all operations outside matrix products, the distortion of images, the optimizer and the
    averaging of weights are not counted.

    Returns:
      The number of operations, or None for a model that is not part of this project.
    """
    if config.model.name not in models.MODELS:
        return None
    keywords = models.resolve(config).model.keywords
    features = keywords.get("features", ())
    kernels, strides = (_each(keywords.get(name, (1,)), features) for name in ("kernel", "stride"))
    blocks = tuple(
        Block(*shape, padding=keywords.get("padding", "SAME"), pooling=keywords["pooling"])
        for shape in zip(features, kernels, strides, strict=True)
    )
    dense = keywords.get("dense", keywords.get("hidden"))
    count = len(data.load(config.data.name, config.data.train_split).labels)
    images = config.num_epochs * (count // config.batch_size * config.batch_size)
    return images * Shapes(blocks, dense).flops


def _each(values: tuple[int, ...], features: tuple[int, ...]) -> tuple[int, ...]:
    return values if len(values) == len(features) else values * len(features)
