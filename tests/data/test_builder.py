import errno
import json
import os
import shutil
import time
from pathlib import PurePosixPath

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import get_all_url_infos

from mnist_jax import data
from mnist_jax.data import builder, catalog
from mnist_jax.errors import UserError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize("name", catalog.DATASETS)
def test_catalog_agrees_with_tfds(name, tmp_path):
    dataset = catalog.find(name)
    cls = catalog.builder_class(dataset.builder)
    stock = tfds.builder(name, data_dir=tmp_path)
    assert type(stock).__module__ == builder.stock.__name__
    assert stock.info.full_name == f"{dataset.name}/{dataset.version}"
    assert (cls.name, str(cls.VERSION)) == (stock.name, dataset.version)
    label = stock.info.features["label"]
    assert len(dataset.class_names or label.names) == label.num_classes
    known = get_all_url_infos()
    assert [known[url].filename for url in cls.urls()] == [
        PurePosixPath(url).name for url in cls.urls()
    ]


def test_tfds_itself_reads_what_was_prepared(mnist, mnist_dir):
    stock = builder.stock.MNIST(data_dir=mnist_dir, file_format="array_record")
    example = stock.as_data_source("test")[7]
    test = data.load(mnist, "test[7:8]")
    np.testing.assert_array_equal(example["image"], test.images[0])
    assert example["label"] == test.labels[0]


@pytest.mark.parametrize("file", builder.FILES)
def test_flipped_bit_in_a_file_names_file_and_digests(tiny, flip, file):
    path = tiny.manual / file
    expected = tiny.module.Tiny.url_infos[tiny.module.Tiny.URL + file].checksum
    flip(path)
    with pytest.raises(UserError) as caught:
        data.load(tiny.name, "train")
    text = str(caught.value)
    found = tfds.download.checksums.compute_url_info(path).checksum
    assert all(part in text for part in (str(path), expected, found, "Delete it"))
    assert not tiny.prepared.exists()


def test_flipped_bit_in_a_packaged_file_advises_to_reinstall(tiny, flip, tmp_path):
    files = shutil.copytree(catalog.PACKAGED_FILES, tmp_path / "files")
    flip(files / TRAIN_IMAGES)

    class Damaged(builder.Mnist, skip_registration=True):
        name = "mnist"
        packaged = files

    tiny.module.Tiny = Damaged
    with pytest.raises(UserError, match=rf"(?s){files / TRAIN_IMAGES}.*440fcabf.*Reinstall"):
        data.load(tiny.name, "train")


def test_files_that_do_not_match(tiny, write_idx):
    write_idx(tiny.manual / TRAIN_IMAGES, np.zeros((49, 28, 28), np.uint8))
    tiny.serve("http://127.0.0.1:9/tiny/")
    message = rf"{TRAIN_IMAGES}: its shape \[49, 28, 28\] does not match the shape \[50\]"
    with pytest.raises(UserError, match=message):
        data.load(tiny.name, "train")


def test_no_network_and_no_files(tiny):
    shutil.rmtree(tiny.manual)
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        data.load(tiny.name, "train")
    assert time.monotonic() - start < 6
    text = str(caught.value)
    assert all(f"http://127.0.0.1:9/tiny/{file}" in text for file in builder.FILES)
    assert str(tiny.manual) in text
    assert list(tiny.manual.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "No space left.*Free space there"), (errno.ENOMEM, "memory does not suffice")],
)
def test_what_the_system_lacks_is_named(tiny, monkeypatch, number, message):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(builder.idx, "read", fail)
    with pytest.raises(UserError, match=f"cannot prepare tiny.*{message}"):
        data.load(tiny.name, "train")


def test_missing_packaged_file_advises_to_reinstall(tiny):
    (tiny.manual / TRAIN_IMAGES).unlink()
    tiny.serve("http://127.0.0.1:9/tiny/", packaged=tiny.manual)
    with pytest.raises(UserError, match="Reinstall mnist_jax, or download") as caught:
        data.load(tiny.name, "train")
    assert TRAIN_IMAGES in str(caught.value)
    assert "labels" not in str(caught.value)


@pytest.fixture
def server(tiny, serve):
    """A server of the made-up files, which are no longer in the manual folder."""
    server = serve(tiny.folder / "served")
    tiny.serve(server.url)
    server.files = tiny.manual.rename(tiny.folder / "served")
    return server


def test_download_and_later_start_without_a_network(tiny, server):
    data.load(tiny.name, "train")
    shutil.rmtree(tiny.prepared)
    shutil.rmtree(tiny.cache.parent)
    server.close()
    train = data.load(tiny.name, "train")
    np.testing.assert_array_equal(train.images, tiny.canonical("train")[0])


def test_server_without_the_file(tiny, server):
    (server.files / TRAIN_IMAGES).unlink()
    with pytest.raises(UserError, match="download of tiny failed"):
        data.load(tiny.name, "train")


def test_damaged_download(tiny, server, flip):
    flip(server.files / TRAIN_IMAGES)
    with pytest.raises(UserError, match="is damaged"):
        data.load(tiny.name, "train")


def test_data_that_tfds_keeps_in_another_format_is_left_alone(tiny):
    tiny.prepared.mkdir(parents=True)
    info = tiny.prepared / "dataset_info.json"
    info.write_text(json.dumps({"name": "tiny", "version": "3.0.1", "fileFormat": "tfrecord"}))
    assert len(data.load(tiny.name, "train").labels) == 50
    assert len(data.source(tiny.name, "test")) == 20
    assert list(tiny.prepared.iterdir()) == [info]


def test_builder_that_needs_an_absent_library(tiny):
    class Needy(builder.stock.MNIST, skip_registration=True):
        name = "needy"

        def _split_generators(self, dl_manager):
            import no_such_library  # noqa: F401

    tiny.module.Tiny = Needy
    with pytest.raises(UserError, match="needs the package no_such_library"):
        data.load(tiny.name, "train")


def test_builder_without_image_and_label(tiny):
    class Sounds(builder.stock.MNIST, skip_registration=True):
        name = "sounds"

        def _info(self):
            features = tfds.features.FeaturesDict({"sound": np.int32})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": iter([(0, {"sound": 1})])}

    tiny.module.Tiny = Sounds
    with pytest.raises(UserError, match=r"sounds cannot be used.*Image of fixed shape.*'sound'"):
        data.load(tiny.name, "train")
    assert not (tiny.folder / "sounds").exists()
