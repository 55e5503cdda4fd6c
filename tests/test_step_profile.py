"""Where the time of a step goes: the pieces, the layers and the program of any configuration."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import measured, readme
from benchmarks.step_profile.__main__ import CONFIGURATIONS, write
from benchmarks.step_profile.calls import layer_calls
from benchmarks.step_profile.hlo import instructions
from benchmarks.step_profile.layers import layers
from benchmarks.step_profile.pieces import pieces
from benchmarks.step_profile.setting import set_up
from benchmarks.step_profile.tables import report
from benchmarks.step_profile.timed import Timed, again_and_again
from mnist_jax import models
from mnist_jax.config import Choice, parse
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from tests.commands import benchmark

pytestmark = pytest.mark.slow
SMALL = {"batch_size": 32, "data": {"train_split": "train[:640]", "val_split": ""}}
OWN = """
from flax import nnx
from mnist_jax.models.layers import Dropout

class Twice(nnx.Module):
    def __init__(self, *, rngs):
        self.first = nnx.Linear(784, 12, rngs=rngs)
        self.again = nnx.Linear(12, 12, rngs=rngs)
        self.dropout = Dropout(0.5, name="dropout")
        self.output = nnx.Linear(12, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = self.first(images.reshape(len(images), -1))
        x = self.again(nnx.relu(self.again(x)))
        return self.output(self.dropout(x, train=train, keys=keys))
"""


def profile(name: str, milliseconds: list[float]) -> dict:
    """Of a configuration whose pieces take these; its one layer runs at half the limit."""
    until = [sum(milliseconds[: i + 1]) / 1e3 for i in range(len(milliseconds))]
    return {
        "config": name,
        "batch_size": 128,
        "limit": [100e9] * 5,
        "pieces": [{"name": f"piece {i}", "until": [s] * 5} for i, s in enumerate(until)],
        "layers": [
            {
                "name": "dense_1",
                "shape": [14, 14, 32],
                "parameters": 1234,
                "forward": [1e-3] * 5,
                "gradient": [4e-3] * 5,
                "forward_flops": 0.05e9,
                "gradient_flops": 0.1e9,
            }
        ],
        "program": [{"kind": f"fusion: {i}", "count": i, "bytes": 1e6} for i in range(20)],
    }


@pytest.fixture
def found():
    said = {
        "date": "2030-01-02",
        "device": "CPU of glass, 2 cores",
        "versions": {"python": "3.13.0", "jax": "0.12"},
        "commit": "abc",
    }
    profiles = [profile(file, [1.0, 3.0, 4.0]) for file in CONFIGURATIONS]
    return {"conditions": said, "quick": False, "profiles": profiles}


def test_the_report_gives_shares_and_multiples_of_the_limit(found):
    text = report(found)
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert lines["piece 1"][-3:] == ["3.000", "0.000", "37.5"]
    layer = ["14x14x32", "1,234", "1.000", "50.0", "2.0", "4.000", "25.0", "4.0"]
    assert lines["dense_1"][1:] == layer
    assert "8.000 ms per step of 128 images, 16,000 images/s" in text
    assert lines["8 other kinds"][-1] == "8.00"
    assert "CPU of glass" in text
    assert max(map(len, text.splitlines()[:-1])) <= 100


def test_a_piece_that_is_lost_in_the_noise_has_no_number(found):
    until = [[3e-3, 5e-3, 4e-3, 2e-3, 6e-3], [5e-3, 3e-3, 4e-3, 7e-3, 2e-3]]
    pieces = [{"name": f"piece {i}", "until": seconds} for i, seconds in enumerate(until)]
    profiles = [found["profiles"][0] | {"pieces": pieces}]
    lines = report(found | {"profiles": profiles}).splitlines()
    first, lost = (next(line for line in lines if line.startswith(f"piece {i}")) for i in (0, 1))
    assert first.split()[2:] == ["4.000", "1.000", "100.0"]
    assert lost.split()[2:] == ["<", "noise", "2.000"]


def test_what_is_written_is_read_again(found, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    page = tmp_path / "benchmarks" / "README.md"
    page.write_text("<!-- profile: start -->\n<!-- profile: end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    write(found)
    assert json.loads((tmp_path / "measured" / "profile.json").read_text()) == found
    assert report(found) in page.read_text()
    with pytest.raises(UserError, match="full runs"):
        write(found | {"quick": True})


def test_a_loop_does_its_work_in_every_round():
    square = jnp.ones((64, 64))
    looped = again_and_again(jnp.matmul, 8)
    program = Timed(looped, 8, square, square)
    kinds = [row["kind"] for row in instructions(program.text())]
    assert any("dot" in kind for kind in kinds), kinds


def test_layers_take_images_of_the_data_s_shape():
    spec = Spec(image_shape=(8, 6, 3), class_names=("a", "b"))
    model = models.build(Choice("cnn", {"features": (4,), "dense": ()}), spec)
    first, *_ = layer_calls(model, batch_size=5)
    assert first.inputs[0].shape == (5, 8, 6, 3)


@pytest.mark.usefixtures("quick_compiles")
def test_layers_of_a_users_network_are_found_with_what_their_gradients_cost(user_module):
    user_module("own", OWN)
    setting = set_up(parse(SMALL | {"model": {"name": "own:Twice"}}))
    found = layers(setting)
    assert [its.call.name for its in found] == ["first", "again", "again", "dropout", "output"]
    assert [its.parameters for its in found] == [784 * 12 + 12, 156, 156, 0, 130]
    for its, ways in zip(found, (2, 3, 3, None, 3), strict=True):
        outputs, gradients = its.gradient(its.own, its.real)
        assert outputs.shape[0] == 32
        assert len(gradients) == (1 if ways == 2 else 2)  # of the images nobody asks for one
        for gradient in jax.tree.leaves(gradients):
            assert jnp.isfinite(gradient).all()
    assert set(pieces(setting)) >= {"forward and loss", "dropout"}


def test_the_command_profiles_a_configuration(tmp_path):
    file = tmp_path / "found.json"
    fields = {
        "batch_size": "16",
        "data.train_split": "train[:320]",
        "data.val_split": "",
        "model.hidden": "16,",
        "augment.rotation": "10.0",
    }
    options = [f"--config.{name}={value}" for name, value in fields.items()]
    done = benchmark(
        "step_profile", "--config=configs/mlp.py", "--quick", f"--json={file}", *options
    )
    (profile,) = json.loads(file.read_text())["profiles"]
    assert [piece["name"] for piece in profile["pieces"]] == [
        "fetch the batch",
        "images to floats",
        "distortion",
        "forward and loss",
        "dropout",
        "gradient, sums, finiteness check",
        "optimizer and average",
    ]
    layers = {layer["name"]: layer for layer in profile["layers"]}
    assert list(layers) == ["dense_1", "dropout_1", "output"]
    for name, product, ways in (("dense_1", 784 * 16, 2), ("output", 16 * 10, 3)):
        flops = 2 * 16 * product  # of the images, none needs the gradient of its pixels
        assert flops <= layers[name]["forward_flops"] < 1.2 * flops
        assert ways * flops <= layers[name]["gradient_flops"] < 1.2 * ways * flops
    assert all(row["count"] > 0 for row in profile["program"])
    assert any("dot" in row["kind"] for row in profile["program"])
    assert max(map(len, done.stdout.splitlines()[1:-1])) <= 100
    assert benchmark("step_profile", f"--from={file}").stdout == done.stdout


def test_a_mistake_in_a_field_is_a_message():
    done = benchmark("step_profile", "--config=configs/mlp.py", "--config.batch_sise=1", status=1)
    assert done.stderr.startswith("error: config")
