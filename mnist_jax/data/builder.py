"""Prepares tfds data sets without TensorFlow: MNIST, its relatives, and the user's own builders.

tfds remains the source of truth for the name, version, checksums, splits and order of examples.
This module replaces two steps that need TensorFlow: reading the downloaded IDX files of MNIST and
its relatives, and encoding the images of the user's own builders. Importing it imports tfds.
"""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from urllib.parse import urljoin

import requests
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.download.checksums import get_all_url_infos
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.resource import get_dl_fname
from tensorflow_datasets.image_classification import mnist as stock

from mnist_jax.data import features, idx, network, png
from mnist_jax.data.catalog import PACKAGED_FILES, Dataset, builder_class, data_dir, own_dir
from mnist_jax.errors import UserError

FORMAT = "array_record"
FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
Example = dict[str, bytes | int]


class Idx:
    """Mixin that makes a stock tfds builder read its four IDX files with gzip and NumPy."""

    URL: str
    packaged: Path | None = None  # the folder that holds the files, if the package includes them

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, Example]]]:
        paths = dl_manager.download({key: urljoin(self.URL, FILES[key]) for key in FILES})
        return {
            split: self._generate_examples(paths[f"{split}_images"], paths[f"{split}_labels"])
            for split in ("train", "test")
        }

    def _generate_examples(
        self, images: PathLike[str], labels: PathLike[str]
    ) -> Iterator[tuple[int, Example]]:
        pixels, classes = idx.read(images), idx.read(labels)
        if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
            raise UserError(
                f"{images}: its shape {list(pixels.shape)} does not match the shape "
                f"{list(classes.shape)} of {labels}; download both files again"
            )
        for index, (image, label) in enumerate(zip(pixels, classes, strict=True)):
            yield index, {"image": png.encode(image[..., None]), "label": int(label)}


# These classes are not registered because the stock builders hold their names in tfds' registry.
class Mnist(Idx, stock.MNIST, skip_registration=True):
    """Builder of MNIST from the files in this package."""

    name = "mnist"
    packaged = PACKAGED_FILES


class FashionMnist(Idx, stock.FashionMNIST, skip_registration=True):
    """Builder of Fashion-MNIST from downloaded files or tfds' manual folder."""

    name = "fashion_mnist"


class Kmnist(Idx, stock.KMNIST, skip_registration=True):
    """Builder of Kuzushiji-MNIST from downloaded files or tfds' manual folder."""

    name = "kmnist"


def folder(dataset: Dataset) -> Path:
    """Returns the folder in which tfds keeps, or will keep, the prepared data set."""
    return _root(dataset) / dataset.folder


def open_builder(dataset: Dataset) -> tfds.core.DatasetBuilder:
    """Returns the tfds builder of the data set."""
    return builder_class(dataset.builder)(data_dir=_root(dataset), file_format=FORMAT)


def prepare(dataset: Dataset) -> None:
    """Prepares the data set with tfds, unless it is already prepared.

    Only one process at a time may do this: the caller must hold the lock (`lock.exclusive`).

    Raises:
      UserError: files are damaged or missing, there is no network, the folder is not writable, or
        the examples are not images of one shape, each with a class.
    """
    if folder(dataset).exists():
        return
    builder = open_builder(dataset)
    known = isinstance(builder, Idx)
    if not known:
        features.encode_without_tensorflow(builder.info)
    print(
        f"preparing {dataset.name} {dataset.version} in {folder(dataset)} "
        f"(once{', about 5 s' if known else ''})",
        file=sys.stderr,
        flush=True,
    )
    with _quiet(), _explained(builder):
        _require_files(builder)
        builder.download_and_prepare(
            download_dir=_download_dir(),
            download_config=tfds.download.DownloadConfig(
                # A user's own builder may have no checksums; registered ones are always verified.
                manual_dir=_manual_dir(builder),
                force_checksums_validation=known,
            ),
        )


def set_aside(dataset: Dataset) -> Path:
    """Renames the prepared data set, so that it can be prepared again; returns the new path."""
    old = folder(dataset)
    for number in range(1, 1000):
        new = old.with_name(f"{old.name}.damaged-{number}")
        if not new.exists():
            return old.rename(new)
    raise UserError(f"{old} is damaged, and 999 damaged copies are beside it; delete some of them")


def _root(dataset: Dataset) -> Path:
    """Returns tfds' data directory, or our own if tfds keeps the data set in another format."""
    info = data_dir() / dataset.folder / "dataset_info.json"
    try:
        other = json.loads(info.read_text()).get("fileFormat", "tfrecord") != FORMAT
    except (OSError, ValueError):
        other = False
    return own_dir() if other else data_dir()


def _download_dir() -> Path:
    return data_dir() / "downloads"


def _manual_dir(builder: tfds.core.DatasetBuilder) -> Path:
    """Returns the folder in which tfds looks for files before it downloads any."""
    packaged = getattr(builder, "packaged", None)
    return packaged or _download_dir() / "manual" / builder.name


def _require_files(builder: tfds.core.DatasetBuilder) -> None:
    """Raises UserError if files are missing and their server cannot be reached."""
    if not isinstance(builder, Idx):
        return
    urls = [urljoin(builder.URL, file) for file in FILES.values()]
    missing = [url for url in urls if not _is_local(builder, url)]
    if missing and not network.reachable(missing[0]):
        _manual_dir(builder).mkdir(parents=True, exist_ok=True)
        raise UserError(_how_to_fetch(builder, missing))


def _is_local(builder: tfds.core.DatasetBuilder, url: str) -> bool:
    known = get_all_url_infos() | (builder.url_infos or {})
    if url not in known:
        return False
    downloaded = _download_dir() / builder.name / get_dl_fname(url, known[url].checksum)
    return downloaded.exists() or (_manual_dir(builder) / (known[url].filename or "")).is_file()


def _how_to_fetch(builder: tfds.core.DatasetBuilder, urls: list[str]) -> str:
    packaged = getattr(builder, "packaged", None)
    mend = "Reinstall mnist_jax, or download" if packaged else "Download"
    return (
        f"files of {builder.name} are missing, and their server does not answer within "
        f"{network.PROBE_SECONDS:.0f} s. {mend} them on a machine with network access:\n  "
        + "\n  ".join(urls)
        + f"\nand put them into {_manual_dir(builder)}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps tfds' progress bars, prints and log lines off the terminal."""
    tfds.display_progress_bar(False)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _explained(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Turns the errors that can occur while tfds prepares a data set into a UserError."""
    try:
        yield
    except NonMatchingChecksumError as error:
        raise UserError(_mismatch(builder, str(error))) from error
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise UserError(f"the download of {builder.name} failed: {error}") from error
    except ImportError as error:
        raise UserError(
            f"preparing {builder.name} needs the package {error.name}; install it: {error}"
        ) from error
    except FileNotFoundError as error:
        raise UserError(f"cannot prepare {builder.name}: {error}") from error
    except OSError as error:
        raise UserError(
            f"cannot prepare {builder.name} in {builder.data_dir}: {error}. "
            "Free space there, or set TFDS_DATA_DIR to a writable folder"
        ) from error
    except Exception as error:
        cause = _caused_by(error, features.BadExample)
        if cause is None:
            raise
        raise UserError(f"cannot prepare {builder.name}: {cause}") from error


def _caused_by(error: BaseException | None, kind: type[Exception]) -> BaseException | None:
    """Returns the first error of this kind among `error` and its causes, or None."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


def _mismatch(builder: tfds.core.DatasetBuilder, text: str) -> str:
    """Rewrites tfds' message about a wrong checksum, and adds what to do about it."""
    file = re.search(r"downloaded to (.*), has wrong", text)
    digests = re.findall(r"checksum='(\w+)'", text)
    if not file or len(digests) != 2:
        return text
    shipped = getattr(builder, "packaged", None)
    return (
        f"{file[1]} of {builder.name} is damaged:\n"
        f"  expected sha256 {digests[0]}\n  found    sha256 {digests[1]}\n"
        + ("Reinstall mnist_jax" if shipped else "Delete it, and download it again")
    )
