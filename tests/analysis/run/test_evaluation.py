import json
from dataclasses import replace

import numpy as np
import pytest

from mnist_jax.analysis.run import evaluation
from mnist_jax.analysis.run.evaluation import Predictions, calibration, evaluate


def hand_made() -> Predictions:
    """Five examples of three classes; class 2 occurs once and is never predicted."""
    return Predictions(
        split="test",
        images=np.zeros((5, 28, 28, 1), np.uint8),
        labels=np.array([0, 0, 1, 1, 2], np.int32),
        probabilities=np.array(
            [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.9, 0], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]],
            np.float32,
        ),
        values={
            "loss": np.array([0.25, 2.0, 0.125, 0.5, 1.625], np.float32),
            "accuracy": np.array([1, 0, 1, 1, 0], np.float32),
            "top_2": np.array([True, True, True, True, False]),
        },
        class_names=("a", "b", "c"),
    )


def random_predictions(count: int = 500, classes: int = 10) -> Predictions:
    random = np.random.default_rng(7)
    probabilities = random.dirichlet(np.full(classes, 0.2), count).astype(np.float32)
    labels = np.array([random.choice(classes, p=row / row.sum()) for row in probabilities])
    return Predictions(
        split="train[:500]",
        images=random.integers(0, 256, (count, 28, 28, 1), np.uint8),
        labels=labels.astype(np.int32),
        probabilities=probabilities,
        values={"loss": -np.log(probabilities[np.arange(count), labels] + 1e-7)},
        class_names=tuple("0123456789"[:classes]),
    )


def test_loss_accuracy_and_confusion_of_a_case_counted_by_hand():
    figures = evaluate(hand_made())
    assert figures["split"] == "test"
    assert figures["count"] == 5
    assert figures["loss"] == 4.5 / 5
    assert figures["accuracy"] == 3 / 5
    assert figures["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_a_further_metric_stands_after_loss_and_accuracy_by_its_name():
    figures = evaluate(hand_made())
    assert figures["top_2"] == 4 / 5
    assert list(figures) == [
        *("split", "count", "loss", "accuracy", "top_2", "per_class", "confusion", "calibration"),
    ]


def test_per_class_figures_of_a_case_counted_by_hand():
    a, b, c = evaluate(hand_made())["per_class"]
    assert a == {"label": 0, "name": "a", "count": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert (b["precision"], b["recall"], b["f1"]) == (2 / 3, 1.0, 4 / 5)
    assert (c["count"], c["precision"], c["recall"], c["f1"]) == (1, None, 0.0, 0.0)


def test_a_class_without_examples_has_no_recall():
    only_a = replace(hand_made(), labels=np.zeros(5, np.int32))
    per_class = evaluate(only_a)["per_class"]
    assert [row["recall"] for row in per_class[1:]] == [None, None]
    assert per_class[2]["f1"] is None


def test_calibration_of_a_case_counted_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "BINS", 5)
    confidence = np.array([0.5, 0.5, 0.9, 0.9])
    figures = calibration(confidence, np.array([True, False, True, False]))
    assert figures["expected_calibration_error"] == pytest.approx(0.2)
    assert figures["maximum_calibration_error"] == pytest.approx(0.4)
    assert [row["count"] for row in figures["bins"]] == [0, 0, 2, 0, 2]
    assert figures["bins"][0]["accuracy"] is None
    assert figures["bins"][2]["accuracy"] == 0.5


def test_a_confidence_on_an_edge_belongs_to_the_bin_below(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "BINS", 4)
    figures = calibration(np.array([0.5, 1.0]), np.array([True, True]))
    assert [row["count"] for row in figures["bins"]] == [0, 1, 0, 1]


def test_perfect_calibration_has_no_error():
    confidence = np.repeat([0.5, 0.75, 1.0], 4)
    correct = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1], bool)
    figures = calibration(confidence, correct)
    assert figures["expected_calibration_error"] == 0
    assert figures["maximum_calibration_error"] == 0


def test_calibration_error_agrees_with_the_definition_written_as_a_loop():
    predictions = random_predictions()
    total = 0.0
    for low in range(15):
        inside = (predictions.confidence > low / 15) & (predictions.confidence <= (low + 1) / 15)
        if inside.any():
            accuracy = predictions.correct[inside].mean()
            gap = abs(accuracy - predictions.confidence[inside].mean())
            total += inside.mean() * gap
    found = evaluate(predictions)["calibration"]["expected_calibration_error"]
    assert found == pytest.approx(total, abs=1e-6)


def test_the_order_of_the_examples_changes_nothing():
    predictions = random_predictions()
    order = np.random.default_rng(1).permutation(len(predictions.labels))
    arrays = ("images", "labels", "probabilities")
    shuffled = replace(
        predictions,
        **{name: getattr(predictions, name)[order] for name in arrays},
        values={name: values[order] for name, values in predictions.values.items()},
    )
    before, after = evaluate(predictions), evaluate(shuffled)
    for name in ("count", "accuracy", "confusion", "per_class"):
        assert after[name] == before[name]
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-12)
    errors = [figures["calibration"]["expected_calibration_error"] for figures in (before, after)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)


def test_counts_agree_with_each_other():
    predictions = random_predictions()
    figures = evaluate(predictions)
    confusion = np.array(figures["confusion"])
    true = np.bincount(predictions.labels, minlength=10)
    assert confusion.sum() == figures["count"] == 500
    assert confusion.trace() / 500 == figures["accuracy"]
    np.testing.assert_array_equal(confusion.sum(axis=1), true)
    np.testing.assert_array_equal([row["count"] for row in figures["per_class"]], true)
    assert sum(row["count"] for row in figures["calibration"]["bins"]) == 500


def test_the_figures_are_strict_json():
    figures = evaluate(hand_made())
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.parametrize("name", ["loss", "brier"])
def test_a_metric_is_summed_in_float64(name: str):
    count = 20_000
    one = hand_made()
    values = np.r_[np.float32(2**24), np.ones(count - 1, np.float32)]
    many = replace(
        one,
        images=np.zeros((count, 1, 1, 1), np.uint8),
        labels=np.zeros(count, np.int32),
        probabilities=np.tile(one.probabilities[:1], (count, 1)),
        values={"loss": values, name: values},
    )
    assert evaluate(many)[name] == (2**24 + count - 1) / count


def test_a_further_metric_that_is_not_finite_is_unknown():
    values = {"loss": np.zeros(5), "brier": np.array([0.0, np.nan, 0.0, 0.0, 0.0])}
    figures = evaluate(replace(hand_made(), values=values))
    assert figures["brier"] is None
    assert figures["loss"] == 0.0


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"images": np.zeros((4, 28, 28, 1), np.uint8)}, "images"),
        ({"images": np.zeros((5, 28, 28), np.uint8)}, "images"),
        ({"labels": np.zeros((5, 1), np.int32)}, "labels"),
        ({"labels": np.array([0, 1, 2, 3, 0], np.int32)}, "labels"),
        ({"labels": np.array([0, 1, 2, -1, 0], np.int32)}, "labels"),
        ({"values": {"loss": np.zeros(4, np.float32)}}, "loss"),
        ({"values": {"loss": np.full(5, np.nan, np.float32)}}, "loss: some"),
        ({"values": {"loss": np.zeros(5), "labels": np.zeros((5, 1))}}, "labels"),
        ({"probabilities": np.zeros((5, 4), np.float32)}, "probabilities"),
        ({"class_names": ("a", "b")}, "probabilities"),
        ({"labels": np.zeros(0, np.int32)}, "no examples"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changed: dict, named: str):
    with pytest.raises(ValueError, match=named):
        evaluate(replace(hand_made(), **changed))
