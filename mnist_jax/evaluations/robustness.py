"""Measures the accuracy of a trained network on corrupted images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import data
from mnist_jax.analysis.run.robustness import Cell, publish
from mnist_jax.compilation import keep_programs
from mnist_jax.data.corruptions import CORRUPTIONS, Corrupt
from mnist_jax.errors import UserError
from mnist_jax.evaluations.split import EVALUATING, warn_of_repeated
from mnist_jax.files import file_name
from mnist_jax.lock import sole_writer
from mnist_jax.randomness import example_keys, root_key
from mnist_jax.training import provenance
from mnist_jax.training.network import Network
from mnist_jax.training.restored import Restored, restore

BATCH = 1000  # images that are corrupted and classified at a time


def measure(network: Network, which: str, split: str) -> tuple[dict[str, Any], list[Cell], Path]:
    """Evaluates a network on corrupted images, and writes table and plot.

    Args:
      network: the network, as `network.find` returns it.
      which: the checkpoint: `latest`, `best` or a step.
      split: any split string of TensorFlow Datasets.

    Returns:
      The contents of `robustness.json`, its cells, and the folder of the files.

    Raises:
      UserError: the checkpoint or the split does not exist, the split is empty, another process is
        writing there, or a file cannot be written.
    """
    keep_programs()
    provenance.announce()
    warn_of_repeated(network.config.data.name, split)
    restored = restore(network, which)
    examples = data.load(restored.config.data.name, split)
    count = len(examples.labels)
    if not count:
        raise UserError(f"split {split!r}: contains no examples; give another split")
    cells = list(_cells(restored, examples))
    clean = _accuracy(restored, examples, lambda images, keys, strength: images, 0.0, "clean")
    name = "robustness" if split == "test" else f"robustness {split}"
    folder = network.output / "evaluations" / file_name(name)
    facts = {"split": split, "count": count, "checkpoint": restored.step, "clean": clean}
    with sole_writer(folder, EVALUATING):
        return publish(folder, cells, facts), cells, folder


def _cells(restored: Restored, examples: data.Split) -> Iterator[Cell]:
    for kind in CORRUPTIONS:
        apply = jax.jit(kind.apply)
        for level, strength in enumerate(kind.strengths, start=1):
            accuracy = _accuracy(restored, examples, apply, strength, kind.name)
            yield Cell(kind.name, kind.unit, level, strength, accuracy)


def _accuracy(
    restored: Restored, examples: data.Split, apply: Corrupt, strength: float, stream: str
) -> float:
    """Returns the fraction of images that are right after they were corrupted.

    What is drawn at random depends on the kind of corruption and the image's index in the split.
    """
    right = 0
    for start in range(0, len(examples.labels), BATCH):
        # The last batch is as large as the others: it begins anew.
        index = np.arange(start, start + BATCH) % len(examples.labels)
        images = jnp.asarray(examples.stored[index], jnp.float32) / 255.0
        keys = example_keys(root_key(0), stream, jnp.uint32(0), jnp.asarray(index, jnp.int32))
        p = np.asarray(restored.probabilities(apply(images, keys, jnp.float32(strength))))
        if not np.isfinite(p).all():
            raise UserError(f"{stream}: an output of the network is not finite")
        same = p.argmax(axis=-1) == examples.labels[index]
        right += int(same[: len(examples.labels) - start].sum())
    return right / len(examples.labels)
