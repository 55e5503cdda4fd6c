"""Applies networks to every example of a split, each exactly once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax.data import Split
from mnist_jax.data.joined import Joined
from mnist_jax.data.rescale import rescale
from mnist_jax.metrics import Metric
from mnist_jax.models import Model, Tree
from mnist_jax.models.outputs import probabilities
from mnist_jax.training import memory
from mnist_jax.training.layout import Layout
from mnist_jax.training.loss import Loss

BLOCK = 500  # examples per block; constant, so that any number of devices computes the same


@dataclass(frozen=True)
class Outputs:
    """Metrics and probabilities of M networks for the N examples of a split, on the host."""

    values: dict[str, np.ndarray]  # [M, N] float32, by the metric's name
    finite: np.ndarray  # [M] bool: True if all losses and probabilities are finite
    probabilities: np.ndarray | None  # [M, N, K] float32; None unless requested

    def means(self) -> list[dict[str, float | None]]:
        """Returns each network's mean of each metric over examples; `None` if it is not finite."""
        return [
            {name: _mean(values[i]) for name, values in self.values.items()}
            for i in range(len(self.finite))
        ]


def _mean(values: np.ndarray) -> float | None:
    """Returns the mean of `[N]`, summed in float64; `None` if it is not finite."""
    mean = float(values.sum(dtype=np.float64) / len(values))
    return mean if math.isfinite(mean) else None


def examine(
    model: Model,
    loss: Loss,
    metrics: Sequence[Metric],
    weights: Tree,
    blocks: Any,
    each: Callable[[Any, Any], Any] = lax.map,
    *,
    p: bool,
) -> dict[str, Any]:
    """Applies one network to each example of a split in blocks.

    Args:
      model: the network.
      loss: as in training, but used without label smoothing.
      metrics: to compute; includes the loss.
      weights: the network's `params` and `variables`.
      blocks: images `[n, BLOCK, H, W, C]` uint8 and labels `[n, BLOCK]`.
      each: `(function, blocks)` applies a function to each block; `Reduction.over_blocks`.
      p: True to return the probabilities as well.

    Returns:
      A dict: `values`, arrays `[n, BLOCK]` by metric; `finite`, `[n, BLOCK]` bool; and, with `p`,
      `probabilities`, `[n, BLOCK, K]`.
    """

    def block(examples: Any) -> dict[str, Any]:
        images, labels = examples
        outputs, _ = model.apply(
            weights["params"], weights["variables"], rescale(images), train=False
        )
        kind = model.output_activation
        targets = jax.nn.one_hot(labels, outputs.shape[-1])
        losses = loss(outputs, targets, output_activation=kind)
        predicted = probabilities(outputs, output_activation=kind)
        values = {
            m.name: losses
            if m.function is None
            else m.function(outputs, labels, output_activation=kind)
            for m in metrics
        }
        found = {
            "values": {name: value.astype(jnp.float32) for name, value in values.items()},
            "finite": jnp.isfinite(predicted).all(axis=-1) & jnp.isfinite(losses),
        }
        return found | ({"probabilities": predicted} if p else {})

    return each(block, blocks)


class Examiner:
    """Applies M networks to a split as often as it is called.

    The split stays on the devices, or is copied to them part by part at each call. It is padded to
    whole blocks for each device; the outputs for the padding are dropped.
    """

    def __init__(
        self,
        layout: Layout,
        function: Any,
        weights: Any,
        numbers: Any,
        split: Split,
        most_bytes: int | None = None,
    ) -> None:
        """Compiles the program.

        Args:
          layout: of the networks.
          function: `function(weights, numbers, blocks)` returns what `examine` does.
          weights: tree of arrays `[P, ...]` or their shapes.
          numbers: values of the networks, as for the layout.
          split: the examples.
          most_bytes: upper bound on the images on the devices at a time; None: the whole split.
        """
        self._layout, self._numbers, self._split = layout, numbers, split
        self._count = len(split.labels)
        multiple = layout.block_multiple
        size = BLOCK * multiple  # examples in the least number of blocks
        whole = -(-self._count // size) * size
        self._part = whole
        if most_bytes is not None and split.stored.nbytes > most_bytes:
            # Two blocks for each device at least: a loop of one is compiled to another rounding.
            image = split.stored.nbytes // self._count
            self._part = min(whole, size * max(2, most_bytes // (image * size)))
        self._blocks = self._placed(0)
        self._program = layout.compile_blocks(function, weights, numbers, self._blocks)
        if self._part < whole:
            self._blocks = None

    def _placed(self, start: int) -> Any:
        """Returns a part of the split in blocks on the devices, padded with zeros."""

        def in_blocks(array: np.ndarray | Joined) -> np.ndarray:
            x = array[start : start + self._part]
            x = np.pad(x, [(0, self._part - len(x))] + [(0, 0)] * (x.ndim - 1))
            return x.reshape(-1, BLOCK, *x.shape[1:])

        both = in_blocks(self._split.stored), in_blocks(self._split.labels)
        return self._layout.place_blocks(both)

    @property
    def parts(self) -> int:
        """Number of calls of the program, each for as many blocks of the split."""
        return -(-self._count // self._part)

    @property
    def bytes_needed(self) -> int:
        """Memory needed per device during a call, in bytes."""
        return memory.needed(self._program)

    def __call__(self, weights: Any) -> Outputs:
        """Applies all networks, with weights `[P, ...]`, to every example of the split."""
        parts = []
        for start in range(0, self._count, self._part):
            blocks = self._placed(start) if self._blocks is None else self._blocks
            parts.append(self._layout.members(self._program(weights, self._numbers, blocks)))
        found = jax.tree.map(lambda *its: self._examples(np.concatenate(its, axis=1)), *parts)
        return Outputs(
            values=found["values"],
            finite=found["finite"].all(axis=1),
            probabilities=found.get("probabilities"),
        )

    def _examples(self, x: np.ndarray) -> np.ndarray:
        """Reshapes `[M, n, BLOCK, ...]` to `[M, N, ...]`, without the padding."""
        x = x.reshape(len(x), -1, *x.shape[3:])[:, : self._count]
        if x.shape[1] != self._count:
            raise RuntimeError(f"expected outputs for {self._count} examples, got {x.shape[1]}")
        return x
