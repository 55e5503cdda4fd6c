"""The real data, prepared once; and made-up data sets of a few examples for what can go wrong."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import sys
import threading
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

SIZES = {"train": 50, "test": 20}
PREFIX = {"train": "train", "test": "t10k"}
EMNIST_LABELS = {"balanced": range(47), "letters": range(1, 27), "byclass": range(62)}


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory):
    """A data directory in which MNIST is prepared."""
    from mnist_jax import data

    given = os.environ.get("TFDS_DATA_DIR")
    folder = Path(given) if given else tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        data.load("mnist", "test")
        data.source("mnist", "test")
    return folder


@pytest.fixture
def mnist(mnist_dir, monkeypatch):
    """The name of the real data set, its data directory in the environment."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(mnist_dir))
    return "mnist"


class Tiny:
    """A made-up data set of IDX files, which its own builder class names by URL and checksum."""

    name = "tiny_data:Tiny"

    def __init__(self, folder: Path, module: types.ModuleType) -> None:
        self.folder = folder
        self.manual = folder / "downloads" / "manual" / "tiny"
        self.prepared = folder / "tiny" / "3.0.1"
        self.cache = folder / "mnist_jax" / "tiny-3.0.1.cache"
        self.shard = self.prepared / "tiny-train.array_record-00000-of-00001"
        self.module = module
        self.images, self.labels = {}, {}
        rng = np.random.default_rng(0)
        self.manual.mkdir(parents=True)
        for split, size in SIZES.items():
            self.images[split] = rng.integers(0, 256, (size, 28, 28), np.uint8)
            self.labels[split] = rng.integers(0, 10, size, np.uint8)
            _write_idx(self.manual / f"{PREFIX[split]}-images-idx3-ubyte.gz", self.images[split])
            _write_idx(self.manual / f"{PREFIX[split]}-labels-idx1-ubyte.gz", self.labels[split])
        self.serve("http://127.0.0.1:9/tiny/")

    def serve(self, url: str, **attributes) -> None:
        """(Re)define the builder class with this URL and the files' true checksums."""
        from tensorflow_datasets.core.download.checksums import UrlInfo, compute_url_info

        from mnist_jax.data import builder

        infos: dict[str, UrlInfo] = {
            url + path.name: compute_url_info(path) for path in self.manual.iterdir()
        }
        attributes = {"name": "tiny", "URL": url, "url_infos": infos, **attributes}
        bases = (builder.Idx, builder.stock.MNIST)
        self.module.Tiny = types.new_class(
            "Tiny", bases, {"skip_registration": True}, lambda body: body.update(attributes)
        )

    def canonical(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a split in tfds' order."""
        rows = _canonical_order(split, SIZES[split])
        return self.images[split][rows][..., None], self.labels[split][rows].astype(np.int32)


class Characters:
    """A made-up EMNIST: three configurations in one zip file, in place of the real one."""

    url = "http://127.0.0.1:9/EMNIST/gzip.zip"

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.zip = folder / "downloads" / "manual" / "emnist" / "gzip.zip"
        self.zip.parent.mkdir(parents=True)
        self.images, self.labels, self.members = {}, {}, {}  # the images are upright
        self._patch = patch
        rng = np.random.default_rng(0)
        for config, classes in EMNIST_LABELS.items():
            for split, size in SIZES.items():
                images = rng.integers(0, 256, (size, 28, 28), np.uint8)
                labels = rng.choice(classes, size).astype(np.uint8)
                stem = f"gzip/emnist-{config}-{split}"
                self.members[f"{stem}-images-idx3-ubyte.gz"] = _idx(images.swapaxes(1, 2))
                self.members[f"{stem}-labels-idx1-ubyte.gz"] = _idx(labels)
                self.images[config, split], self.labels[config, split] = images, labels
        self.write()

    def write(self) -> None:
        """Writes the zip file from its members, and registers its checksum."""
        with zipfile.ZipFile(self.zip, "w") as archive:
            for name, content in self.members.items():
                archive.writestr(name, content)
        self.register(self.url)

    def register(self, url: str) -> None:
        """Makes the builder expect the zip file, as it is now, at a URL."""
        from tensorflow_datasets.core.download.checksums import compute_url_info

        from mnist_jax.data import builder

        self._patch.setattr(builder.Emnist, "URL", url)
        self._patch.setattr(builder.Emnist, "url_infos", {url: compute_url_info(self.zip)})

    def canonical(self, config: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Upright images and labels of a split in tfds' order."""
        rows = _canonical_order(split, SIZES[split])
        images, labels = self.images[config, split][rows], self.labels[config, split][rows]
        return images[..., None], labels.astype(np.int32)


def _canonical_order(split: str, size: int) -> list[int]:
    """tfds' order: by the MD5 of the split's name and the row's number."""
    return sorted(range(size), key=lambda row: hashlib.md5(f"{split}{row}".encode()).digest())


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(_idx(array))


@pytest.fixture
def write_idx():
    """A function that writes an array as a gzipped IDX file."""
    return _write_idx


@pytest.fixture
def canonical_order():
    """A function from a split's name and size to the files' rows in tfds' order."""
    return _canonical_order


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A made-up data set in a data directory of its own, its files in the manual folder."""
    module = types.ModuleType("tiny_data")
    monkeypatch.setitem(sys.modules, "tiny_data", module)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return Tiny(tmp_path / "tfds", module)


@pytest.fixture
def emnist(tmp_path, monkeypatch):
    """A made-up EMNIST in a data directory of its own, its zip file in the manual folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return Characters(tmp_path / "tfds", monkeypatch)


@pytest.fixture
def serve():
    """A function that serves a folder by HTTP; gives the URL and a function that ends it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with contextlib.ExitStack() as stack:

        def start(folder: Path) -> types.SimpleNamespace:
            handler = functools.partial(Quiet, directory=folder)
            httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            stack.enter_context(httpd)
            threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(httpd.shutdown)
            url = f"http://127.0.0.1:{httpd.server_port}/"
            return types.SimpleNamespace(url=url, close=httpd.server_close)

        yield start


@pytest.fixture
def flip():
    """A function that flips a bit in the middle of a file."""

    def flip_bit(path: Path, position: float = 0.5) -> None:
        content = bytearray(path.read_bytes())
        content[int(len(content) * position)] ^= 1
        path.write_bytes(content)

    return flip_bit
