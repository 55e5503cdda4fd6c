"""The metrics: what they compute, what is known of them, and which epoch is the best one."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax import metrics
from mnist_jax.errors import UserError
from mnist_jax.metrics import Metric

pytestmark = pytest.mark.usefixtures("quick_compiles")

OWN = """
from mnist_jax.metrics import metric

@metric(label="top 2", percent=True)
def top_2(outputs, labels, *, output_activation):
    return labels * 0

@metric(higher_is_better=False)
def worst_case(outputs, labels, *, output_activation):
    return labels * 0

def plain_one(outputs, labels, *, output_activation):
    return labels * 0

def brier(outputs, labels, *, output_activation):
    return labels * 0

accuracy = confusion = plain_one
not_a_function = 3
"""


@pytest.fixture
def own(user_module):
    user_module("mine", OWN)


def names(found):
    return [metric.name for metric in found]


class TestFind:
    def test_loss_and_accuracy_are_always_there_and_first(self):
        assert names(metrics.find()) == ["loss", "accuracy"]
        assert names(metrics.find(("top_3", "brier"))) == ["loss", "accuracy", "top_3", "brier"]

    def test_the_loss_is_that_of_training(self):
        loss, accuracy = metrics.find()
        assert loss == Metric("loss", "loss", higher_is_better=False)
        assert loss.function is None
        assert accuracy == Metric("accuracy", "accuracy", percent=True, function=metrics.accuracy)

    @pytest.mark.usefixtures("own")
    def test_one_of_ones_own_is_named_by_its_function(self):
        found = metrics.find(("mine:top_2", "mine:worst_case", "mine:plain_one"))[2:]
        described = [(m.name, m.label, m.percent, m.higher_is_better) for m in found]
        assert described == [
            ("top_2", "top 2", True, True),
            ("worst_case", "worst case", False, False),
            ("plain_one", "plain one", False, True),
        ]

    @pytest.mark.usefixtures("own")
    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (["top3"], "config.metrics: there is no 'top3'; did you mean 'top_3'"),
            (["loss_"], "there is no 'loss_'"),
            (["mine:top_3"], "mine has no 'top_3'; did you mean 'top_2'"),
            (["nowhere:top_2"], "cannot import 'nowhere'"),
            (["mine:not_a_function"], "'mine:not_a_function' is not a function, but 3"),
            (["mine:accuracy"], "'accuracy' is always computed; leave 'mine:accuracy' out"),
            (["accuracy"], "'accuracy' is always computed"),
            (["brier", "brier"], "two metrics named 'brier'"),
            (["brier", "mine:brier"], "two metrics named 'brier'; rename one function"),
            (["mine:confusion"], "'confusion' is a reserved name .*rename 'mine:confusion'"),
        ],
    )
    def test_what_cannot_be_computed_is_refused(self, asked, message):
        with pytest.raises(UserError, match=message):
            metrics.find(asked)


class TestOf:
    def test_a_run_from_before_there_were_metrics(self):
        assert names(metrics.of({})) == ["loss", "accuracy"]

    @pytest.mark.usefixtures("own")
    def test_code_that_is_not_there_any_more_is_shown_by_its_name(self):
        found = metrics.of({"metrics": ["brier", "gone:mean_rank", "mine:worst_case"]})
        assert names(found) == ["loss", "accuracy", "brier", "mean_rank", "worst_case"]
        assert found[3] == Metric("mean_rank", "mean rank")
        assert not found[4].higher_is_better


def test_columns():
    found = metrics.find(("brier",))
    assert metrics.columns(found, "val") == ["val_loss", "val_accuracy", "val_brier"]


def test_the_metric_of_a_column():
    found = metrics.find(("top_3",))
    assert metrics.of_column(found, "val_top_3") is found[2]
    assert metrics.of_column(found, "train_loss") is found[0]
    assert metrics.of_column(found, "test_accuracy") is found[1]
    for column in ("val_top_2", "top_3", "valid_loss", "val_", ""):
        with pytest.raises(UserError, match=f"config.best: there is no {column!r}"):
            metrics.of_column(found, column)
    with pytest.raises(UserError, match="did you mean 'val_accuracy'"):
        metrics.of_column(found, "val_acuracy")


ACCURACY, LOSS = metrics.find()[1], metrics.LOSS


@pytest.mark.parametrize(
    ("values", "highest", "lowest"),
    [
        ([], None, None),
        ([0.5], 0, 0),
        ([0.1, 0.3, 0.2], 1, 0),
        ([0.3, 0.3, 0.3], 0, 0),  # a tie does not improve
        ([0.1, 0.3, 0.3], 1, 0),
        ([math.nan, 0.3, math.nan, 0.2], 1, 3),
        ([None, 0.1, None], 1, 1),
        ([math.inf, 0.1, -math.inf], 1, 1),
        ([math.nan, None], None, None),
        ([0, 1, 1.0], 1, 0),
    ],
    ids=str,
)
def test_the_best_epoch(values, highest, lowest):
    rows = [{"val_x": value} for value in values]
    assert metrics.best_epoch(rows, "val_x", ACCURACY) == highest
    assert metrics.best_epoch(rows, "val_x", LOSS) == lowest
    assert metrics.best_epoch(rows, "val_other", ACCURACY) is None


def test_nan_is_never_better():
    for metric in (ACCURACY, LOSS):
        assert not metric.better(math.nan, 0.5)
        assert not metric.better(0.5, 0.5)
    assert ACCURACY.better(0.6, 0.5)
    assert LOSS.better(0.4, 0.5)


def test_how_people_read_a_value():
    assert (ACCURACY.number(0.97123), ACCURACY.text(0.97123)) == ("97.12", "97.12 %")
    assert (LOSS.number(0.07123), LOSS.text(0.07123)) == ("0.0712", "0.0712")
    assert (ACCURACY.scale, ACCURACY.unit) == (100.0, " %")
    assert (LOSS.scale, LOSS.unit) == (1.0, "")
    assert ACCURACY.text(None) == LOSS.number(None) == ""
    assert ACCURACY.text(None, "-") == LOSS.text(None, "-") == "-"


OUTPUTS = np.random.default_rng(0).normal(0.5, 1.0, (64, 10)).astype(np.float32)
LABELS = np.arange(64, dtype=np.int32) % 10


def by_numpy(outputs, activation):
    """Probabilities in float64."""
    outputs = outputs.astype(np.float64)
    if activation == "softmax":
        e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return np.clip(outputs / outputs.sum(axis=1, keepdims=True), 1e-7, 1.0)


def asked(function, outputs, activation, labels=LABELS):
    found = function(jnp.asarray(outputs), jnp.asarray(labels), output_activation=activation)
    assert found.shape == labels.shape
    return np.asarray(found)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
class TestByPlainNumPy:
    def outputs(self, activation):
        return OUTPUTS if activation == "softmax" else 1.0 / (1.0 + np.exp(-OUTPUTS))

    def test_accuracy(self, activation):
        outputs = self.outputs(activation)
        expected = outputs.argmax(axis=1) == LABELS
        assert 0 < expected.sum() < 64
        np.testing.assert_array_equal(asked(metrics.accuracy, outputs, activation), expected)

    def test_top_3(self, activation):
        outputs = self.outputs(activation)
        best = np.argsort(-outputs, axis=1)[:, :3]
        expected = [label in its for label, its in zip(LABELS, best, strict=True)]
        assert 0 < sum(expected) < 64
        np.testing.assert_array_equal(asked(metrics.top_3, outputs, activation), expected)

    def test_brier(self, activation):
        outputs = self.outputs(activation)
        one_hot = np.eye(10)[LABELS]
        expected = ((by_numpy(outputs, activation) - one_hot) ** 2).sum(axis=1)
        found = asked(metrics.brier, outputs, activation)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert ((found >= 0) & (found <= 2)).all()


def test_metrics_at_the_extremes():
    sure = np.float32([[100.0, 0.0, 0.0, 0.0], [0.0, 100.0, 0.0, 0.0]])
    labels = np.int32([0, 0])
    assert asked(metrics.brier, sure, "softmax", labels).tolist() == [0.0, 2.0]
    assert asked(metrics.accuracy, sure, "softmax", labels).tolist() == [True, False]
    equal = np.zeros((1, 4), np.float32)
    assert asked(metrics.top_3, equal, "softmax", np.int32([3])).tolist() == [True]
    assert asked(metrics.accuracy, equal, "softmax", np.int32([3])).tolist() == [False]
    assert asked(metrics.brier, equal, "softmax", np.int32([3])).tolist() == [0.75]
