"""Evaluates the networks of a sweep together: the mean of their probabilities.

Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles", NeurIPS 2017.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax.analysis.run.ensemble import publish
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.compilation import keep_programs
from mnist_jax.errors import UserError
from mnist_jax.evaluations.split import EVALUATING, examined, warn_of_repeated
from mnist_jax.files import file_name
from mnist_jax.lock import sole_writer
from mnist_jax.members import FINISHED
from mnist_jax.presence import is_file
from mnist_jax.training import network, provenance, sweepdir
from mnist_jax.training.restored import Restored, restore
from mnist_jax.training.workdir import SWEEP

SMALLEST = 1e-7  # a probability of 0 has no logarithm


def measure(
    workdir: Path, architecture: str, which: str, split: str
) -> tuple[dict[str, Any], Path]:
    """Evaluates the mean of the members' probabilities, beside each member.

    Args:
      workdir: the folder of a sweep.
      architecture: whose seeds to take; empty: all finished networks.
      which: the checkpoint of each: `latest`, `best` or a step.
      split: any split string of TensorFlow Datasets.

    Returns:
      The contents of `ensemble.json`, and the folder of the files.

    Raises:
      UserError: the folder holds no sweep, fewer than two of these networks are finished, they were
        trained on different data sets, another process is writing there, or a file cannot be
        written.
    """
    keep_programs()
    provenance.announce()
    names = _members(workdir, architecture)
    found = [network.find(workdir, name, seed) for name, seed in names]
    if len({its.config.data.name for its in found}) > 1:
        raise UserError(f"{workdir}: its networks were trained on different data sets")
    warn_of_repeated(found[0].config.data.name, split)
    restored = restore(found[0], which)
    members = {names[0]: examined(restored, split)}
    for key, its in zip(names[1:], found[1:], strict=True):
        members[key] = examined(restore(its, which), split)
    total = sum(its.probabilities.astype(np.float64) for its in members.values())
    mean = np.asarray(total / len(members), np.float32)
    first = members[names[0]]
    together = Predictions(
        split=split,
        images=first.images,
        labels=first.labels,
        probabilities=mean,
        values=_values(restored, mean, first.labels),
        class_names=first.class_names,
    )
    folder = workdir / "evaluations" / file_name(_folder(architecture, split))
    with sole_writer(folder, EVALUATING):
        return publish(folder, together, members, workdir.name), folder


def _members(workdir: Path, architecture: str) -> list[tuple[str, int]]:
    if not is_file(workdir / SWEEP):
        raise UserError(f"{workdir} holds no sweep: --ensemble takes the networks of one together")
    results = sweepdir.finished(sweepdir.populations(workdir))
    found = [
        key
        for key, result in results.items()
        if result["status"] == FINISHED and architecture in ("", key[0])
    ]
    if len(found) < 2:
        whose = f" of {architecture!r}" if architecture else ""
        raise UserError(f"{workdir}: an ensemble needs two finished networks{whose} at least")
    return found


def _folder(architecture: str, split: str) -> str:
    return " ".join(filter(None, ["ensemble", architecture, "" if split == "test" else split]))


def _values(restored: Restored, p: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns each metric of each example, from the probabilities `[n, K]`."""
    outputs = jnp.log(jnp.maximum(p, SMALLEST))  # a softmax of these gives the probabilities again
    targets = jax.nn.one_hot(labels, p.shape[1])
    values = {}
    for metric in restored.metrics:
        if metric.function is None:
            found = restored.loss(outputs, targets, output_activation="softmax")
        else:
            found = metric.function(outputs, jnp.asarray(labels), output_activation="softmax")
        values[metric.name] = np.asarray(found, np.float32)
    return values
