"""Figures of one split, computed in NumPy from the outputs of a model for every example of it."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnist_jax.metrics import ALWAYS

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Predictions:
    """What a model said about each of the n examples of a split with k classes."""

    split: str
    images: np.ndarray  # [n, height, width, channels] uint8
    labels: np.ndarray  # [n] int32, the true class
    probabilities: np.ndarray  # [n, k] float32, rows sum to 1
    values: Mapping[str, np.ndarray]  # by metric, "loss" among them: [n], one for each example
    class_names: tuple[str, ...]  # k names

    @property
    def losses(self) -> np.ndarray:
        """The loss of each example: [n] float32."""
        return self.values["loss"]

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """Class of the highest probability, the lowest class on ties: [n] int64."""
        return np.argmax(self.probabilities, axis=1)

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class: [n] float32."""
        return np.max(self.probabilities, axis=1)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """Whether the predicted class is the true one: [n] bool."""
        return self.predicted == self.labels


def evaluate(predictions: Predictions) -> dict:
    """Summarise a split in values that JSON can hold.

    `loss` and each further metric is the sum of its values in float64 divided by the count,
    `accuracy` the number of correct predictions divided by the count. `per_class`, `confusion` and
    `calibration` are described at the functions of those names. A figure that is undefined is None,
    never NaN.

    Raises:
      ValueError: no examples, shapes that do not match, a label that names no class, or a loss or
        a probability that is not finite.
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
    """Count the examples of each pair (row: true class, column: predicted class): [k, k] int64."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(confusion: np.ndarray, class_names: tuple[str, ...]) -> list[dict]:
    """Precision, recall and F1 of each class from a [k, k] confusion matrix.

    With TP the examples of the class that were predicted as such, FP those of other classes
    predicted as it and FN those of it predicted as another: precision = TP / (TP + FP),
    recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each None where it divides by 0
    (van Rijsbergen, Information Retrieval, 1979, chapter 7).
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


def calibration(
    confidence: np.ndarray, correct: np.ndarray, num_bins: int = CALIBRATION_BINS
) -> dict:
    """How well the probability of the predicted class tells how often it is right.

    The n examples fall into equal-width bins (low, high] by their confidence. Of bin b, conf(b) is
    the mean confidence and acc(b) the fraction correct. The expected calibration error is
    sum_b count(b) / n * |acc(b) - conf(b)|, the maximum calibration error max_b of that gap (Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017, section 2). Both errors, and
    `confidence` and `accuracy` of a bin (None if it is empty), are fractions.
    """
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bin_of = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(bin_of, minlength=num_bins)
    confidence_sums = np.bincount(bin_of, weights=confidence, minlength=num_bins)
    correct_counts = np.bincount(bin_of[correct], minlength=num_bins)
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
            for b in range(num_bins)
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
        raise ValueError(f"images: {predictions.images.shape}, not [{count}, h, w, c]")
    arrays = [
        ("labels", predictions.labels, (count,)),
        ("probabilities", predictions.probabilities, (count, classes)),
        *((name, values, (count,)) for name, values in predictions.values.items()),
    ]
    for name, array, expected in arrays:
        if array.shape != expected:
            raise ValueError(f"{name}: shape {array.shape}, not {expected}")
    if predictions.labels.min() < 0 or predictions.labels.max() >= classes:
        raise ValueError(f"labels: some lie outside 0 to {classes - 1}")
    for name, array in (
        ("loss", predictions.losses),
        ("probabilities", predictions.probabilities),
    ):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: some are not finite")
