"""Evaluation of one split, computed in NumPy from a model's predictions for all its examples."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnist_jax.data.joined import Joined
from mnist_jax.metrics import ALWAYS

BINS = 15  # of the calibration


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for the n examples of a split with k classes."""

    split: str
    images: np.ndarray | Joined  # [n, height, width, channels] uint8
    labels: np.ndarray  # [n] int32, the true class
    probabilities: np.ndarray  # [n, k] float32, rows sum to 1
    values: Mapping[str, np.ndarray]  # by metric, including "loss": [n], one value per example
    class_names: tuple[str, ...]  # k names

    @property
    def losses(self) -> np.ndarray:
        """The loss of each example: [n] float32."""
        return self.values["loss"]

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """Class with the highest probability, the lowest such class on ties: [n] int64."""
        return np.argmax(self.probabilities, axis=1)

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class: [n] float32."""
        return np.max(self.probabilities, axis=1)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """True where the predicted class is the true one: [n] bool."""
        return self.predicted == self.labels

    @functools.cached_property
    def worst(self) -> np.ndarray:
        """Indices of the m wrong predictions, highest loss first: [m] int64."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.losses[wrong], kind="stable")]


def evaluate(predictions: Predictions) -> dict:
    """Returns the evaluation of a split as values that JSON can represent.

    `loss` and each further metric are the sum of their values in float64 divided by the number of
    examples, `accuracy` is the fraction of correct predictions. `per_class`, `confusion` and
    `calibration` are what the functions `per_class`, `confusion_matrix` and `calibration` return.
    Undefined values are None, never NaN.

    Raises:
      ValueError: there are no examples, shapes do not match, a label is out of range, or a loss or
        a probability is not finite.
    """
    _check(predictions)
    count = len(predictions.labels)
    correct = predictions.correct
    confusion = confusion_matrix(
        predictions.labels, predictions.predicted, len(predictions.class_names)
    )
    return {
        "split": predictions.split,
        "count": count,
        "loss": _mean(predictions.losses),
        "accuracy": int(correct.sum()) / count,
        **{name: _mean(its) for name, its in predictions.values.items() if name not in ALWAYS},
        "per_class": per_class(confusion, predictions.class_names),
        "confusion": confusion.tolist(),
        "calibration": calibration(predictions.confidence, correct),
    }


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts examples by true class (row) and predicted class (column): [k, k] int64."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(confusion: np.ndarray, class_names: tuple[str, ...]) -> list[dict]:
    """Computes precision, recall and F1 of each class from a [k, k] confusion matrix.

    For each class, TP is the number of its examples that were predicted as this class, FP the
    number of other examples predicted as this class, and FN the number of its examples predicted as
    another class. precision = TP / (TP + FP), recall = TP / (TP + FN),
    F1 = 2 TP / (2 TP + FP + FN); each is None if its denominator is 0 (van Rijsbergen, Information
    Retrieval, 1979, chapter 7).
    """
    true_positives = confusion.diagonal()
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        {
            "label": label,
            "name": name,
            "count": int(true[label]),
            "precision": _ratio(true_positives[label], predicted[label]),
            "recall": _ratio(true_positives[label], true[label]),
            "f1": _ratio(2 * true_positives[label], true[label] + predicted[label]),
        }
        for label, name in enumerate(class_names)
    ]


def calibration(confidence: np.ndarray, correct: np.ndarray) -> dict:
    """Measures how well confidence, the probability of the predicted class, matches accuracy.

    The n examples are sorted by confidence into `BINS` bins (low, high] of equal width. For bin b,
    conf(b) is the mean confidence and acc(b) the fraction of correct predictions. The expected
    calibration error is sum_b count(b) / n * |acc(b) - conf(b)|, and the maximum calibration error
    is max_b |acc(b) - conf(b)| (Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
    section 2). Both errors are fractions, as are `confidence` and `accuracy` of a bin, which are
    None if the bin is empty.

    Args:
      confidence: [n] probabilities of the predicted classes.
      correct: [n] bool, true where the predicted class is the true one.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    bin_of = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(bin_of, minlength=BINS)
    confidence_sums = np.bincount(bin_of, weights=confidence, minlength=BINS)
    correct_counts = np.bincount(bin_of[correct], minlength=BINS)
    gaps = np.abs(correct_counts - confidence_sums)
    return {
        "expected_calibration_error": float(gaps.sum() / counts.sum()),
        "maximum_calibration_error": float(np.max(gaps / np.maximum(counts, 1))),
        "bins": [
            {
                "low": float(edges[b]),
                "high": float(edges[b + 1]),
                "count": int(counts[b]),
                "confidence": _ratio(confidence_sums[b], counts[b]),
                "accuracy": _ratio(correct_counts[b], counts[b]),
            }
            for b in range(BINS)
        ],
    }


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.sum(dtype=np.float64) / len(values))
    return mean if math.isfinite(mean) else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _check(predictions: Predictions) -> None:
    count, classes = len(predictions.labels), len(predictions.class_names)
    if count == 0:
        raise ValueError(f"split {predictions.split!r} has no examples to evaluate")
    if predictions.images.ndim != 4 or len(predictions.images) != count:
        raise ValueError(
            f"images: expected shape [{count}, h, w, c], got {predictions.images.shape}"
        )
    arrays = [
        ("labels", predictions.labels, (count,)),
        ("probabilities", predictions.probabilities, (count, classes)),
        *((name, values, (count,)) for name, values in predictions.values.items()),
    ]
    for name, array, expected in arrays:
        if array.shape != expected:
            raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if predictions.labels.min() < 0 or predictions.labels.max() >= classes:
        raise ValueError(f"labels: some are outside the range 0 to {classes - 1}")
    for name, array in (
        ("loss", predictions.losses),
        ("probabilities", predictions.probabilities),
    ):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: some values are not finite")
