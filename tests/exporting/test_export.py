"""Exported files, as a user writes them and as another program reads them."""

import json
import re
import sys

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import export as jax_export
from safetensors.numpy import load_file

import mnist_jax
from mnist_jax import data, exporting
from mnist_jax.errors import UserError
from mnist_jax.exporting import formats, onnx_file, page, safetensors, stablehlo
from mnist_jax.exporting.plain import classify
from mnist_jax.exporting.trained import Trained
from mnist_jax.training import network
from mnist_jax.training.restored import Restored
from tests.commands import ROOT, python, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")

# A network that needs to know how many images there are.
COUNTING = """
from flax import nnx

class Counting(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(int(len(images)), -1))
"""
# A network with an operation that neither the page nor the export to ONNX has.
SORTING = (
    COUNTING.replace("Counting", "Sorting")
    .replace(
        "return self.output(images.reshape(int(len(images)), -1))",
        "return jnp.sort(self.output(images.reshape(len(images), -1)))",
    )
    .replace("from flax", "import jax.numpy as jnp\nfrom flax")
)


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


def test_onnx_runs_with_onnx_runtime(trained):
    printed = run("export", f"--workdir={trained}", "--format=onnx").stdout
    assert "the same predictions on 1,000 test images" in printed
    session = onnxruntime.InferenceSession(trained / "export" / "model.onnx")
    held = session.get_modelmeta().custom_metadata_map
    assert json.loads(held["config"])["model"]["hidden"] == [128, 32]
    expected = mnist_jax.load(trained).predict(images()).probabilities
    for count in (1, 7):  # any number of images
        (found,) = session.run(None, {"images": images()[:count].astype(np.float32) / 255})
        np.testing.assert_allclose(found, expected[:count], atol=1e-6)


@pytest.mark.parametrize("kind", ["stablehlo", "onnx", "safetensors"])
def test_the_example_in_readme_runs_elsewhere(trained, kind):
    """On images in place of the zeros, and without this project."""
    run("export", f"--workdir={trained}", f"--format={kind}")
    section = (ROOT / "README.md").read_text().split("## Take a network away")[1]
    section = section.split("\n## ")[0]
    (code,) = (
        code
        for code in re.findall(r"```python\n(.*?)```", section, flags=re.S)
        if f"model.{kind}" in code
    )
    zeros = "np.zeros((3, 28, 28, 1), np.float32)"
    assert zeros in code
    given = images()[:3].astype(np.float32) / 255
    np.save(trained / "export" / "images.npy", given)
    code = code.replace(zeros, "np.load('images.npy')")
    ending = (
        "import sys; assert 'mnist_jax' not in sys.modules; np.save('found.npy', probabilities)"
    )
    python(f"{code}\n{ending}", cwd=trained / "export")
    found = np.load(trained / "export" / "found.npy")
    expected = mnist_jax.load(trained).predict(images()[:3]).probabilities
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_help_describes_each_format():
    shown = run("export", "--help").stdout
    for name, its in formats.FORMATS.items():
        assert re.search(rf"{name} +{re.escape(its.what)}", shown)


def test_safetensors_hold_the_weights_by_name(trained):
    run("export", f"--workdir={trained}", "--format=safetensors")
    found = load_file(trained / "export" / "model.safetensors")
    weights = mnist_jax.load(trained).weights
    kernel = weights["params"]["layers"]["output"]["kernel"]
    np.testing.assert_array_equal(found["params/layers/output/kernel"], kernel)


def test_safetensors_are_the_same_bytes_each_time(trained, tmp_path):
    its = Trained("mlp", mnist_jax.load(trained).restored)
    found = {formats.write(its, "safetensors", tmp_path).path.read_bytes() for _ in range(4)}
    assert len(found) == 1


def test_a_page_is_compared_by_its_operations(trained):
    printed = run("export", f"--workdir={trained}", "--format=html").stdout
    assert "the same predictions on 100 test images" in printed
    assert (trained / "export" / "page.html").stat().st_size > 500_000


@pytest.mark.slow
def test_a_network_that_counts_its_images_takes_any_number(user_module, tmp_path):
    user_module("counting", COUNTING)
    trained_in(tmp_path / "run", model={"name": "counting:Counting"})
    classifier = mnist_jax.load(tmp_path / "run")
    expected = classifier.predict(images()).probabilities
    for kind, reader in (("stablehlo", stablehlo.reader), ("onnx", onnx_file.reader)):
        written = formats.write(Trained("run", classifier.restored), kind, tmp_path)
        found = reader(written.path.read_bytes())(images().astype(np.float32) / 255)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_a_network_that_cannot_be_written_is_refused_with_the_operation(user_module, tmp_path):
    user_module("sorting", SORTING)
    trained_in(tmp_path / "run", model={"name": "sorting:Sorting"})
    for kind, reader in (("html", "the page"), ("onnx", "the export to ONNX")):
        said = refused("export", "--workdir=run", f"--format={kind}", cwd=tmp_path)
        assert f"the network needs the operation 'sort', which {reader} does not have" in said
        assert "--format=stablehlo" in said
        assert not list((tmp_path / "run").glob("export/*"))


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("stablehlo", "flatbuffers"),
        ("onnx", "onnx"),
        ("onnx", "onnxruntime"),
        ("safetensors", "safetensors.numpy"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(trained, tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    name = package.partition(".")[0]
    with pytest.raises(UserError, match=rf"^{name} cannot be imported .* '\.\[export\]'"):
        formats.write(Trained("mlp", mnist_jax.load(trained).restored), kind, tmp_path)


@pytest.mark.slow
def test_what_16_bits_round_is_said_where_a_file_does_not_round(tmp_path):
    trained_in(tmp_path / "run", dtype="bfloat16")
    its = Trained("run", mnist_jax.load(tmp_path / "run").restored)
    remark = "computes in float32, where the network does in bfloat16"
    for kind in ("html", "onnx"):
        assert formats.write(its, kind, tmp_path).remark == remark
    assert remark in (tmp_path / "page.html").read_text()
    assert formats.write(its, "stablehlo", tmp_path).remark == ""  # rounds, too


def test_predictions_that_rounding_changes_are_counted(trained, monkeypatch, capsys):
    """Of a run in 16 bits, where the probabilities of two classes may be nearly equal."""
    found = network.find(trained)
    equal = np.zeros((1000, 10), np.float32)
    equal[:, :2] = 0.5
    rounded = equal.copy()
    rounded[:3, 1] += 1e-5
    monkeypatch.setattr(safetensors, "reader", lambda content: lambda images: rounded)
    monkeypatch.setattr(Restored, "probabilities", lambda *a: equal)
    said = exporting.export(found, "latest", "safetensors")
    assert "997 of 1,000 predictions on test images are the same; probabilities differ by" in said


def test_weights_that_would_differ_are_not_written(trained, tmp_path, monkeypatch):
    its = Trained("mlp", mnist_jax.load(trained).restored)
    reader = safetensors.reader
    monkeypatch.setattr(
        safetensors,
        "reader",
        lambda content: lambda images: np.roll(reader(content)(images), 1, axis=1),
    )
    with pytest.raises(UserError, match=r"probabilities differ .* it is not written"):
        formats.write(its, "safetensors", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_too_large_for_a_page_is_told_where_to_go(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "MOST", 1000)
    found = network.find(trained)
    restored = mnist_jax.load(trained).restored
    said = r"is too large for a page; python -m mnist_jax\.export --format=onnx"
    assert re.search(said, page.drawing_of(tmp_path, "mlp", restored).note)
    with pytest.raises(UserError, match=said):
        exporting.export(found, "latest", "html")
    with pytest.raises(UserError, match=said):
        exporting.demo([found], "latest")
    assert not list(tmp_path.iterdir())


def test_a_page_that_would_differ_is_not_written(trained, tmp_path, monkeypatch):
    its = Trained("mlp", mnist_jax.load(trained).restored)
    monkeypatch.setattr(
        page, "classify", lambda *a: lambda images: jnp.flip(classify(*a)(images), axis=1)
    )
    with pytest.raises(UserError, match=r"on 100 test images.* it is not written"):
        formats.write(its, "html", tmp_path)
    assert not list(tmp_path.iterdir())
