import csv
import math
from pathlib import Path

import pytest

from mnist_jax.analysis.sweep import comparison
from mnist_jax.errors import UserError
from tests.analysis.members import ENTROPY, TOP_2, member


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_after_the_last_epoch_are_those_of_the_last_row():
    finished = member(val=0.94, epochs=3)
    assert (finished.epochs, finished.finished) == (3, True)
    assert finished.figure("val_accuracy") == pytest.approx(0.94)
    assert finished.figure("val_loss") == pytest.approx(0.06)
    assert finished.figure("train_loss") == pytest.approx(0.5 / 3)
    assert finished.figure("test_accuracy") == pytest.approx(0.9)
    assert finished.figure("val_top_2") is finished.figure("test_top_2") is None


def test_a_training_that_diverged_has_epochs_but_no_figures():
    lost = member(status="diverged in epoch 3", rows=2)
    assert (lost.epochs, lost.finished, lost.diverged) == (2, False, True)
    assert lost.figure("val_accuracy") is lost.figure("val_loss") is None
    assert member(status="diverged in epoch 1").epochs == 0


def test_a_training_under_way_has_no_figures_and_did_not_diverge():
    members = [member(seed=0), member(seed=1, status="training", rows=2)]
    assert (members[1].finished, members[1].diverged) == (False, False)
    assert members[1].figure("val_accuracy") is None
    [architecture] = comparison.architectures(members)
    assert (architecture.diverged, len(architecture.finished)) == (0, 1)


def test_a_figure_that_is_not_finite_is_none():
    odd = member(metrics={TOP_2: math.nan})
    assert odd.figure("val_top_2") is odd.figure("test_top_2") is None


def test_mean_deviation_and_error_of_known_values():
    found = comparison.statistic([2.0, None, 4.0, 4.0, 6.0])
    assert (found.count, found.mean) == (4, 4.0)
    assert found.deviation == pytest.approx(math.sqrt(8 / 3))
    assert found.error == pytest.approx(math.sqrt(8 / 3) / 2)


def test_one_value_has_no_spread_and_none_has_no_mean():
    one, none = comparison.statistic([0.5]), comparison.statistic([None])
    assert (one.mean, one.deviation, one.error) == (0.5, None, None)
    assert (none.count, none.mean, none.deviation, none.error) == (0, None, None, None)


def test_architectures_keep_the_order_and_count_what_diverged():
    members = [member("b", 0), member("a", 0), member("b", 1, status="diverged in epoch 1")]
    first, second = comparison.architectures(members)
    assert (first.name, second.name) == ("b", "a")
    assert (len(first.members), len(first.finished), first.diverged) == (2, 1, 1)
    assert first.statistic("test_accuracy").count == 1


def test_the_ranking_is_by_validation_and_never_by_test():
    members = [
        member("low", val=0.90, test=0.99),
        member("lost", status="diverged in epoch 1"),
        member("high", val=0.95, test=0.80),
    ]
    order = comparison.ranked(comparison.architectures(members))
    assert [architecture.name for architecture in order] == ["high", "low", "lost"]


def names_in_order(members: list[comparison.Member]) -> list[str]:
    return [one.name for one in comparison.ranked(comparison.architectures(members))]


def test_architectures_that_lost_a_seed_come_after_those_that_lost_none():
    lost = "diverged in epoch 2: step 20: the loss, the gradient or a parameter is not finite"
    members = [
        member("none left", status=lost),
        member("some left", 0, val=0.97),
        member("some left", 1, status=lost),
        member("fewer left", 0, val=0.98),
        member("fewer left", 1, status=lost),
        member("sound", 0, val=0.90),
        member("better", 0, val=0.91),
    ]
    order = ["better", "sound", "fewer left", "some left", "none left"]
    assert names_in_order(members) == order


def losses_against_accuracies(best: str) -> list[comparison.Member]:
    members = [member("a", val=0.95, best=best), member("b", val=0.90, best=best)]
    for one, loss in zip(members, (0.3, 0.2), strict=True):
        one.history[-1]["val_loss"] = loss
    return members


def test_the_ranking_follows_the_column_that_the_configuration_calls_best():
    assert names_in_order(losses_against_accuracies("val_accuracy")) == ["a", "b"]
    assert names_in_order(losses_against_accuracies("val_loss")) == ["b", "a"]
    mixed = losses_against_accuracies("val_loss")[:1] + losses_against_accuracies("val_accuracy")
    assert comparison.ordering(mixed)[0] == "val_accuracy"
    members = [member(n, metrics={TOP_2: v}, best="val_top_2") for n, v in (("c", 0.5), ("d", 0.9))]
    assert names_in_order(members) == ["d", "c"]


def test_without_validation_the_order_stays():
    members = [member("a", val=None, test=0.1), member("b", val=None, test=0.9)]
    assert names_in_order(members) == ["a", "b"]
    assert comparison.yardstick(members)[0] == "test_accuracy"
    assert comparison.yardstick([*members, member(val=0.5)])[0] == "val_accuracy"


def test_the_metrics_of_a_comparison_are_those_of_any_of_its_members():
    members = [member(), member(metrics={TOP_2: 0.9}), member(metrics={TOP_2: 0.9, "gone:odd": 2})]
    found = comparison.metrics_of(members)
    assert [metric.name for metric in found] == ["loss", "accuracy", "top_2", "odd"]
    assert [metric.label for metric in found] == ["loss", "accuracy", "top 2", "odd"]
    assert comparison.said("test_top_2", found[2]) == "test top 2"
    assert comparison.heading("test top 2", found[2]) == "test top 2, %"
    assert comparison.heading("test loss", found[0]) == "test loss"


def test_varied_fields_leave_out_the_seed_and_come_in_ascending_order():
    members = [
        member(seed=seed, hidden=hidden, learning_rate=rate)
        for seed, (hidden, rate) in enumerate([((64,), 1e-2), ((), 1e-3), ((8, 8), 1e-2)])
    ]
    common, varied = comparison.split_fields(members)
    assert varied == {"model.hidden": [(), (64,), (8, 8)], "optimizer.learning_rate": [1e-3, 1e-2]}
    assert common == {
        "num_epochs": 3,
        "model.name": "mlp",
        "optimizer.name": "adam",
        "metrics": (),
        "best": "val_accuracy",
    }


def test_a_field_that_some_lack_varies():
    members = [member(hidden=None), member(hidden=(8,), decay=0.1)]
    assert comparison.varied(members) == {
        "model.hidden": [None, (8,)],
        "optimizer.decay": [None, 0.1],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[((128, 32), "128-32"), ((), "none"), ("", "none"), (None, "not set"), ("relu", "relu")],
        *[(1e-5, "1e-05"), (0.001, "0.001"), (1 / 3, "0.33333"), (3, "3"), (False, "False")],
    ],
)
def test_values_in_words(value, text: str):
    assert comparison.shown(value) == text


def test_names_of_fields_are_short_where_that_is_clear():
    names = comparison.field_names(["optimizer.learning_rate", "model.name", "num_epochs"])
    assert list(names.values()) == ["learning rate", "model", "epochs"]
    clash = comparison.field_names(["data.scale", "augment.scale"])
    assert list(clash.values()) == ["data.scale", "augment.scale"]


def test_depth_averages_each_seed_and_leaves_out_one_that_lost_a_part():
    members = [
        member("a", 0, 0.90, hidden=(8,)),
        member("b", 0, 0.94, hidden=(16,)),
        member("a", 1, 0.91, hidden=(8,)),
        member("b", 1, hidden=(16,), status="diverged in epoch 1"),
        member("c", 0, 0.0, hidden=()),
        member("cnn", 0, 0.99, hidden=None),
    ]
    cells = comparison.by_depth(members)
    assert list(cells) == [(0, 3), (1, 3)]
    assert cells[1, 3] == {0: pytest.approx(0.92)}
    assert cells[0, 3] == {0: 0.0}


def test_a_line_a_member_in_the_order_given(tmp_path: Path):
    members = [
        member("b", 1, test=1 / 3, learning_rate=1e-5, hidden=(128, 32)),
        member("a", 0, learning_rate=1e-3, hidden=(), status="diverged in epoch 1"),
    ]
    comparison.write_tables(tmp_path, members)
    first, second = read(tmp_path / "sweep.csv")
    assert list(first) == [
        *("architecture", "seed", "parameters", "epochs", "seconds"),
        *("val_accuracy", "val_loss", "test_accuracy", "test_loss", "status"),
        *("model.hidden", "optimizer.learning_rate"),
    ]
    assert (first["architecture"], first["seed"], first["status"]) == ("b", "1", "finished")
    assert float(first["test_accuracy"]) == 1 / 3
    assert (first["model.hidden"], first["optimizer.learning_rate"]) == ("128-32", "1e-05")
    assert (second["status"], second["model.hidden"]) == ("diverged in epoch 1", "none")
    assert second["val_accuracy"] == second["test_accuracy"] == second["test_loss"] == ""


def test_a_line_an_architecture_with_mean_and_spread(tmp_path: Path):
    members = [
        member("a", 0, 0.90),
        member("a", 1, 0.92),
        member("a", 2, status="diverged in epoch 2", rows=1),
        member("b", 0, 0.80, epochs=5),
    ]
    comparison.write_tables(tmp_path, members)
    first, second = read(tmp_path / "summary.csv")
    assert (first["seeds"], first["diverged"], first["parameters"]) == ("2", "1", "1000")
    assert (float(first["epochs"]), float(first["seconds"])) == (3, 2)
    assert float(first["test_accuracy"]) == pytest.approx(0.91)
    assert float(first["test_accuracy_sd"]) == pytest.approx(math.sqrt(2) * 0.01)
    assert float(first["test_accuracy_se"]) == pytest.approx(0.01)
    assert (second["seeds"], second["test_loss_sd"], second["test_loss_se"]) == ("1", "", "")
    assert (first["num_epochs"], second["num_epochs"]) == ("3", "5")


def test_a_further_metric_has_columns_of_its_own(tmp_path: Path):
    metrics = {TOP_2: 0.5, ENTROPY: 2.0}
    members = [member(seed=0, metrics=metrics), member(seed=1, metrics=metrics | {TOP_2: 0.75})]
    comparison.write_tables(tmp_path, members)
    first, second = read(tmp_path / "sweep.csv")
    assert list(first)[5:14] == [
        *("val_accuracy", "val_loss", "test_accuracy", "test_loss"),
        *("val_top_2", "test_top_2", "val_entropy", "test_entropy", "status"),
    ]
    assert (first["val_top_2"], second["test_top_2"]) == ("0.5", "0.75")
    [row] = read(tmp_path / "summary.csv")
    assert float(row["test_top_2"]) == 0.625
    assert float(row["val_top_2_sd"]) == pytest.approx(0.125 * math.sqrt(2))
    assert float(row["test_top_2_se"]) == pytest.approx(0.125)
    assert float(row["test_entropy_sd"]) == 0.0


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    comparison.write_tables(tmp_path, [member()])
    before = (tmp_path / "sweep.csv").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        comparison.write_tables(tmp_path, [member(), member(seed=1)])
    assert (tmp_path / "sweep.csv").read_bytes() == before
