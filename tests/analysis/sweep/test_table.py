import csv
import math
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from mnist_jax.analysis.sweep.table import (
    Comparison,
    column_label,
    heading,
    mean_and_deviation,
    records,
)
from mnist_jax.errors import UserError
from tests.analysis.members import ENTROPY, TOP_2, member


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def networks(*members: dict) -> list[dict]:
    return records(Comparison(members).networks)


def known(value: float) -> float | None:
    return None if math.isnan(value) else value


# Networks


def test_figures_after_the_last_epoch_are_those_of_the_last_row():
    [finished] = networks(member(val=0.94, epochs=3))
    assert (finished["epochs"], finished["status"]) == (3, "finished")
    assert finished["val_accuracy"] == pytest.approx(0.94)
    assert finished["val_loss"] == pytest.approx(0.06)
    assert finished["test_accuracy"] == pytest.approx(0.9)
    assert "val_top_2" not in finished


def test_a_training_that_diverged_has_epochs_but_no_figures():
    lost, at_once = networks(
        member(status="diverged in epoch 3", rows=2), member(status="diverged in epoch 1")
    )
    assert (lost["epochs"], at_once["epochs"]) == (2, 0)
    assert [known(lost[column]) for column in ("val_accuracy", "val_loss")] == [None, None]
    assert known(lost["test_accuracy"]) is None
    its = Comparison([member(status="diverged in epoch 3", rows=2)])
    assert (its.finished.tolist(), its.diverged.tolist()) == ([False], [True])


def test_a_training_under_way_has_no_figures_and_did_not_diverge():
    its = Comparison([member(seed=0), member(seed=1, status="training", rows=2)])
    assert its.finished.tolist() == [True, False]
    assert not its.diverged.any()
    assert known(its.networks["val_accuracy"][1]) is None
    [architecture] = records(its.architectures)
    assert (architecture["diverged"], architecture["seeds"]) == (0, 1)


def test_a_figure_that_is_not_finite_is_left_out():
    odd = member(metrics={TOP_2: math.nan})
    odd["test"]["loss"] = math.inf
    [row] = networks(odd)
    assert known(row["val_top_2"]) is known(row["test_top_2"]) is known(row["test_loss"]) is None


def test_every_field_of_the_configurations_is_a_column():
    its = Comparison([member(hidden=(8, 4)), member("b", hidden=None, decay=0.1)])
    assert list(its.networks["model.hidden"]) == [(8, 4), None]
    assert list(its.networks["optimizer.decay"]) == [None, 0.1]
    assert list(its.networks["num_epochs"]) == [3, 3]
    columns = list(its.networks)
    assert columns.index("status") < min(map(columns.index, ("num_epochs", "model.hidden")))


# Architectures


def test_mean_deviation_and_error_of_known_values():
    tests = (0.2, 0.4, 0.4, 0.6)
    members = [member(seed=seed, test=test) for seed, test in enumerate(tests)]
    members.append(member(seed=4, status="diverged in epoch 2"))
    [row] = records(Comparison(members).architectures)
    assert (row["seeds"], row["networks"]) == (4, 5)
    assert row["test_accuracy"] == pytest.approx(0.4)
    assert row["test_accuracy_sd"] == pytest.approx(math.sqrt(0.08 / 3))
    assert row["test_accuracy_se"] == pytest.approx(math.sqrt(0.08 / 3) / 2)


def test_one_value_has_no_spread_and_none_has_no_mean():
    its = Comparison([member("one", test=0.5), member("none", status="diverged in epoch 1")])
    one, none = records(its.architectures)
    loss, accuracy = its.metrics
    assert one["test_accuracy"] == 0.5
    assert known(one["test_accuracy_sd"]) is known(one["test_accuracy_se"]) is None
    assert known(none["test_accuracy"]) is None
    assert mean_and_deviation(one, "test_accuracy", accuracy) == "50.00"
    assert mean_and_deviation(one, "test_loss", loss) == "0.5000"
    assert mean_and_deviation(none, "test_loss", loss, "-") == "-"
    row = {"test_accuracy": 0.97853, "test_accuracy_sd": 0.00102}
    assert mean_and_deviation(row, "test_accuracy", accuracy) == "97.85 ± 0.10"


def test_architectures_keep_the_order_and_count_what_diverged():
    members = [member("b", 0), member("a", 0), member("b", 1, status="diverged in epoch 1")]
    first, second = records(Comparison(members).architectures)
    assert (first["architecture"], second["architecture"]) == ("b", "a")
    assert (first["networks"], first["seeds"], first["diverged"]) == (2, 1, 1)


# Order


def names_in_order(members: list[dict]) -> list[str]:
    return list(Comparison(members).ranked.index)


def test_the_ranking_is_by_validation_and_never_by_test():
    members = [
        member("low", val=0.90, test=0.99),
        member("lost", status="diverged in epoch 1"),
        member("high", val=0.95, test=0.80),
    ]
    assert names_in_order(members) == ["high", "low", "lost"]


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


def losses_against_accuracies(best: str) -> list[dict]:
    members = [member("a", val=0.95, best=best), member("b", val=0.90, best=best)]
    for one, loss in zip(members, (0.3, 0.2), strict=True):
        one["history"][-1]["val_loss"] = loss
    return members


def test_the_ranking_follows_the_column_that_the_configuration_calls_best():
    assert names_in_order(losses_against_accuracies("val_accuracy")) == ["a", "b"]
    assert names_in_order(losses_against_accuracies("val_loss")) == ["b", "a"]
    mixed = losses_against_accuracies("val_loss")[:1] + losses_against_accuracies("val_accuracy")
    assert Comparison(mixed).column == "val_accuracy"
    members = [member(n, metrics={TOP_2: v}, best="val_top_2") for n, v in (("c", 0.5), ("d", 0.9))]
    assert names_in_order(members) == ["d", "c"]


def test_plots_show_the_column_that_ranks_or_that_of_the_test():
    metrics = {TOP_2: 0.5, ENTROPY: 0.25}
    ranked = Comparison([member(metrics=metrics, best="val_entropy")])
    assert (ranked.yardstick[0], ranked.yardstick[1].name) == ("val_entropy", "entropy")
    blind = Comparison([member(val=None, metrics=metrics, best="val_top_2")])
    assert (blind.yardstick[0], blind.yardstick[1].label) == ("test_top_2", "top 2")


def test_an_order_that_is_no_ranking_has_a_reason():
    assert Comparison([member(), member("b", status="diverged in epoch 1")]).not_ranked == ""
    assert Comparison([member(val=None)]).not_ranked == "there is no validation accuracy"
    lost = member(status="diverged in epoch 2", rows=1)
    assert Comparison([lost]).not_ranked == "no training finished"


def test_a_mean_is_over_the_fields_that_vary_while_others_do_not():
    members = [
        member(f"{a} {c}", seed, a=a, b=-a, c=c, d=c)
        for a in (1, 2)
        for c in ("x", "y")
        for seed in (0, 1)
    ]
    comparison = Comparison(members)
    assert comparison.averaged("optimizer.a") == ["optimizer.c", "optimizer.d"]
    assert comparison.averaged("optimizer.c") == ["optimizer.a", "optimizer.b"]
    assert comparison.averaged("optimizer.b", "optimizer.d") == []


def test_without_validation_the_order_stays():
    members = [member("a", val=None, test=0.1), member("b", val=None, test=0.9)]
    assert names_in_order(members) == ["a", "b"]
    assert Comparison(members).yardstick[0] == "test_accuracy"
    assert Comparison([*members, member(val=0.5)]).yardstick[0] == "val_accuracy"


def test_the_metrics_of_a_comparison_are_those_of_any_of_its_members():
    members = [member(), member(metrics={TOP_2: 0.9}), member(metrics={TOP_2: 0.9, "gone:odd": 2})]
    found = Comparison(members).metrics
    assert [metric.name for metric in found] == ["loss", "accuracy", "top_2", "odd"]
    assert [metric.label for metric in found] == ["loss", "accuracy", "top 2", "odd"]
    assert column_label("test_top_2", found[2]) == "test top 2"
    assert heading("test top 2", found[2]) == "test top 2, %"
    assert heading("test loss", found[0]) == "test loss"


# Groups


def test_groups_count_what_finished_and_what_diverged():
    members = [member("a", 0), member("a", 1, val=0.93), member("a", 2, status="diverged: ...")]
    its = Comparison([*members, member("b", 0, status="diverged: ...")])
    first, second = records(its.grouped("val_accuracy", x=[1.0, 1.0, 1.0, 2.0]))
    assert (first["x"], first["mean"], first["sd"]) == pytest.approx((1, 0.92, 0.02 / 2**0.5))
    assert (first["count"], first["diverged"], first["networks"]) == (2, 1, 3)
    assert known(second["mean"]) is None
    assert (second["x"], second["count"], second["diverged"]) == (2, 0, 1)


# Files


def test_a_line_a_member_in_the_order_given(tmp_path: Path):
    members = [
        member("b", 1, test=1 / 3, learning_rate=1e-5, hidden=(128, 32)),
        member("a", 0, learning_rate=1e-3, hidden=(), status="diverged in epoch 1"),
    ]
    Comparison(members).write(tmp_path)
    first, second = read(tmp_path / "sweep.csv")
    assert list(first) == [
        *("architecture", "seed", "parameters", "epochs", "seconds"),
        *("val_accuracy", "val_loss", "test_accuracy", "test_loss", "status"),
        *("model.hidden", "optimizer.learning_rate"),
    ]
    assert (first["architecture"], first["seed"], first["status"]) == ("b", "1", "finished")
    assert (first["parameters"], first["epochs"], first["seconds"]) == ("1000", "3", "2.0")
    assert float(first["test_accuracy"]) == 1 / 3
    assert (first["model.hidden"], first["optimizer.learning_rate"]) == ("128-32", "1e-05")
    assert (second["status"], second["model.hidden"]) == ("diverged in epoch 1", "none")
    assert second["val_accuracy"] == second["test_accuracy"] == second["test_loss"] == ""


def test_numbers_of_fields_keep_their_form_where_others_lack_them(tmp_path: Path):
    members = [member("a", units=64, rate=1 / 3), member("b", bias=True), member("c", units=128)]
    Comparison(members).write(tmp_path)
    for file in ("sweep.csv", "summary.csv"):
        rows = read(tmp_path / file)
        assert [row["optimizer.units"] for row in rows] == ["64", "", "128"]
        assert [row["optimizer.bias"] for row in rows] == ["", "True", ""]
        assert [float(row["optimizer.rate"] or 0) for row in rows] == [1 / 3, 0, 0]


def test_a_line_an_architecture_with_mean_and_spread(tmp_path: Path):
    members = [
        member("a", 0, 0.90),
        member("a", 1, 0.92),
        member("a", 2, status="diverged in epoch 2", rows=1),
        member("b", 0, 0.80, epochs=5),
    ]
    Comparison(members).write(tmp_path)
    first, second = read(tmp_path / "summary.csv")
    assert list(first)[:9] == [
        *("architecture", "seeds", "diverged", "parameters", "epochs", "seconds"),
        *("val_accuracy", "val_accuracy_sd", "val_accuracy_se"),
    ]
    assert list(first)[-1] == "num_epochs"
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
    Comparison(members).write(tmp_path)
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


def test_names_of_any_signs_survive_the_file(tmp_path: Path):
    names = ['a, "b"', "c\nd", "é ✓"]
    Comparison([member(name) for name in names]).write(tmp_path)
    for file in ("sweep.csv", "summary.csv"):
        assert list(pandas.read_csv(tmp_path / file)["architecture"]) == names


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Comparison([member()]).write(tmp_path)
    before = (tmp_path / "sweep.csv").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        Comparison([member(), member(seed=1)]).write(tmp_path)
    assert (tmp_path / "sweep.csv").read_bytes() == before


def test_only_the_end_of_a_sweep_imports_pandas():
    code = (
        "import sys, mnist_jax.commands.main, mnist_jax.commands.sweep, mnist_jax.experiment;"
        "import mnist_jax.analysis.sweep.section, mnist_jax.analysis.sweep.contrasts;"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
