"""Writes networks to files for other programs, each compared with the network first."""

from dataclasses import dataclass
from pathlib import Path

from mnist_jax.exporting import safetensors, stablehlo
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import make_folder, write_bytes

FORMATS = {"stablehlo": stablehlo, "safetensors": safetensors}


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares with the network."""

    path: Path
    difference: float  # largest, between probabilities
    remark: str  # on how the file can be used; may be empty


def write(trained: Trained, kind: str, folder: Path) -> Exported:
    """Writes a network to a file of one of `FORMATS`, after checking it on test images.

    Args:
      trained: the network.
      kind: one of `FORMATS`.
      folder: created if it does not exist.

    Raises:
      UserError: a package is missing, the network cannot be exported, the file would give other
        probabilities, or it cannot be written.
    """
    its = FORMATS[kind]
    content, remark = its.content(trained)
    difference = trained.check(its.reader(content), f"--format={kind}")
    make_folder(folder)
    path = folder / f"model{its.SUFFIX}"
    write_bytes(path, content)
    return Exported(path, difference, remark)
