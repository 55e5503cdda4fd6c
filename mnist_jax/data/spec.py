"""What a network needs to know about a data set: the image shape and the classes."""

from dataclasses import dataclass

DIGITS = tuple("0123456789")  # the names of the classes of handwritten digits


@dataclass(frozen=True)
class Spec:
    """The shape of a data set's images, and the names of its classes in the labels' order."""

    image_shape: tuple[int, int, int]  # height, width, channels
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """The number of classes; labels run from 0 to `num_classes - 1`."""
        return len(self.class_names)


@dataclass(frozen=True)
class Ink:
    """How handwriting lies in the images of a data set: light on black, in the middle.

    The longest side of the ink has always the same length. The middle is the ink's centre of mass,
    or else that of its box.
    """

    longest: int  # in pixels
    by_mass: bool
