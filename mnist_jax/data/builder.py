"""tfds' builders of MNIST and its kin, and the user's own, preparing without TensorFlow.

tfds stays the source of truth for name, version, checksums, splits and order; only the reading of
MNIST's downloaded files differs from the stock builders, and the encoding of images from the user's
own. Importing this module imports tfds.
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
    """Mixin for a stock builder of four IDX files: reads them with gzip and NumPy."""

    URL: str
    packaged: Path | None = None  # the folder that holds the files, if they are shipped

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
                f"{images} {list(pixels.shape)} and {labels} {list(classes.shape)} do not match."
            )
        for index, (image, label) in enumerate(zip(pixels, classes, strict=True)):
            yield index, {"image": png.encode(image[..., None]), "label": int(label)}


# Not registered, because the stock builders hold these names in tfds' registry.
class Mnist(Idx, stock.MNIST, skip_registration=True):
    """MNIST, from the files in this package."""

    name = "mnist"
    packaged = PACKAGED_FILES


class FashionMnist(Idx, stock.FashionMNIST, skip_registration=True):
    """Fashion-MNIST, downloaded or from the manual folder."""

    name = "fashion_mnist"


class Kmnist(Idx, stock.KMNIST, skip_registration=True):
    """Kuzushiji-MNIST, downloaded or from the manual folder."""

    name = "kmnist"


def folder(dataset: Dataset) -> Path:
    """Where tfds keeps (or will keep) the prepared data set."""
    return _root(dataset) / dataset.folder


def open_builder(dataset: Dataset) -> tfds.core.DatasetBuilder:
    """tfds' builder over the data set's folder."""
    return builder_class(dataset.builder)(data_dir=_root(dataset), file_format=FORMAT)


def prepare(dataset: Dataset) -> None:
    """Let tfds prepare the data set, unless it has. For one process at a time: hold the lock.

    Raises UserError for damaged or missing files, no network, an unwritable folder, and examples
    that are no images of fixed shape with a class.
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
                # A user's own files need no checksums; those that are registered are checked.
                manual_dir=_manual_dir(builder),
                force_checksums_validation=known,
            ),
        )


def set_aside(dataset: Dataset) -> Path:
    """Rename the prepared data set, so that it can be prepared again; returns the new place."""
    old = folder(dataset)
    for number in range(1, 1000):
        new = old.with_name(f"{old.name}.damaged-{number}")
        if not new.exists():
            return old.rename(new)
    raise UserError(f"{old} is damaged, and so many others are set aside beside it: tidy up.")


def _root(dataset: Dataset) -> Path:
    """tfds' data directory, or our own in it where tfds keeps this data set in another format."""
    info = data_dir() / dataset.folder / "dataset_info.json"
    try:
        other = json.loads(info.read_text()).get("fileFormat", "tfrecord") != FORMAT
    except (OSError, ValueError):
        other = False
    return own_dir() if other else data_dir()


def _download_dir() -> Path:
    return data_dir() / "downloads"


def _manual_dir(builder: tfds.core.DatasetBuilder) -> Path:
    """Where files are looked for before anything is downloaded."""
    packaged = getattr(builder, "packaged", None)
    return packaged or _download_dir() / "manual" / builder.name


def _require_files(builder: tfds.core.DatasetBuilder) -> None:
    """UserError if files are neither here nor to be had over the network."""
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
    mend = "Reinstall mnist_jax, or fetch" if getattr(builder, "packaged", None) else "Fetch"
    return (
        f"Files of {builder.name} are not on this machine, and their server does not answer within "
        f"{network.PROBE_SECONDS:.0f} s. {mend} these where there is a network:\n  "
        + "\n  ".join(urls)
        + f"\nand put them into {_manual_dir(builder)}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tfds' progress bars, prints and log lines from the terminal."""
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
    """Turn what can go wrong in tfds' preparation into a UserError."""
    try:
        yield
    except NonMatchingChecksumError as err:
        raise UserError(_mismatch(builder, str(err))) from err
    except (requests.RequestException, tfds.download.DownloadError) as err:
        raise UserError(f"The download of {builder.name} failed: {err}") from err
    except ImportError as err:
        raise UserError(f"Preparing {builder.name} needs {err.name}: {err}") from err
    except FileNotFoundError as err:
        raise UserError(f"Cannot prepare {builder.name}: {err}") from err
    except OSError as err:
        raise UserError(
            f"Cannot prepare {builder.name} in {builder.data_dir}: {err}. "
            "Free space there, or set TFDS_DATA_DIR to a folder that can be written."
        ) from err
    except Exception as err:
        cause = _caused_by(err, features.BadExample)
        if cause is None:
            raise
        raise UserError(f"Cannot prepare {builder.name}. {cause}") from err


def _caused_by(err: BaseException | None, kind: type[Exception]) -> BaseException | None:
    """The error of this kind that `err` was raised from, or is."""
    while err is not None and not isinstance(err, kind):
        err = err.__cause__
    return err


def _mismatch(builder: tfds.core.DatasetBuilder, text: str) -> str:
    """tfds' message of a wrong checksum, with what to do about it."""
    file = re.search(r"downloaded to (.*), has wrong", text)
    digests = re.findall(r"checksum='(\w+)'", text)
    if not file or len(digests) != 2:
        return text
    shipped = getattr(builder, "packaged", None)
    return (
        f"{file[1]} of {builder.name} is damaged.\n"
        f"  expected sha256 {digests[0]}\n  found    sha256 {digests[1]}\n"
        + ("Reinstall mnist_jax." if shipped else "Delete it, and fetch it again.")
    )
