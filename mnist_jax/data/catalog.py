"""The data sets that a configuration can name, and the folders that hold their files."""

import os
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from mnist_jax import binding, code_digest, home
from mnist_jax.data.spec import Ink
from mnist_jax.errors import UserError
from mnist_jax.files import local_path

PACKAGED_FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Dataset:
    """A tfds data set: its name, version and builder, and how its examples are read.

    `name` is tfds' name; a builder's configuration follows a slash, as in 'emnist/balanced'.
    `builder` names the class that prepares the data set, as 'module:Class'. `sha256` is the digest
    that the cache keeps of all examples in tfds' order, or None if it is not known in advance.
    `class_names`, unless empty, replaces tfds' names of the classes. `transposed` is True if tfds
    stores the (square) images with rows and columns swapped; they are read upright. `ink` says how
    handwriting was put into the images, so that pictures of it can be prepared in the same way;
    None if they hold something else, or it is not known. `code` is the digest of the source of a
    user's own builder class.
    """

    name: str
    version: str
    builder: str
    sha256: str | None = None
    class_names: tuple[str, ...] = ()
    transposed: bool = False
    ink: Ink | None = None
    code: str = ""

    @property
    def config(self) -> str | None:
        """The name of the builder's configuration, or None if the builder has no configurations."""
        return self.name.partition("/")[2] or None

    @property
    def folder(self) -> Path:
        """The data set's folder, relative to tfds' data directory."""
        return Path(self.name, self.version)

    @property
    def label(self) -> str:
        """The stem of the names of the cache and lock files, e.g. 'mnist-3.0.1'."""
        return "-".join(self.folder.parts)


# In the order of the labels. tfds names the classes of EMNIST by number, and gives 'letters' 37
# classes, although only the labels 1 to 26 occur.
MERGED = (*digits, *ascii_uppercase, *"abdefghnqrt")
EMNIST_CLASSES = {
    "byclass": (*digits, *ascii_uppercase, *ascii_lowercase),
    "bymerge": MERGED,
    "balanced": MERGED,
    "letters": ("0", *ascii_uppercase, *map(str, range(27, 37))),
    "digits": tuple(digits),
    "mnist": tuple(digits),
}
EMNIST = [
    Dataset(
        f"emnist/{config}",
        "3.1.0",
        "mnist_jax.data.builder:Emnist",
        class_names=names,
        transposed=True,
        ink=Ink(longest=24, by_mass=False),
    )
    for config, names in EMNIST_CLASSES.items()
]
# The versions are repeated here because asking tfds for them would import it at every start.
DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "mnist",
            "3.0.1",
            "mnist_jax.data.builder:Mnist",
            "bd58c4704eea5663d1e60918ceccceebe201a1af6e8a8ebe8c86a631515c2c48",
            ink=Ink(longest=20, by_mass=True),
        ),
        Dataset("fashion_mnist", "3.0.1", "mnist_jax.data.builder:FashionMnist"),
        Dataset("kmnist", "3.0.1", "mnist_jax.data.builder:Kmnist"),
        *EMNIST,
    )
} | {"emnist": EMNIST[0]}  # without a configuration, tfds takes the first


def find(name: str) -> Dataset:
    """Returns the data set `name`, which may be the user's own tfds builder 'package.module:Class'.

    Raises:
      UserError: there is no such data set or builder class.
    """
    if ":" in name:
        return _of_class(builder_class(name), name)
    if name not in DATASETS:
        similar = binding.did_you_mean(name.lower().replace("-", "_"), DATASETS)
        raise UserError(
            f"config.data.name: there is no data set {name!r}{similar} "
            "(name a tfds builder of your own as 'package.module:Class')"
        )
    return DATASETS[name]


def builder_class(path: str) -> Any:
    """Returns the tfds builder class named 'package.module:Class'.

    Raises:
      UserError: there is no such class, or it is not a tfds builder.
    """
    cls = binding.find(path, {}, "config.data.name")
    if not (hasattr(cls, "VERSION") and hasattr(cls, "BUILDER_CONFIGS")):
        raise UserError(f"config.data.name: {path!r} is not a tfds builder class")
    return cls


def _of_class(cls: Any, path: str) -> Dataset:
    """Returns the data set of a user's builder, in the builder's default configuration."""
    config = cls.default_builder_config
    version = (config and config.version) or cls.VERSION
    if version is None:
        raise UserError(f"config.data.name: {path!r} has no VERSION; define one in the class")
    name = f"{cls.name}/{config.name}" if config else cls.name
    return Dataset(name, str(version), path, code=code_digest.digest_of_class(cls))


def data_dir() -> Path:
    """Returns tfds' data directory: $TFDS_DATA_DIR if set, otherwise ~/tensorflow_datasets.

    A user without a home has a temporary folder instead.

    Raises:
      UserError: TFDS_DATA_DIR is a URL, not a local folder, or no usable path.
    """
    value = os.environ.get("TFDS_DATA_DIR")
    return local_path(value, "TFDS_DATA_DIR").absolute() if value else home.data()


def own_dir() -> Path:
    """Returns the folder inside tfds' data directory that holds this project's own files."""
    return data_dir() / "mnist_jax"
