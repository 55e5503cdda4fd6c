"""Predicts what picture files show, and prints one line per picture.

  python -m mnist_jax.predict --workdir=runs/cnn digit.png photograph.jpg
  python -m mnist_jax.predict --workdir=runs/cnn scans/ 'more/*.png' --json
  python -m mnist_jax.predict --workdir=runs/cnn scans/ --show
  python -m mnist_jax.predict --workdir=runs/cnn --test_image=7

Reads PNG, JPEG, WebP, GIF, TIFF and BMP; of a folder, the pictures directly in it. For MNIST a
digit is cut out, made light on black, scaled and centred, as MNIST's digits were; a grey picture of
28 x 28 pixels, light on dark and centred, stays as it is. Exits with status 1 if a picture cannot
be read; the others are predicted all the same. Changes no files, except for the pictures of --show.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from mnist_jax.commands import cli
from mnist_jax.errors import UserError


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help="a file, a folder or a quoted pattern"
    )
    parser.add_argument(
        "--test_image", type=int, metavar="N", help="predict image N, from 0, of the test split"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    parser.add_argument(
        "--show",
        action="store_true",
        help="draw each picture, what the network saw, and its probabilities: DIR/predictions/",
    )
    cli.add_checkpoint(parser)
    cli.add_member(parser)


def main(arguments: Namespace) -> int:
    """Prints a line for each picture as it is predicted; returns the exit status."""
    if not arguments.pictures and arguments.test_image is None:
        raise UserError("name pictures or folders to predict, or --test_image=N")
    from mnist_jax import data  # imported late: --help does not need it
    from mnist_jax.training import network

    found = network.find(arguments.workdir, arguments.member, arguments.seed)
    data.read_ahead(found.config.data.name)
    cli.experiment()
    from mnist_jax.classifier import Classifier
    from mnist_jax.compilation import keep_programs
    from mnist_jax.training.restored import restore

    keep_programs()
    classifier = Classifier(found, restore(found, arguments.checkpoint))
    sheets = None
    if arguments.show:
        from mnist_jax.analysis.contact_sheet import ContactSheets

        sheets = ContactSheets(classifier.class_names, found.output / "predictions")
    failed = count = 0
    for its in _predictions(classifier, arguments):
        record, verdict = its.record(classifier.class_names), its.verdict(classifier.class_names)
        print(json.dumps(record) if arguments.json else f"{its.file}: {verdict}", flush=True)
        count, failed = count + 1, failed + bool(its.error)
        if sheets:
            sheets.add(its)
    for path in sheets.finish() if sheets else ():
        print(path, file=sys.stderr if arguments.json else sys.stdout)
    if failed:
        print(f"error: {failed} of {count} pictures could not be read", file=sys.stderr)
    return int(failed > 0)


def _predictions(classifier: Any, arguments: Namespace) -> Iterator[Any]:
    if arguments.test_image is not None:
        yield classifier.test_image(arguments.test_image)
    yield from classifier.each_picture(arguments.pictures)


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
