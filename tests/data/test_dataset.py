import gzip
import subprocess
import sys

import numpy as np
import pytest

from mnist_jax import data
from mnist_jax.data import catalog
from mnist_jax.data.catalog import PACKAGED_FILES
from mnist_jax.errors import UserError


@pytest.fixture(scope="module")
def test_files():
    """Images and labels of the test files, in the files' order."""

    def content(name):
        return np.frombuffer(gzip.decompress((PACKAGED_FILES / name).read_bytes()), np.uint8)

    images = content("t10k-images-idx3-ubyte.gz")[16:].reshape(-1, 28, 28, 1)
    return images, content("t10k-labels-idx1-ubyte.gz")[8:]


def test_default_splits_partition_train(mnist):
    train, val = data.load(mnist, "train[:55000]"), data.load(mnist, "train[55000:]")
    assert train.images.shape == (55000, 28, 28, 1)
    assert val.images.shape == (5000, 28, 28, 1)
    assert (train.images.dtype, train.labels.dtype) == (np.uint8, np.int32)
    assert (train.name, train.split) == ("mnist", "train[:55000]")
    assert train.class_names == tuple("0123456789")
    whole = data.load(mnist, "train")
    np.testing.assert_array_equal(np.concatenate([train.labels, val.labels]), whole.labels)


def test_order_is_that_of_tfds_md5_shuffle(mnist, test_files, canonical_order):
    images, labels = test_files
    rows = canonical_order("test", 10000)
    assert rows[:6] == [9933, 5669, 163, 6686, 4747, 131]
    test = data.load(mnist, "test")
    np.testing.assert_array_equal(test.images, images[rows])
    np.testing.assert_array_equal(test.labels, labels[rows])


def test_class_counts_are_those_of_mnist(mnist):
    counts = np.bincount(data.load(mnist, "train").labels).tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize(
    "split", ["test", "train[55000:]", "train[-30:]", "train[:100]+test[50:80]", "test[99%:]"]
)
def test_source_fetches_the_rows_of_load(mnist, split):
    loaded, source = data.load(mnist, split), data.source(mnist, split)
    assert len(source) == len(loaded.labels)
    indices = np.random.default_rng(0).integers(0, len(source), 64)
    images, labels = source.fetch(indices)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(images, loaded.images[indices])
    np.testing.assert_array_equal(labels, loaded.labels[indices])


def test_source_refuses_rows_that_are_not_there(mnist):
    source = data.source(mnist, "test[:10]")
    for row in (-1, 10):
        with pytest.raises(IndexError, match="of 10"):
            source.fetch([row])


def test_empty_split(mnist):
    split, source = data.load(mnist, ""), data.source(mnist, "")
    assert split.images.shape == (0, 28, 28, 1)
    assert split.labels.shape == (0,)
    assert len(source) == 0
    assert [array.shape for array in source.fetch([])] == [(0, 28, 28, 1), (0,)]


def test_arrays_are_read_only(mnist):
    for name in ("test", "test+train[:10]"):
        split = data.load(mnist, name)
        for array in (split.images, split.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_warm_start_imports_neither_tfds_nor_jax(mnist):
    code = (
        "import sys; from mnist_jax import data; data.load('mnist', 'train[:55000]');"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("read", [data.load, data.source])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fashion-mnst", "fashion_mnist"),
        ("MNIST", "mnist"),
        ("emnits", "emnist"),
        ("emnist/balance", "emnist/balanced"),
        ("EMNIST-letters", "emnist/letters"),
    ],
)
def test_misspelt_name(read, name, meant):
    own = "name a tfds builder of your own as 'package.module:Class'"
    with pytest.raises(UserError, match=rf"{name!r}; did you mean {meant!r}\? \({own}\)"):
        read(name, "train")


@pytest.mark.parametrize("read", [data.load, data.source])
def test_unknown_name(read):
    with pytest.raises(UserError, match="no data set 'cifar10'; known: ") as caught:
        read("cifar10", "train")
    assert all(name in str(caught.value) for name in catalog.DATASETS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:Class", "cannot import 'nowhere'"),
        ("mnist_jax.data:Nothing", "mnist_jax.data has no 'Nothing'"),
        ("json:loads", "'json:loads' is not a tfds builder class"),
        (":x", "not of the form"),
    ],
)
def test_name_of_a_class_that_is_no_builder(name, message):
    with pytest.raises(UserError, match=f"config.data.name: .*{message}"):
        data.load(name, "train")


def test_spec_of_a_data_set_and_of_a_split(mnist):
    spec = data.spec(mnist)
    assert spec == data.Spec((28, 28, 1), tuple("0123456789"))
    assert spec.num_classes == 10
    assert data.load(mnist, "").spec == data.load(mnist, "test[:5]").spec == spec


def test_own_builder_is_a_data_set(tiny, capfd):
    train = data.load(tiny.name, "train")
    images, labels = tiny.canonical("train")
    np.testing.assert_array_equal(train.images, images)
    np.testing.assert_array_equal(train.labels, labels)
    np.testing.assert_array_equal(data.source(tiny.name, "train").fetch(range(50))[0], images)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [f"preparing tiny 3.0.1 in {tiny.prepared} (once, about 5 s)"]


def test_home_is_expanded_and_default(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny.folder.parent))
    monkeypatch.setenv("TFDS_DATA_DIR", "~/tfds")
    data.load(tiny.name, "test")
    assert tiny.cache.exists()
    tiny.folder.rename(tiny.folder.parent / "tensorflow_datasets")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert len(data.load(tiny.name, "test").labels) == 20
    assert not tiny.folder.exists()


def test_remote_data_dir_is_refused(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/tfds")
    with pytest.raises(UserError, match=r"gs://bucket/tfds.*mount the bucket"):
        data.load("mnist", "train")
