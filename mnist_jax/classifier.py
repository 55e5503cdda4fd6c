"""A trained network that classifies images and pictures, and what it predicts."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from mnist_jax import data
from mnist_jax.analysis.run.evaluation import evaluate
from mnist_jax.config import Config
from mnist_jax.data import Spec
from mnist_jax.door import door
from mnist_jax.errors import UserError, print_warning
from mnist_jax.evaluations.split import examined
from mnist_jax.pictures import files, prediction
from mnist_jax.pictures.picture import UNIT, Picture, on_white
from mnist_jax.training import network
from mnist_jax.training.restored import Restored

DARKEST = 1.01 / 255  # the largest float of images that were divided by 255 twice
BATCH, FEW = 500, 50  # images per call of the network in `Classifier.predict`, and if there are few


@dataclass(frozen=True)
class Predictions:
    """The predicted labels and class probabilities of n images."""

    labels: np.ndarray  # [n] int32: the most probable class; on ties the lowest label
    probabilities: np.ndarray  # [n, K] float32; each row sums to 1


@dataclass(frozen=True, eq=False)
class PicturePredictions:
    """The predictions of n picture files, in the order of the files."""

    files: list[str]
    labels: np.ndarray  # [n] int32: the most probable class; -1 without ink or after an error
    probabilities: np.ndarray  # [n, K] float32; NaN without ink or after an error
    images: np.ndarray  # [n, H, W, C] uint8: what the network saw; 0 without ink or after an error
    unsure: np.ndarray  # [n] bool: there is a label, but its probability is low
    errors: list[str]  # what was wrong with a file; empty if nothing

    @classmethod
    def of(cls, seen: list[prediction.Prediction], spec: Spec) -> "PicturePredictions":
        """Collects predictions of single pictures into arrays."""
        n, nothing = len(seen), np.full(spec.num_classes, np.nan, np.float32)
        p = [nothing if its.probabilities is None else its.probabilities for its in seen]
        empty = np.zeros(spec.image_shape, np.uint8)
        images = [empty if its.image is None else its.image for its in seen]
        return cls(
            files=[its.file for its in seen],
            labels=np.array([-1 if its.digit is None else its.digit for its in seen], np.int32),
            probabilities=np.array(p, np.float32).reshape(n, spec.num_classes),
            images=np.array(images, np.uint8).reshape(n, *spec.image_shape),
            unsure=np.array([its.unsure for its in seen], bool),
            errors=[its.error for its in seen],
        )


@dataclass(frozen=True)
class Classifier:
    """A trained network that classifies images and can be evaluated."""

    network: network.Network
    restored: Restored

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes, in the order of their labels."""
        return self.restored.spec.class_names

    @property
    def config(self) -> Config:
        """The configuration with which the network was trained."""
        return self.restored.config

    @property
    def weights(self) -> dict[str, Any]:
        """The weights: nested dicts of arrays under the keys `params` and `variables`."""
        return self.restored.weights

    @door
    def predict(self, images: Any) -> Predictions:
        """Predicts the labels and the class probabilities of images.

        Args:
          images: `[n, H, W]` or `[n, H, W, C]`, of the data set's shape: uint8 from 0 to 255, or
            floats from 0 to 1.

        Raises:
          ValueError: the images have another shape or type, or contain NaN or floats outside
            [0, 1]; or a predicted probability is not finite.
        """
        found = self._probabilities(images)
        _warn_of_darkness(np.asarray(images))
        return Predictions(found.argmax(axis=1).astype(np.int32), found)

    def _probabilities(self, images: Any) -> np.ndarray:
        """Returns the probabilities `[n, K]` for images, as `predict` takes them."""
        images = self._as_floats(images)
        found = np.zeros((len(images), len(self.class_names)), np.float32)
        size = FEW if len(images) <= FEW else BATCH
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            padded = np.zeros((size, *images.shape[1:]), np.float32)
            padded[: len(batch)] = batch
            p = np.asarray(self.restored.probabilities(jnp.asarray(padded)))
            found[start : start + size] = p[: len(batch)]
        if not np.isfinite(found).all():
            raise UserError(f"{self.network.title}: a predicted probability is not finite")
        return found

    @door
    def predict_pictures(self, pictures: Any) -> PicturePredictions:
        """Predicts what picture files show, as `python -m mnist_jax.predict` does.

        A network of handwriting sees each picture prepared as its data set was made, another one
        the picture resized.

        Args:
          pictures: the path of a picture, a folder or a pattern such as `scans/*.png`, or a list of
            these.

        Returns:
          A prediction for each file. One that cannot be read has an error, and the others go on.

        Raises:
          ValueError: the network's images have neither one channel nor three, or a predicted
            probability is not finite.
        """
        names = [pictures] if isinstance(pictures, str | os.PathLike) else pictures
        seen = []
        for its in self.each_picture(names):
            seen.append(dataclasses.replace(its, picture=None))  # bounds the memory
        return PicturePredictions.of(seen, self.restored.spec)

    def each_picture(self, names: Iterable[Any]) -> Iterator[prediction.Prediction]:
        """Yields the prediction of each picture file that the names stand for, in their order.

        Raises:
          UserError: as in `predict_pictures`.
        """
        ink, shape = data.ink(self.config.data.name), self.restored.spec.image_shape
        return prediction.predict(files.find(names), shape, ink, self._probabilities)

    def test_image(self, number: int) -> prediction.Prediction:
        """Returns the prediction of an image of the test split, the first of which is number 0.

        Raises:
          UserError: there is no such image.
        """
        images = data.load(self.config.data.name, "test").images
        if not 0 <= number < len(images):
            raise UserError(
                f"--test_image={number}: the images of the test split are 0 to {len(images) - 1}"
            )
        image = images[number]
        picture = Picture(on_white(image).astype(np.float64) * UNIT)
        seen = prediction.Prediction(f"test[{number}]", picture=picture, image=image)
        return next(prediction.with_probabilities([seen], self._probabilities))

    @door
    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Evaluates the network on a split and returns the results; writes no files.

        Args:
          split: any split string of TensorFlow Datasets, such as `test` or `train[55000:]`.

        Returns:
          The results, with the keys of `evaluation.json`.

        Raises:
          ValueError: the split does not exist or is empty, or an output is not finite.
        """
        figures = evaluate(examined(self.restored, split))
        return figures | {"checkpoint": self.restored.step}

    def _as_floats(self, images: Any) -> np.ndarray:
        """Returns the images as float32 `[n, H, W, C]` from 0 to 1.

        Raises:
          UserError: the images have another shape or type, or contain NaN or floats outside [0, 1].
        """
        images = np.asarray(images)
        shape, given = self.restored.spec.image_shape, list(images.shape)
        if shape[-1] == 1 and images.ndim == 3:
            images = images[..., None]
        if images.ndim != 4 or images.shape[1:] != shape:
            grey = f" or [n, {shape[0]}, {shape[1]}]" if shape[-1] == 1 else ""
            raise UserError(
                f"images: expected the shape [n, {', '.join(map(str, shape))}]{grey}, got {given}"
            )
        if images.dtype == np.uint8:
            return images.astype(np.float32) / np.float32(255.0)
        if not np.issubdtype(images.dtype, np.floating):
            raise UserError(
                f"images: expected uint8 from 0 to 255, or floats from 0 to 1, got {images.dtype}"
            )
        if images.size and not (images.min() >= 0.0 and images.max() <= 1.0):  # NaN fails, too
            raise UserError(
                f"images: floats must be from 0 to 1, got values from {images.min()} to "
                f"{images.max()}; if they are from 0 to 255, divide by 255"
            )
        return images.astype(np.float32)


def _warn_of_darkness(images: np.ndarray) -> None:
    """Prints a warning if images are as dark as if they were divided by 255 once too often."""
    top = images.max() if images.size else 0
    if 0 < top <= (1 if images.dtype == np.uint8 else DARKEST):
        print_warning(
            f"images: the largest value is {top:.3g}, which is nearly black; expected uint8 from 0 "
            f"to 255, or floats from 0 to 1. Were they divided by 255 too often?"
        )
