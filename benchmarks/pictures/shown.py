"""Makes the pictures of README: the report, the page, and a contact sheet.

python -m benchmarks.pictures.shown --workdir=runs/cnn      needs Chromium; writes docs/pictures/
"""

import subprocess
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import readme
from benchmarks.browser import Browser, browser
from benchmarks.pictures import hands

FOLDER = readme.ROOT / "docs" / "pictures"
WIDTH, COLOURS = 900, 200
DRAWN = 3  # the digit on the page


def _command(name: str, *arguments: str) -> None:
    module = [sys.executable, "-m", f"mnist_jax.{name}", *arguments]
    subprocess.run(module, cwd=readme.ROOT, check=True, stdout=subprocess.DEVNULL)


def _draw(page: Browser, digit: int) -> None:
    left, top, side = page.run(
        "(() => { const its = document.querySelector('[data-pad=board]').getBoundingClientRect();"
        "return [its.left, its.top, its.width]; })()"
    )
    for stroke in hands.written(digit, hands.HANDS[0], np.random.default_rng(0)):
        page.draw(
            [(left + side * (0.5 + 0.6 * x), top + side * (0.5 + 0.6 * y)) for x, y in stroke]
        )
    page.run("window.drawing.predict()")


def _save(image: Image.Image, name: str) -> None:
    """Saves a picture with few colours, which keeps the repository small."""
    image.convert("RGB").quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)


def pages(workdir: Path, folder: Path) -> None:
    """Takes pictures of the report and of the page, on which it draws a digit."""
    _command("demo", f"--workdir={workdir}", "--no_open")
    with browser(folder) as page:
        for name, file, height in (("report", "report.html", 1420), ("page", "demo.html", 500)):
            page.open(workdir / file, width=WIDTH, height=height)
            page.wait("window.drawing !== undefined")
            _draw(page, DRAWN)
            page.screenshot(folder / f"{name}.png")
            _save(Image.open(folder / f"{name}.png"), name)


def contact_sheet(workdir: Path, folder: Path) -> None:
    """Predicts a drawing of each medium, and keeps the sheet that `predict --show` draws."""
    rng = np.random.default_rng(0)
    for number, medium in enumerate(hands.MEDIA):
        for digit in (2 * number, 2 * number + 1):
            picture = hands.picture(digit, hands.HANDS[number % len(hands.HANDS)], medium, rng)
            picture.save(folder / f"drawing-{digit}.png")
    _command("predict", f"--workdir={workdir}", f"{folder}/drawing-*.png", "--show")
    _save(Image.open(workdir / "predictions" / "contact-sheet-1.png"), "contact_sheet")


def main() -> None:
    """Makes all of them."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        pages(arguments.workdir.resolve(), Path(name))
        contact_sheet(arguments.workdir.resolve(), Path(name))


if __name__ == "__main__":
    main()
