"""The data sets that a configuration can name, and the folders that hold their files."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax import binding
from mnist_jax.errors import UserError

PACKAGED_FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Dataset:
    """A tfds data set: its name, version, builder class and, if known, the digest of its examples.

    `builder` names the class that prepares the data set, as 'module:Class'. `sha256` is the digest
    of all decoded examples in tfds' order (`cache.digest`), or None if it is not known in advance.
    `config` is the name of the builder's default configuration, empty if the builder has none.
    """

    name: str
    version: str
    builder: str
    sha256: str | None = None
    config: str = ""

    @property
    def folder(self) -> Path:
        """The data set's folder, relative to tfds' data directory."""
        return Path(self.name, self.config, self.version)

    @property
    def label(self) -> str:
        """The stem of the names of the cache and lock files, e.g. 'mnist-3.0.1'."""
        return "-".join(self.folder.parts)


# The versions are repeated here because asking tfds for them would import it at every start.
DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "mnist",
            "3.0.1",
            "mnist_jax.data.builder:Mnist",
            "bd58c4704eea5663d1e60918ceccceebe201a1af6e8a8ebe8c86a631515c2c48",
        ),
        Dataset("fashion_mnist", "3.0.1", "mnist_jax.data.builder:FashionMnist"),
        Dataset("kmnist", "3.0.1", "mnist_jax.data.builder:Kmnist"),
    )
}


def find(name: str) -> Dataset:
    """Returns the data set `name`, which may be the user's own tfds builder 'package.module:Class'.

    Raises:
      UserError: there is no such data set or builder class.
    """
    if name in DATASETS:
        return DATASETS[name]
    if ":" in name:
        return _of_class(builder_class(name), name)
    close = difflib.get_close_matches(name.lower().replace("-", "_"), DATASETS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UserError(
        f"config.data.name: there is no data set {name!r}{hint} Known: {', '.join(DATASETS)}; "
        "or your own tfds builder as 'package.module:Class'"
    )


def builder_class(path: str) -> Any:
    """Returns the tfds builder class named 'package.module:Class'.

    Raises:
      UserError: there is no such class, or it is not a tfds builder.
    """
    cls = binding.find(path, {}, "config.data.name")
    if not (hasattr(cls, "name") and hasattr(cls, "VERSION")):
        raise UserError(f"config.data.name: {path!r} is not a tfds builder class")
    return cls


def _of_class(cls: Any, path: str) -> Dataset:
    """Returns the data set of a user's builder, in the builder's default configuration."""
    configs = {config.name: config for config in getattr(cls, "BUILDER_CONFIGS", ())}
    default = getattr(cls, "DEFAULT_BUILDER_CONFIG_NAME", None) or next(iter(configs), "")
    config = configs.get(default)
    version = getattr(config, "version", None) or cls.VERSION
    if version is None:
        raise UserError(f"config.data.name: {path!r} has no VERSION; define one in the class")
    return Dataset(cls.name, str(version), path, config=config.name if config else "")


def data_dir() -> Path:
    """Returns tfds' data directory: $TFDS_DATA_DIR if set, otherwise ~/tensorflow_datasets.

    Raises:
      UserError: TFDS_DATA_DIR is a URL, not a local folder.
    """
    value = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in value:
        raise UserError(f"TFDS_DATA_DIR: {value!r} is a URL; set it to a local folder")
    return Path(value).expanduser().absolute()


def own_dir() -> Path:
    """Returns the folder inside tfds' data directory that holds this project's own files."""
    return data_dir() / "mnist_jax"
