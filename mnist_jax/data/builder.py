"""Prepares tfds data sets without TensorFlow: MNIST, its relatives, and the user's own builders.

tfds remains the source of truth for the name, version, checksums, splits and order of examples.
This module replaces two steps that need TensorFlow: reading the downloaded IDX files of MNIST and
its relatives, and encoding the images of the user's own builders. Importing it imports tfds.
"""

import contextlib
import io
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.download.checksums import get_all_url_infos
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.resource import get_dl_fname
from tensorflow_datasets.image_classification import mnist as stock

from mnist_jax import failures, presence, starved
from mnist_jax.data import features, idx, network, png, seal
from mnist_jax.data.catalog import PACKAGED_FILES, Dataset, builder_class, data_dir, own_dir
from mnist_jax.errors import UserError, led_to
from mnist_jax.files import ADVICE, reason, writing

FORMAT = "array_record"
PREPARING = ".preparing"  # suffix of the folder in which a data set is made
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
Examples = Iterator[tuple[int, dict[str, bytes | int]]]


class Idx:
    """Mixin that makes a stock tfds builder read its four IDX files with gzip and NumPy."""

    URL: str
    builder_config: Any
    name: str
    url_infos: Any
    packaged: Path | None = None  # the folder that holds the files, if the package includes them
    examples = 70_000  # in all splits

    @classmethod
    def urls(cls) -> list[str]:
        """Returns the URLs of the files that the builder reads."""
        return [urljoin(cls.URL, file) for file in FILES]

    def missing(self) -> dict[str, int]:
        """Returns URL and size in bytes of each file that is in no local folder."""
        known = get_all_url_infos() | (self.url_infos or {})
        downloads = _download_dir() / self.name
        return {
            url: known[url].size
            for url in self.urls()
            if not (downloads / get_dl_fname(url, known[url].checksum)).exists()
            and not (_manual_dir(self) / (known[url].filename or "")).is_file()
        }

    def effort(self) -> str:
        """Returns how much has to be downloaded, and about how long the preparation then takes."""
        size = sum(self.missing().values())
        download = f", after a download of {size / 1e6:.0f} MB" if size else ""
        return f"{download}, about {self.examples / 14_000:.0f} s"

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        images, labels, test_images, test_labels = map(Path, dl_manager.download(self.urls()))
        return {
            "train": self._generate_examples(images, labels),
            "test": self._generate_examples(test_images, test_labels),
        }

    def _generate_examples(
        self, images: Path | zipfile.Path, labels: Path | zipfile.Path
    ) -> Examples:
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


class Emnist(Idx, stock.EMNIST, skip_registration=True):
    """Builder of EMNIST from its zip file, of which it reads the members without extracting them.

    As tfds does, it writes the images transposed; `records` transposes them back.
    """

    name = "emnist"

    @property
    def examples(self) -> int:
        """The number of examples in all splits."""
        return self.builder_config.train_examples + self.builder_config.test_examples

    @classmethod
    def urls(cls) -> list[str]:
        """Returns the URL of the zip file, which holds the files of all configurations."""
        return [cls.URL]

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        path = dl_manager.download(self.URL)
        try:
            archive = zipfile.Path(path)
        except zipfile.BadZipFile as error:
            raise UserError(
                f"{path} is damaged: {error}; delete it, and download it again"
            ) from error
        stem = f"gzip/emnist-{self.builder_config.name}"
        return {
            split: self._generate_examples(
                archive / f"{stem}-{split}-images-idx3-ubyte.gz",
                archive / f"{stem}-{split}-labels-idx1-ubyte.gz",
            )
            for split in ("train", "test")
        }


def folder(dataset: Dataset) -> Path:
    """Returns the folder in which tfds keeps, or will keep, the prepared data set."""
    return _root(dataset) / dataset.folder


def open_builder(dataset: Dataset, root: Path | None = None) -> tfds.core.DatasetBuilder:
    """Returns the tfds builder of the data set, by default on the folder of all data sets."""
    with failures.reported(f"config.data.name: {dataset.builder} cannot be opened"):
        return builder_class(dataset.builder)(
            config=dataset.config, data_dir=root or _root(dataset), file_format=FORMAT
        )


def prepare(dataset: Dataset) -> None:
    """Prepares the data set with tfds, unless it is already prepared.

    Its folder gets its name only once it is complete, with its digests. Only one process at a time
    may do this: the caller must hold the lock (`lock.exclusive`).

    Raises:
      UserError: files are damaged or missing, there is no network, the folder is not writable, or
        the examples are not images of one shape, each with a class.
    """
    final = folder(dataset)
    root = final.with_name(f"{final.name}{PREPARING}")
    prepared = presence.exists(final)
    if presence.exists(root):  # a process was killed
        with writing(root):
            shutil.rmtree(root, ignore_errors=prepared)
    if prepared:
        return
    builder = open_builder(dataset, root)
    known = isinstance(builder, Idx)
    if not known:
        with failures.reported(f"config.data.name: {dataset.builder} cannot be opened"):
            features.encode_without_tensorflow(builder.info)
    effort = f"once{builder.effort() if known else ''}"
    print(
        f"preparing {dataset.name} {dataset.version} in {final} ({effort})",
        file=sys.stderr,
    )
    with _quiet(), _explained(builder, final), _removing(root):
        if known:
            _require_files(builder)
        builder.download_and_prepare(
            download_dir=_download_dir(),
            download_config=tfds.download.DownloadConfig(
                # A user's own builder may have no checksums; registered ones are always verified.
                manual_dir=_manual_dir(builder),
                force_checksums_validation=known,
            ),
        )
        seal.write(root / dataset.folder)
        _keep_configurations(root, dataset)
        (root / dataset.folder).rename(final)


def _keep_configurations(root: Path, dataset: Dataset) -> None:
    """Copies the file by which tfds knows a data set's configurations without its builder."""
    known = Path(dataset.name).parts[0], ".config"
    if root.joinpath(*known).exists():
        shutil.copytree(root.joinpath(*known), _root(dataset).joinpath(*known), dirs_exist_ok=True)


@contextlib.contextmanager
def _removing(root: Path) -> Iterator[None]:
    """Context manager that removes a folder in the end, whatever happens."""
    try:
        yield
    finally:
        shutil.rmtree(root, ignore_errors=True)


def set_aside(dataset: Dataset) -> Path:
    """Renames the prepared data set, so that it can be prepared again; returns the new path.

    Raises:
      UserError: the system refuses that.
    """
    old = folder(dataset)
    for number in range(1, 1000):
        new = old.with_name(f"{old.name}.damaged-{number}")
        if not presence.exists(new):
            with writing(new):
                return old.rename(new)
    raise UserError(f"{old} is damaged, and 999 damaged copies are beside it; delete some of them")


def _root(dataset: Dataset) -> Path:
    """Returns tfds' data directory, or our own if tfds keeps the data set in another format."""
    info = data_dir() / dataset.folder / "dataset_info.json"
    try:
        other = json.loads(info.read_text()).get("fileFormat", "tfrecord") != FORMAT
    except (FileNotFoundError, NotADirectoryError, ValueError):
        other = False
    except OSError as error:
        raise UserError(f"{info} cannot be read: {reason(error)}. {ADVICE}") from error
    return own_dir() if other else data_dir()


def _download_dir() -> Path:
    return data_dir() / "downloads"


def _manual_dir(builder: Idx | tfds.core.DatasetBuilder) -> Path:
    """Returns the folder in which tfds looks for files before it downloads any."""
    packaged = getattr(builder, "packaged", None)
    return packaged or _download_dir() / "manual" / builder.name


def _require_files(builder: Idx) -> None:
    """Raises UserError if files are missing and their server cannot be reached."""
    missing = builder.missing()
    if not missing or network.reachable(next(iter(missing))):
        return
    mend = "Reinstall mnist_jax, or download" if builder.packaged else "Download"
    _manual_dir(builder).mkdir(parents=True, exist_ok=True)
    raise UserError(
        f"files of {builder.name} are missing, and their server does not answer within "
        f"{network.PROBE_SECONDS:.0f} s. {mend} them on a machine with network access:\n  "
        + "\n  ".join(missing)
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
def _explained(builder: tfds.core.DatasetBuilder, final: Path) -> Iterator[None]:
    """Turns the errors that can occur while tfds prepares a data set into a UserError."""
    try:
        yield
    except UserError:
        raise
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
        lack = starved.shortage(error)
        advice = "Free space there, or set TFDS_DATA_DIR to a writable folder"
        why = starved.explained(lack) if lack else f"{error}. {advice}"
        raise UserError(f"cannot prepare {builder.name} in {final}: {why}") from error
    except (Exception, SystemExit) as error:
        cause = _caused_by(error, features.BadExample) or failures.describe(error)
        if lack := starved.shortage(error):
            cause = starved.explained(lack)
        raise UserError(f"cannot prepare {builder.name}: {cause}") from error


def _caused_by(error: BaseException | None, kind: type[Exception]) -> BaseException | None:
    """Returns the first error of this kind among `error` and its causes, or None."""
    return next((its for its in led_to(error) if isinstance(its, kind)), None)


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
