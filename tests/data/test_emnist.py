"""EMNIST under tfds' names: upright images, classes named by their characters, one zip file."""

import numpy as np
import pytest

from mnist_jax import data
from mnist_jax.data import builder, catalog
from mnist_jax.errors import UserError
from tests.commands import read, run

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MERGED = f"0123456789{CAPITALS}abdefghnqrt"


@pytest.mark.parametrize("config", ["balanced", "letters", "byclass"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_upright_and_in_tfds_order(emnist, config, split):
    name = f"emnist/{config}"
    loaded = data.load(name, split)
    images, labels = emnist.canonical(config, split)
    np.testing.assert_array_equal(loaded.images, images)
    np.testing.assert_array_equal(loaded.labels, labels)
    assert loaded.name == name
    fetched = data.source(name, split).fetch(range(len(labels)))
    np.testing.assert_array_equal(fetched[0], images)
    np.testing.assert_array_equal(fetched[1], labels)


def test_tfds_itself_reads_what_was_prepared(emnist):
    test = data.load("emnist/letters", "test")
    stock = builder.stock.EMNIST(
        config="letters", data_dir=emnist.folder, file_format="array_record"
    )
    example = stock.as_data_source("test")[7]
    np.testing.assert_array_equal(example["image"], test.images[7].swapaxes(0, 1))
    assert example["label"] == test.labels[7]


def test_folders_are_those_of_tfds(emnist, capfd):
    data.load("emnist/balanced", "test")
    prepared = emnist.folder / "emnist" / "balanced" / "3.1.0"
    assert (prepared / "dataset_info.json").exists()
    assert (emnist.folder / "mnist_jax" / "emnist-balanced-3.1.0.cache").exists()
    said = capfd.readouterr().err
    assert said == f"preparing emnist/balanced 3.1.0 in {prepared} (once, about 9 s)\n"


def test_without_a_configuration_it_is_the_first(emnist):
    assert data.load("emnist", "test").name == "emnist/byclass"
    assert (emnist.folder / "emnist" / "byclass" / "3.1.0").is_dir()


def test_every_configuration_of_tfds_can_be_named():
    ours = [name.partition("/")[2] for name in catalog.DATASETS if name.startswith("emnist/")]
    assert ours == list(builder.stock.EMNIST.builder_configs)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("byclass", f"0123456789{CAPITALS}{CAPITALS.lower()}"),
        ("bymerge", MERGED),
        ("balanced", MERGED),
        ("digits", "0123456789"),
        ("mnist", "0123456789"),
    ],
)
def test_classes_are_named_by_their_characters(config, names):
    assert catalog.find(f"emnist/{config}").class_names == tuple(names)


def test_letters_are_the_classes_from_1_to_26(emnist):
    names = data.spec("emnist/letters").class_names
    assert names[1:27] == tuple(CAPITALS)
    assert (names[0], names[27:]) == ("0", tuple(map(str, range(27, 37))))
    train = data.load("emnist/letters", "train")
    assert {train.class_names[label] for label in train.labels} <= set(CAPITALS)


def test_cache_made_without_the_names_is_made_again(emnist, capfd):
    name = "mnist_jax.data.builder:Emnist"  # a builder that is named by its class
    plain = data.load(name, "test")
    assert plain.class_names == tuple(map(str, range(62)))
    upright, labels = emnist.canonical("byclass", "test")
    np.testing.assert_array_equal(plain.images, upright.swapaxes(1, 2))
    capfd.readouterr()
    named = data.load("emnist", "test")
    np.testing.assert_array_equal(named.images, upright)
    np.testing.assert_array_equal(named.labels, labels)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("is damaged and will be rebuilt: it has other class names")


def test_one_download_serves_every_configuration(emnist, serve, capfd):
    server = serve(emnist.folder / "served")
    emnist.register(f"{server.url}gzip.zip")
    emnist.zip.parent.rename(emnist.folder / "served")
    data.load("emnist/balanced", "train")
    assert "(once, after a download of 0 MB, about 9 s)" in capfd.readouterr().err
    server.close()
    letters = data.load("emnist/letters", "train")
    np.testing.assert_array_equal(letters.images, emnist.canonical("letters", "train")[0])
    assert "(once, about 7 s)" in capfd.readouterr().err


def test_no_network_and_no_file(emnist):
    emnist.zip.unlink()
    with pytest.raises(UserError, match="files of emnist are missing") as caught:
        data.load("emnist/balanced", "train")
    assert emnist.url in str(caught.value)
    assert str(emnist.zip.parent) in str(caught.value)


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_zip_without_a_member(emnist, split, kind):
    member = f"gzip/emnist-balanced-{split}-{kind}-ubyte.gz"
    del emnist.members[member]
    emnist.write()
    with pytest.raises(UserError, match=f"{emnist.zip}/{member} does not exist"):
        data.load("emnist/balanced", "train")
    assert len(data.load("emnist/letters", "train").labels) == 50


def test_flipped_bit_names_the_zip_file(emnist, flip):
    flip(emnist.zip)
    with pytest.raises(UserError, match=rf"(?s){emnist.zip} of emnist is damaged.*Delete it"):
        data.load("emnist/balanced", "train")


def test_flipped_bit_with_its_checksum_registered_names_the_member(emnist, flip):
    flip(emnist.zip, 0.1)
    emnist.register(emnist.url)
    member = f"{emnist.zip}/gzip/emnist-balanced-train-images-idx3-ubyte.gz"
    with pytest.raises(UserError, match=f"{member} is not a complete gzip file"):
        data.load("emnist/balanced", "train")


def test_cut_zip_file(emnist):
    emnist.zip.write_bytes(emnist.zip.read_bytes()[:-30])
    emnist.register(emnist.url)
    with pytest.raises(UserError, match=f"{emnist.zip} is damaged: File is not a zip file"):
        data.load("emnist/balanced", "train")


@pytest.mark.slow
def test_main_trains_on_characters(emnist, tmp_path):
    data.load("emnist/balanced", "test")  # the command finds it prepared
    run(
        "main",
        "--config=configs/mlp.py",
        "--config.data.name=emnist/balanced",
        "--config.data.train_split=train[:40]",
        "--config.data.val_split=train[40:]",
        "--config.data.placement=host",
        "--config.model.hidden=8",
        "--config.num_epochs=1",
        "--config.batch_size=10",
        f"--workdir={tmp_path / 'run'}",
    )
    evaluation = read(tmp_path / "run" / "evaluation.json")
    assert "".join(row["name"] for row in evaluation["per_class"]) == MERGED
    counts = np.bincount(emnist.labels["balanced", "test"], minlength=47)
    assert [row["count"] for row in evaluation["per_class"]] == counts.tolist()
    assert (tmp_path / "run" / "report.html").exists()
