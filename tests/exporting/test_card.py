"""The model card that lies beside an exported file."""

import shlex

import numpy as np
import pytest

import mnist_jax
from tests import datasets
from tests.commands import ROOT, read, run, table

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = {"data.train_split": "train[:1000]", "data.val_split": "", "model.hidden": (8,)}


def sections(folder) -> dict[str, str]:
    """The card's texts by their headings, after the network was exported."""
    text = (folder / "export" / "MODEL_CARD.md").read_text()
    parts = text.split("\n## ")[1:]
    return {heading: body.strip() for heading, body in (part.split("\n", 1) for part in parts)}


def command_in(text: str) -> list[str]:
    """The words of the command in a text, but for those that start Python."""
    words = shlex.split(text.split("`")[-2])
    assert words[:3] == ["python", "-m", "mnist_jax.evaluate"]
    return words[3:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    its = {"workdir": tmp_path_factory.mktemp("card") / "run", "num_epochs": 1}
    mnist_jax.train(ROOT / "configs" / "mlp.py", **its, overrides=SMALL)
    return its["workdir"]


def test_the_card_says_what_was_measured_and_what_was_not(trained):
    run("export", f"--workdir={trained}", "--format=safetensors")
    card, test = sections(trained), read(trained / "evaluation.json")
    assert card["Data"].startswith("`mnist`: training `train[:1000]`, validation `none`")
    assert "floats from 0 (background) to 1 (ink)" in card["Input and output"]
    assert "prepared" in card["Limits"]
    assert "This is one seed" in card["Accuracy"]
    assert f"Test split: accuracy {test['accuracy']:.2%} of 10,000 images" in card["Accuracy"]
    error = test["calibration"]["expected_calibration_error"]
    assert f"Expected calibration error {error:.2%} on the test split." in card["Calibration"]
    for name, option in (("Outside test", "--outside"), ("Robustness", "--robustness")):
        assert "Not measured; run `python -m mnist_jax.evaluate" in card[name]
        assert command_in(card[name])[-1] == option


def test_the_best_weights_are_measured_by_their_name(tmp_path):
    """A later checkpoint holds them, so there may be none of their own step."""
    overrides = SMALL | {"data.val_split": "train[1000:1500]"}
    its = {"workdir": tmp_path / "run", "num_epochs": 1}
    mnist_jax.train(ROOT / "configs" / "mlp.py", **its, overrides=overrides)
    run("export", f"--workdir={its['workdir']}", "--checkpoint=best", "--format=safetensors")
    words = command_in(sections(its["workdir"])["Robustness"])
    assert words[1:] == ["--checkpoint=best", "--robustness"]


@pytest.mark.slow
def test_what_was_not_measured_stands_there_once_its_command_has_run(trained):
    pytest.importorskip("sklearn")
    (trained / "evaluation.json").unlink()
    run("export", f"--workdir={trained}", "--format=safetensors")
    card = sections(trained)
    for name in ("Calibration", "Outside test"):
        run("evaluate", *command_in(card[name]))
    run("export", f"--workdir={trained}", "--format=safetensors")
    card = sections(trained)
    test, outside = (
        read(trained / path) for path in ("evaluation.json", "evaluations/outside/evaluation.json")
    )
    assert f"Test split: accuracy {test['accuracy']:.2%} of 10,000 images" in card["Accuracy"]
    assert f"accuracy {outside['accuracy']:.2%} of 1,797 images" in card["Outside test"]
    errors = [f"{its['calibration']['expected_calibration_error']:.2%}" for its in (test, outside)]
    assert card["Calibration"].startswith(
        f"Expected calibration error {errors[0]} on the test split, {errors[1]} in the outside test"
    )


@pytest.mark.slow
def test_robustness_is_told_with_the_hardest_corruption(trained):
    run("evaluate", f"--workdir={trained}", "--robustness")
    run("export", f"--workdir={trained}", "--format=safetensors")
    found = read(trained / "evaluations" / "robustness" / "robustness.json")
    lowest = min(cell["accuracy"] for cell in found["cells"])
    told = sections(trained)["Robustness"]
    assert f"accuracy {found['accuracy']:.2%} of 10,000 images" in told
    assert f"The lowest is {lowest:.2%}, with " in told


@pytest.mark.slow
def test_a_network_of_other_pictures_has_no_ink(tmp_path, monkeypatch):
    datasets.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = mnist_jax.default()
    config.num_epochs = 1
    config.data.name = datasets.COLOUR
    config.data.train_split, config.data.val_split = "train", ""
    config.model = dict(name="mlp", hidden=(8,))
    mnist_jax.train(config, workdir="run")
    printed = run("export", "--workdir=run", "--format=onnx", cwd=tmp_path).stdout
    assert "the same predictions on 200 test images" in printed
    card = sections(tmp_path / "run")
    assert "ink" not in "".join(card.values())
    assert "writer" not in "".join(card.values())
    assert "Images `[n, 32, 32, 3]`" in card["Input and output"]
    assert card["Outside test"].startswith("Does not apply")
    assert "--outside" not in "".join(card.values())


@pytest.mark.slow
def test_the_accuracy_of_a_network_of_a_sweep_has_the_spread_over_seeds(tmp_path):
    overrides = [f"--config.{name}={value}" for name, value in SMALL.items() if name[:5] != "model"]
    arguments = ("--config=configs/mlp.py", "--config.num_epochs=1", *overrides)
    run("sweep", *arguments, "--seeds=3", f"--workdir={tmp_path}")
    which = ("--member=mlp", "--seed=1")
    run("export", f"--workdir={tmp_path}", *which, "--format=safetensors")
    accuracies = [100 * float(row["test_accuracy"]) for row in table(tmp_path / "sweep.csv")]
    mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
    card = sections(tmp_path / "members" / "mlp-1")
    assert "Over 3 seeds of this architecture" in card["Accuracy"]
    assert f"{mean:.2f} ± {deviation:.2f} %" in card["Accuracy"]
    assert command_in(card["Robustness"])[1:3] == list(which)
