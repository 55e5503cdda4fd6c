import csv
import math
from pathlib import Path

import pytest

from mnist_jax.analysis import comparison
from mnist_jax.errors import UserError
from tests.analysis.members import member


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_after_the_last_epoch_are_those_of_the_last_row():
    finished = member(val=0.94, epochs=3)
    assert (finished.epochs, finished.finished) == (3, True)
    assert finished.val_accuracy == pytest.approx(0.94)
    assert finished.val_loss == pytest.approx(0.06)


def test_a_training_that_diverged_has_epochs_but_no_figures():
    lost = member(status="diverged in epoch 3", rows=2)
    assert (lost.epochs, lost.finished) == (2, False)
    assert lost.val_accuracy is lost.val_loss is None
    assert member(status="diverged in epoch 1").epochs == 0


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


def test_without_validation_the_order_stays():
    members = [member("a", val=None, test=0.1), member("b", val=None, test=0.9)]
    order = comparison.ranked(comparison.architectures(members))
    assert [architecture.name for architecture in order] == ["a", "b"]
    assert comparison.yardstick(members) == "test_accuracy"
    assert comparison.yardstick([*members, member(val=0.5)]) == "val_accuracy"


def test_varied_fields_leave_out_the_seed_and_come_in_ascending_order():
    members = [
        member(seed=seed, hidden=hidden, learning_rate=rate)
        for seed, (hidden, rate) in enumerate([((64,), 1e-2), ((), 1e-3), ((8, 8), 1e-2)])
    ]
    common, varied = comparison.split_fields(members)
    assert varied == {"model.hidden": [(), (64,), (8, 8)], "optimizer.learning_rate": [1e-3, 1e-2]}
    assert common == {"num_epochs": 3, "model.name": "mlp", "optimizer.name": "adam"}


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


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    comparison.write_tables(tmp_path, [member()])
    before = (tmp_path / "sweep.csv").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        comparison.write_tables(tmp_path, [member(), member(seed=1)])
    assert (tmp_path / "sweep.csv").read_bytes() == before
