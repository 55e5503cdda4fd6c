"""Evaluates a trained network on digits of other writers than MNIST's: the outside test."""

from pathlib import Path
from typing import Any

from mnist_jax import data
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.compilation import keep_programs
from mnist_jax.errors import UserError
from mnist_jax.evaluations import split
from mnist_jax.pictures.outside import load
from mnist_jax.training import provenance
from mnist_jax.training.network import Network
from mnist_jax.training.restored import Restored

OUTSIDE = "outside"  # the name of the split


def evaluate(network: Network, which: str) -> tuple[dict[str, Any], Path]:
    """Evaluates a checkpoint on digits that are not MNIST's, and writes the files of `evaluate`.

    Args:
      network: the network, as `network.find` returns it.
      which: the checkpoint: `latest`, `best` or a step.

    Returns:
      The contents of `evaluation.json`, and the folder of the files, `evaluations/outside`.

    Raises:
      UserError: the checkpoint does not exist, the network was not trained on handwritten digits,
        scikit-learn is not installed, or an output of the network is not finite.
    """
    keep_programs()
    provenance.announce()
    return split.write(network, which, network.output / "evaluations" / OUTSIDE, examined)


def examined(restored: Restored) -> Predictions:
    """Returns the predictions of a restored network on digits that are not MNIST's.

    Raises:
      UserError: the network was not trained on handwritten digits, scikit-learn is not installed,
        or an output of the network is not finite.
    """
    name, names = restored.config.data.name, restored.spec.class_names
    ink = data.ink_of_digits(name, names)
    if ink is None:
        raise UserError(
            f"--outside: the outside test has handwritten digits, but the network was trained on "
            f"{name}; evaluate one that was trained on mnist"
        )
    images, labels = load(restored.spec.image_shape, ink)
    examples = data.Split(images, labels, names, "load_digits", OUTSIDE)
    return split.predictions(examples, restored.examine(examples))
