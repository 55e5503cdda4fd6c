"""A user's own builders: other shapes, other names of features, and examples of every kind."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mnist_jax import data, users_code
from mnist_jax.data import catalog
from mnist_jax.errors import UserError
from tests import datasets

LETTERS = tuple(map(str, range(47)))
BUILDER = """
import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

FOLDER = Path(__file__).parent
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 6, {channels}), np.uint8)

def content(pixels, format):
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, format)
    return buffer.getvalue()

class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape={shape}{image})
        label = tfds.features.ClassLabel({label})
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({{"image": image, "label": label, "id": np.int64}}),
            supervised_keys={keys},
        )

    def _split_generators(self, dl_manager):
        return {splits}

    def _generate_examples(self):
        for i, pixels in enumerate(PIXELS):
            yield i, {{"image": {value}, "label": {given}, "id": i}}
"""
DEFAULTS = {
    "channels": 3,
    "shape": "(5, 6, 3)",
    "image": "",
    "label": "names=['red', 'green']",
    "keys": "None",
    "splits": "{'train': self._generate_examples(), 'test': self._generate_examples()}",
    "value": "pixels",
    "given": "i % 2",
}


@pytest.fixture
def made_up(tmp_path, monkeypatch, user_module):
    """The made-up data sets, importable from the current folder."""
    user_module("made_up", datasets.MODULE)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture
def own(tmp_path, monkeypatch, user_module):
    """A function that writes a builder with these parts; gives its name and its four images."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def write(**parts):
        channels = parts.get("channels", 3)
        parts = DEFAULTS | {"shape": f"(5, 6, {channels})"} | parts
        user_module("own_data", BUILDER.format(**parts))
        random = np.random.default_rng(0)
        return "own_data:Own", random.integers(0, 256, (4, 5, 6, channels), np.uint8)

    return write


def assert_holds(name: str, pixels: np.ndarray, tolerance: int = 0) -> None:
    """Both ways to read give the images with their labels."""
    train, source = data.load(name, "train"), data.source(name, "train")
    images, labels = source.fetch(range(4))
    np.testing.assert_array_equal(images, train.images)
    np.testing.assert_array_equal(labels, train.labels)
    errors = np.abs(pixels.astype(int)[:, None] - images).max(axis=(2, 3, 4))  # [4, 4]
    assert (errors.min(axis=0) <= tolerance).all()
    assert sorted(errors.argmin(axis=0)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(errors.argmin(axis=0) % 2, labels)


def test_the_spec_is_that_of_the_features(made_up):
    colour, letters = data.spec(datasets.COLOUR), data.spec(datasets.LETTERS)
    assert colour == data.Spec((32, 32, 3), ("ant", "bee", "cat", "dog", "eel"))
    assert letters == data.Spec((28, 28, 1), LETTERS)


def test_examples_of_another_class_of_the_same_version_are_not_taken(made_up, user_module):
    assert data.count(datasets.COLOUR, "train") == 600
    other = datasets.MODULE.replace('"train", 600', '"train", 500')
    user_module("made_up", other)
    users_code.refresh()
    with pytest.raises(UserError, match="Raise VERSION in that class"):
        data.load(datasets.COLOUR, "train")
    user_module("made_up", other.replace('"1.0.0"', '"1.0.1"'))
    users_code.refresh()
    assert data.count(datasets.COLOUR, "train") == 500


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [(datasets.COLOUR, (600, 200), (32, 32, 3)), (datasets.LETTERS, (1200, 400), (28, 28, 1))],
)
def test_splits_and_source_hold_the_same_examples(made_up, name, sizes, shape):
    for split, size in zip(("train", "test"), sizes, strict=True):
        loaded, source = data.load(name, split), data.source(name, split)
        assert (loaded.images.shape, loaded.images.dtype) == ((size, *shape), np.uint8)
        images, labels = source.fetch(range(size))
        np.testing.assert_array_equal(images, loaded.images)
        np.testing.assert_array_equal(labels, loaded.labels)
    assert data.load(name, "").images.shape == (0, *shape)


def test_tfds_keeps_it_where_it_would_and_the_cache_serves_the_next_start(made_up, capfd):
    data.load(datasets.COLOUR, "train")
    assert (made_up / "colour" / "1.0.0" / "dataset_info.json").exists()
    said = capfd.readouterr().err
    assert said == f"preparing colour 1.0.0 in {made_up / 'colour' / '1.0.0'} (once)\n"
    (made_up / "colour").rename(made_up / "elsewhere")
    assert len(data.load(datasets.COLOUR, "train").labels) == 600
    assert capfd.readouterr().err == ""


def test_tfds_itself_reads_what_was_prepared(made_up):
    loaded = data.load(datasets.COLOUR, "test")
    builder = catalog.builder_class(datasets.COLOUR)(data_dir=made_up, file_format="array_record")
    example = builder.as_data_source("test")[3]
    np.testing.assert_array_equal(example["picture"], loaded.images[3])
    assert example["kind"] == loaded.labels[3]


def test_another_process_finds_the_module_in_the_current_folder(made_up):
    code = (
        "import sys; sys.path = [p for p in sys.path if p];"
        f"from mnist_jax import data; print(data.spec({datasets.LETTERS!r}).num_classes);"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["47", "False"]


def test_a_data_set_without_a_test_split(made_up):
    with pytest.raises(UserError, match=r"no split 'test'.*train \(100 .*holdout \(50 "):
        data.check_splits(datasets.NO_TEST, "train", "holdout")
    assert len(data.load(datasets.NO_TEST, "holdout").labels) == 50


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "value",
    [
        "pixels",
        "content(pixels, 'png')",
        "io.BytesIO(content(pixels, 'png'))",
        "Image.fromarray(pixels.squeeze())",
    ],
)
def test_images_of_every_kind(own, channels, value):
    assert_holds(*own(channels=channels, value=value))


@pytest.mark.parametrize("value", ["FOLDER / f'{i}.png'", "str(FOLDER / f'{i}.png')"])
def test_images_in_files(own, tmp_path, value):
    name, pixels = own(value=value)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    assert_holds(name, pixels)


def test_images_in_jpeg(own):
    name, _ = own(channels=1, value="content(np.full_like(pixels, 60 * i), 'jpeg')")
    flat = np.arange(4)[:, None, None, None] * np.full((4, 5, 6, 1), 60)
    assert_holds(name, flat, tolerance=2)


def test_an_array_for_a_jpeg_feature_loses_nothing(own):
    assert_holds(*own(image=", encoding_format='jpeg'"))


@pytest.mark.parametrize(
    "splits",
    [
        "{'train': list(self._generate_examples()), 'test': self._generate_examples()}",
        "[tfds.core.SplitGenerator(name=name, gen_kwargs={}) for name in ('train', 'test')]",
    ],
    ids=["lists", "generators in the old form"],
)
def test_splits_of_every_kind(own, splits):
    assert_holds(*own(splits=splits))


@pytest.mark.parametrize(
    ("label", "given", "names"),
    [
        ("names=['red', 'green']", "['red', 'green'][i % 2]", ("red", "green")),
        ("num_classes=2", "i % 2", ("0", "1")),
        ("num_classes=2", "str(i % 2)", ("0", "1")),
        ("num_classes=3", "np.int64(i % 2)", ("0", "1", "2")),
    ],
)
def test_labels_of_every_kind(own, label, given, names):
    name, pixels = own(label=label, given=given)
    assert_holds(name, pixels)
    assert data.spec(name).class_names == names


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"image": ", dtype=np.uint16"}, "uint16"),
        ({"label": ""}, "ClassLabel"),
        ({"keys": "('image', 'id')"}, r"\('image', 'id'\)"),
        ({"keys": "('picture', 'label')"}, r"\('picture', 'label'\)"),
        ({"keys": "('image', ('label', 'id'))"}, "'id'"),
        ({"shape": "(None, None, 3)"}, "None"),
        ({"shape": "(5, 6, 0)"}, "features"),
    ],
    ids=str,
)
def test_features_that_cannot_be_used_are_one_message(own, tmp_path, parts, found):
    name, _ = own(**parts)
    expected = r"(?s)own cannot be used. Expected: an Image of fixed shape.*ClassLabel.*Found: .*"
    with pytest.raises(UserError, match=expected + found):
        data.load(name, "train")
    assert not (tmp_path / "tfds" / "own").exists()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"value": "pixels[1:]"},
            r"must be a uint8 array of shape \(5, 6, 3\); .* uint8 array of shape \(4, 6, 3\)",
        ),
        ({"value": "pixels / 255"}, r"an example has a float64 array of shape \(5, 6, 3\)"),
        ({"value": "content(pixels[1:], 'png')"}, "4 x 6 pixels, not"),
        ({"value": "b'no image'"}, "an example has 8 bytes: cannot identify"),
        ({"value": "'nowhere.png'"}, "an example has 'nowhere.png': .*No such file"),
        ({"value": "7"}, "an array, a path or the content of a file; an example has 7"),
        ({"given": "'blue'"}, "'blue'. There are 2 classes: red, green"),
        ({"given": "i"}, "an example has 2. There are 2 classes"),
    ],
    ids=str,
)
def test_examples_that_do_not_fit_are_one_message(own, parts, message):
    name, _ = own(**parts)
    with pytest.raises(UserError, match=f"cannot prepare own: the feature .*{message}") as caught:
        data.load(name, "train")
    assert len(str(caught.value)) < 400  # without all the pixels of it


def test_a_mistake_in_the_users_own_code_is_told_by_file_and_line(own):
    name, _ = own(value="no_such_name")
    with pytest.raises(UserError, match=r"own_data\.py:\d+: NameError: .*'no_such_name'"):
        data.load(name, "train")


def test_an_image_without_a_label_is_refused_when_it_is_loaded(own):
    name, _ = own(given="-1")
    with pytest.raises(UserError, match="has the label -1, but the labels of its 2 classes"):
        data.load(name, "train")


CONFIGURED = """
    VERSION = None
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, version=tfds.core.Version("2.0.0"))
        for name in ("large", "small")
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "small"
"""


def test_a_builder_of_several_configurations_is_taken_in_its_default_one(
    tmp_path, monkeypatch, user_module
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    source = BUILDER.format(**DEFAULTS)
    version = '    VERSION = tfds.core.Version("1.0.0")\n'
    user_module("configured_data", source.replace(version, CONFIGURED))
    assert data.spec("configured_data:Own").num_classes == 2
    assert (tmp_path / "tfds" / "own" / "small" / "2.0.0" / "features.json").exists()
    # By which tfds knows the default configuration without the builder.
    assert (tmp_path / "tfds" / "own" / ".config" / "metadata.json").exists()
    assert len(data.source("configured_data:Own", "test")) == 4
