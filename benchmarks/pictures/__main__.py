"""Measures how often `predict` reads pictures right, and writes README's table of it.

  python -m benchmarks.pictures --workdir=runs/results/cnn-0 --quick    some of the pictures
  python -m benchmarks.pictures --workdir=runs/results/cnn-0 --write    updates README.md

The pictures are files: digits of the test split in eight styles, each as small as MNIST's images
and four times as large, and drawings that this script makes. What prepares them was tuned on
training digits and on drawings of other random numbers: --tuning measures those.
"""

import itertools
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mnist_jax
from benchmarks import measured, readme
from benchmarks.pictures import hands, styles
from mnist_jax import data
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

TEST, TUNING = "test", "train[55000:]"
MOST, FEW = 1000, 500  # digits per style; of a quick trial and in tuning
ZOOMS = 1, 4
ROUNDS, FEW_ROUNDS = 3, 2  # drawings of each digit by each hand in each medium
PART = 500  # files that are on the disk at a time
Found = dict[str, Any]
Drawn = Iterator[tuple[int, Image.Image]]  # labels and pictures


def measure(classifier: Any, quick: bool, tuning: bool) -> Found:
    """Measures the accuracy for each style and size, and for each medium."""
    found: Found = {"conditions": measured.conditions(), "quick": quick or tuning}
    split = data.load("mnist", TUNING if tuning else TEST)
    images = split.images[: FEW if found["quick"] else MOST, ..., 0]
    plain = classifier.predict(images).labels == split.labels[: len(images)]
    found |= {"plain": float(plain.mean()), "digits": len(images), "styles": [], "drawings": []}
    for name in styles.STYLES:
        row: Found = {"name": name}
        for zoom in ZOOMS:
            digits = _digits(images, split.labels, name, zoom)
            row[f"x{zoom}"] = _accuracy(classifier, digits, styles.suffix(name))
        found["styles"].append(row)
        print(row, flush=True)
    rounds = FEW_ROUNDS if found["quick"] else ROUNDS
    for name in hands.MEDIA:
        row: Found = {"name": name, "count": rounds * 10 * len(hands.HANDS)}
        row["accuracy"] = _accuracy(classifier, _drawings(name, rounds, int(tuning)), ".png")
        found["drawings"].append(row)
        print(row, flush=True)
    return found


def _digits(images: np.ndarray, labels: np.ndarray, style: str, zoom: int) -> Drawn:
    rng = np.random.default_rng(zoom)
    for image, label in zip(images, labels, strict=False):
        yield int(label), styles.STYLES[style](styles.enlarged(image, zoom), rng)


def _drawings(medium: str, rounds: int, seed: int) -> Drawn:
    rng = np.random.default_rng([seed, [*hands.MEDIA].index(medium)])
    for _ in range(rounds):
        for hand in hands.HANDS:
            for digit in range(10):
                yield digit, hands.picture(digit, hand, medium, rng)


def _accuracy(classifier: Any, pictures: Drawn, suffix: str) -> float:
    """Writes pictures as files, and returns the fraction that is read right."""
    right: list[bool] = []
    while part := [*itertools.islice(pictures, PART)]:
        with tempfile.TemporaryDirectory() as folder:
            for number, (_, picture) in enumerate(part):
                options: dict[str, Any] = (
                    {"quality": 60} if suffix == ".jpg" else {"compress_level": 1}
                )
                picture.save(Path(folder) / f"{number:05}{suffix}", **options)
            labels = classifier.predict_pictures(folder).labels
        right += [found == label for found, (label, _) in zip(labels, part, strict=True)]
    return float(np.mean(right))


def table(found: Found) -> str:
    """Returns the tables in Markdown, with the measuring conditions under them."""
    lines = [
        "| test digits as files | 28 x 28, % | 112 x 112, % |",
        "| --- | ---: | ---: |",
        f"| as they are | {100 * found['plain']:.2f} | |",
    ]
    for row in found["styles"]:
        cells = [f"{100 * row[f'x{zoom}']:.2f}" for zoom in ZOOMS]
        lines.append(f"| {_told(styles.STYLES[row['name']])} | {' | '.join(cells)} |")
    lines += ["", "| drawings | number | read right, % |", "| --- | ---: | ---: |"]
    for row in found["drawings"]:
        told = _told(hands.MEDIA[row["name"]])
        lines.append(f"| {told} | {row['count']} | {100 * row['accuracy']:.2f} |")
    return "\n".join([*lines, "", _note(found)])


def _told(function: Any) -> str:
    return function.__doc__.rstrip(".")


def _note(found: Found) -> str:
    sentence = measured.sentence(found["conditions"], "jax")
    return (
        f"The first {found['digits']:,} digits of the test split, drawings by {len(hands.HANDS)} "
        f"hands, and a network of `configs/cnn.py`. {sentence}"
    )


def write(found: Found) -> None:
    """Saves the measurements in benchmarks/measured/, and writes their tables into README.md.

    Raises:
      UserError: they are those of a quick trial or of the tuning.
    """
    if found["quick"]:
        raise UserError("--write: is only for full runs, without --quick and --tuning")
    measured.save(found, measured.FOLDER / "pictures.json")
    readme.replace("pictures", table(found))


def define(parser: ArgumentParser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="a finished run")
    parser.add_argument("--tuning", action="store_true", help="measure what the tuning may see")
    measured.define(
        parser, quick="some of the pictures", write="save the results and update README.md"
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them if asked to."""
    if not arguments.source and not arguments.workdir:
        raise UserError("--workdir: name a finished run, such as one of configs/cnn.py")

    def measure_it() -> Found:
        classifier = mnist_jax.load(arguments.workdir)
        return measure(classifier, arguments.quick, arguments.tuning)

    found = measured.find(arguments, measure_it, table)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
