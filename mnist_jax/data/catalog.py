"""The data sets that can be named, and where their files lie."""

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
    """A data set of tfds.

    `builder` is the class that prepares it, as 'module:Class'. `sha256` is the digest of all
    decoded examples in tfds' order (`cache.digest`); None where it is not known beforehand.
    `config` is the name of tfds' configuration, if the builder has several: the default one.
    """

    name: str
    version: str
    builder: str
    sha256: str | None = None
    config: str = ""

    @property
    def folder(self) -> Path:
        """Where tfds keeps it, inside its data directory."""
        return Path(self.name, self.config, self.version)

    @property
    def label(self) -> str:
        """What its files beside tfds' are named after."""
        return "-".join(self.folder.parts)


# Versions are repeated here because asking tfds for them would cost every start its import.
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
    """The data set called `name`, or the user's own tfds builder named as 'package.module:Class'.

    Raises UserError for a name that means nothing.
    """
    if name in DATASETS:
        return DATASETS[name]
    if ":" in name:
        return _of_class(builder_class(name), name)
    close = difflib.get_close_matches(name.lower().replace("-", "_"), DATASETS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(
        f"There is no data set {name!r}.{hint} Known: {', '.join(DATASETS)}; "
        "or your own tfds builder as 'package.module:Class'."
    )


def builder_class(path: str) -> Any:
    """The tfds builder class at 'package.module:Class'; UserError where there is none."""
    cls = binding.find(path, {}, "config.data.name")
    if not (hasattr(cls, "name") and hasattr(cls, "VERSION")):
        raise UserError(f"config.data.name: {path!r} is not a tfds builder class.")
    return cls


def _of_class(cls: Any, path: str) -> Dataset:
    """The data set of a user's builder, in the configuration that tfds takes if none is named."""
    configs = {config.name: config for config in getattr(cls, "BUILDER_CONFIGS", ())}
    default = getattr(cls, "DEFAULT_BUILDER_CONFIG_NAME", None) or next(iter(configs), "")
    config = configs.get(default)
    version = getattr(config, "version", None) or cls.VERSION
    if version is None:
        raise UserError(f"config.data.name: {path!r} has no VERSION")
    return Dataset(cls.name, str(version), path, config=config.name if config else "")


def data_dir() -> Path:
    """tfds' data directory: the environment's TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    value = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in value:
        raise UserError(f"TFDS_DATA_DIR is {value!r}: it must be a local folder.")
    return Path(value).expanduser().absolute()


def own_dir() -> Path:
    """The folder inside tfds' data directory that holds what tfds does not know of."""
    return data_dir() / "mnist_jax"
