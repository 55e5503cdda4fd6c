"""Exported files, as a user writes them and as another program reads them."""

import re

import numpy as np
import pytest
from jax import export as jax_export
from safetensors.numpy import load_file

import mnist_jax
from mnist_jax import data
from mnist_jax.errors import UserError
from mnist_jax.exporting import formats
from mnist_jax.exporting.trained import Trained
from tests.commands import ROOT, python, run

# A network that needs to know how many images there are.
COUNTING = """
from flax import nnx

class Counting(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(int(len(images)), -1))
"""


def trained_in(workdir, **model):
    overrides = {"data.train_split": "train[:1000]", "data.val_split": "", **model}
    mnist_jax.train(ROOT / "configs" / "mlp.py", workdir=workdir, num_epochs=1, overrides=overrides)
    return workdir


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("export") / "mlp")


def images() -> np.ndarray:
    return data.load("mnist", "test").images[:7]


def test_stablehlo_runs_with_jax_alone(trained):
    printed = run("export", f"--workdir={trained}", "--format=stablehlo").stdout
    assert "the same predictions on 1,000 test images" in printed
    content = (trained / "export" / "model.stablehlo").read_bytes()
    program = jax_export.deserialize(bytearray(content))
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    expected = mnist_jax.load(trained).predict(images()).probabilities
    for count in (1, 7):  # any number of images
        found = program.call(images()[:count].astype(np.float32) / 255)
        np.testing.assert_allclose(found, expected[:count], atol=1e-6)


def test_the_example_in_readme_runs(trained):
    run("export", f"--workdir={trained}", "--format=stablehlo")
    section = (ROOT / "README.md").read_text().split("## Take a network away")[1]
    code = re.findall(r"```python\n(.*?)```", section, flags=re.S)[0]
    shown = python(f"{code}\nprint(probabilities.shape)", cwd=trained / "export")
    assert shown == "(3, 10)\n"


def test_safetensors_hold_the_weights_by_name(trained):
    run("export", f"--workdir={trained}", "--format=safetensors")
    found = load_file(trained / "export" / "model.safetensors")
    weights = mnist_jax.load(trained).weights
    kernel = weights["params"]["layers"]["output"]["kernel"]
    np.testing.assert_array_equal(found["params/layers/output/kernel"], kernel)


def test_the_card_says_what_was_measured_and_what_was_not(trained):
    run("export", f"--workdir={trained}", "--format=html")
    assert (trained / "export" / "page.html").stat().st_size > 500_000
    card = (trained / "export" / "MODEL_CARD.md").read_text()
    accuracy = mnist_jax.load(trained).evaluate()["accuracy"]
    assert f"Test split: accuracy {accuracy:.2%} of 10,000 images" in card
    assert "evaluate --workdir" in card
    assert "--robustness" in card
    assert "training `train[:1000]`, validation `none`" in card


def test_a_network_that_counts_its_images_takes_a_fixed_number(user_module, tmp_path):
    user_module("counting", COUNTING)
    model = {"model": {"name": "counting:Counting"}}
    trained_in(tmp_path / "run", **model)
    restored = mnist_jax.load(tmp_path / "run").restored
    written = formats.write(Trained("run", restored), "stablehlo", tmp_path)
    assert "exactly 1000 images at a time" in written.remark


def test_a_file_that_would_differ_is_not_written(trained, tmp_path, monkeypatch):
    its = Trained("mlp", mnist_jax.load(trained).restored)
    reader = formats.FORMATS["safetensors"].reader
    monkeypatch.setattr(
        formats.FORMATS["safetensors"],
        "reader",
        lambda content: lambda images: np.roll(reader(content)(images), 1, axis=1),
    )
    with pytest.raises(UserError, match=r"probabilities differ .* it is not written"):
        formats.write(its, "safetensors", tmp_path)
    assert not list(tmp_path.iterdir())
