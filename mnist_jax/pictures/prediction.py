"""What a network predicts of picture files, one prediction per file."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_jax.data.spec import Ink
from mnist_jax.errors import UserError
from mnist_jax.pictures import UNSURE
from mnist_jax.pictures.files import File
from mnist_jax.pictures.picture import Picture
from mnist_jax.pictures.prepared import prepare
from mnist_jax.pictures.reading import read

BATCH = 50  # pictures that are read before the network is called

Classify = Callable[[np.ndarray], np.ndarray]  # images [n, H, W, C] uint8 to probabilities [n, K]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network predicts of one picture: a class, nothing without ink, or an error."""

    file: str
    error: str = ""
    picture: Picture | None = None  # None after an error
    image: np.ndarray | None = None  # [H, W, C] uint8: what the network saw; None without ink
    probabilities: np.ndarray | None = None  # [K] float32; None without ink

    @property
    def digit(self) -> int | None:
        """The most probable class, by its index; None without ink or after an error."""
        return None if self.probabilities is None else int(self.probabilities.argmax())

    @property
    def probability(self) -> float | None:
        """The probability of `digit`."""
        return None if self.probabilities is None else float(self.probabilities.max())

    @property
    def unsure(self) -> bool:
        """True if there is a digit, but it has a low probability."""
        return self.probability is not None and self.probability < UNSURE

    def record(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Returns the prediction as the fields of a JSON object."""
        if self.error:
            return {"file": self.file, "error": self.error}
        return {
            "file": self.file,
            "digit": self.digit,
            "probability": self.probability,
            "label": None if self.digit is None else class_names[self.digit],
            "unsure": self.unsure,
        }

    def verdict(self, class_names: tuple[str, ...]) -> str:
        """Returns the prediction as text, such as `7 (99.3 %)`."""
        if self.error:
            return f"error: {self.error}"
        if self.digit is None:
            return "no digit: the picture has no ink"
        said = f"{class_names[self.digit]} ({100 * (self.probability or 0.0):.1f} %)"
        return f"{said} (unsure)" if self.unsure else said


def predict(
    files: Iterable[File], shape: tuple[int, int, int], ink: Ink | None, classify: Classify
) -> Iterator[Prediction]:
    """Yields a prediction for each file, in their order; memory stays bounded.

    Args:
      files: the files.
      shape: of the network's images: height, width, channels.
      ink: how handwriting lies in these, or None.
      classify: the network.

    Raises:
      UserError: pictures cannot be made into images of this many channels.
    """
    if shape[-1] not in (1, 3):
        raise UserError(
            f"pictures have one channel (grey) or three (colours), but the images of this network "
            f"have {shape[-1]}; prepare them yourself, and call predict() from Python"
        )
    files = iter(files)
    while part := list(itertools.islice(files, BATCH)):
        seen = [_look(file, shape, ink) for file in part]
        yield from with_probabilities(seen, classify)


def _look(file: File, shape: tuple[int, int, int], ink: Ink | None) -> Prediction:
    """Reads and prepares a picture."""
    if file.path is None:
        return Prediction(file.name, file.error)
    try:
        picture = read(file.path)
    except UserError as error:
        return Prediction(file.name, str(error))
    return Prediction(file.name, picture=picture, image=prepare(picture, shape, ink))


def with_probabilities(seen: list[Prediction], classify: Classify) -> Iterator[Prediction]:
    """Yields predictions with the probabilities of their images."""
    images = [its.image for its in seen if its.image is not None]
    found = iter(classify(np.stack(images)) if images else ())
    for its in seen:
        p = None if its.image is None else next(found)
        yield Prediction(its.file, its.error, its.picture, its.image, p)
