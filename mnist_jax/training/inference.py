"""A network applied to every example of a split, each exactly once."""

import functools
import time
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mnist_jax.analysis.evaluation import Predictions
from mnist_jax.data import Split
from mnist_jax.data.rescale import rescale
from mnist_jax.models import Model, Tree
from mnist_jax.training.loss import Loss, probabilities

BLOCK = 500  # examples at a time, whatever the number of devices: the same arithmetic on each


class Inference:
    """A split on the devices, ready to be predicted again and again.

    The split is padded to whole blocks for each device, and what the padding gave is cut off.
    """

    def __init__(self, model: Model, loss: Loss, split: Split) -> None:
        devices = jax.devices()
        self.split = split
        mesh = Mesh(np.asarray(devices), ("blocks",))
        self._replicated = NamedSharding(mesh, P())
        self._data = jax.device_put(
            in_blocks(split, len(devices)), NamedSharding(mesh, P("blocks"))
        )
        mapped = jax.shard_map(
            functools.partial(predict_blocks, model, loss),
            mesh=mesh,
            in_specs=(P(), P(), P("blocks")),
            out_specs=P("blocks"),
            check_vma=False,
        )
        self._program = jax.jit(mapped)

    def compile(self, params: Tree, variables: Tree) -> float:
        """Compiles for weights of these shapes; the seconds that it took."""
        started = time.perf_counter()
        placed = jax.device_put((params, variables), self._replicated)
        self._program.lower(*placed, self._data).compile()
        return time.perf_counter() - started

    def __call__(self, params: Tree, variables: Tree) -> Predictions:
        """Probabilities and loss of each example, in the split's order."""
        placed = jax.device_put((params, variables), self._replicated)
        outputs = jax.device_get(self._program(*placed, self._data))
        count = len(self.split.labels)
        p, losses = (x.reshape(-1, *x.shape[2:])[:count] for x in outputs)
        if len(p) != count:
            raise RuntimeError(f"{count} examples were to be predicted, {len(p)} were")
        return Predictions(
            split=self.split.split,
            images=self.split.images,
            labels=self.split.labels,
            probabilities=p,
            losses=losses,
            class_names=self.split.class_names,
        )


def in_blocks(split: Split, multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels `[n, BLOCK, ...]`, padded with zeros; n is a multiple of `multiple`."""
    padding = -len(split.labels) % (BLOCK * multiple)

    def padded(x: np.ndarray) -> np.ndarray:
        x = np.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, BLOCK, *x.shape[1:])

    return padded(split.images), padded(split.labels)


def predict_blocks(model: Model, loss: Loss, params: Tree, variables: Tree, blocks: Any) -> Any:
    """`[n, BLOCK, K]` probabilities and `[n, BLOCK]` losses of images and labels in blocks."""

    def block(examples: Any) -> tuple[jax.Array, jax.Array]:
        images, labels = examples
        outputs, _ = model.apply(params, variables, rescale(images), train=False)
        kind = model.output_activation
        targets = jax.nn.one_hot(labels, outputs.shape[-1])
        losses = loss(outputs, targets, output_activation=kind)
        return probabilities(outputs, output_activation=kind), losses

    return lax.map(block, blocks)
