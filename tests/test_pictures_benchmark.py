"""The benchmark of `predict`: its pictures, its table and what it writes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import measured, readme
from benchmarks.pictures import __main__ as benchmark
from benchmarks.pictures import hands, styles
from mnist_jax import data
from mnist_jax.errors import UserError


class Reader:
    """Calls the pictures of a folder 0, 1, 2, ..."""

    def predict_pictures(self, folder):
        self.labels = np.arange(len([*Path(folder).iterdir()]))
        return self


@pytest.fixture
def found():
    versions = {"python": "3.13.0", "jax": "0.12"}
    said = {"date": "2030-01-02", "device": "Abacus", "versions": versions, "commit": "abc"}
    names = [{"name": name, "x1": 0.99, "x4": 0.5} for name in styles.STYLES]
    drawn = [{"name": name, "count": 60, "accuracy": 0.75} for name in hands.MEDIA]
    rest = {"plain": 0.995, "digits": 10_000, "styles": names, "drawings": drawn}
    return {"conditions": said, "quick": False, **rest}


def test_the_table_has_a_row_for_each_style_and_medium(found):
    lines = benchmark.table(found).splitlines()
    assert "| Black on white | 99.00 | 50.00 |" in lines
    assert "| as they are | 99.50 | |" in lines
    assert sum("| 60 | 75.00 |" in line for line in lines) == len(hands.MEDIA)
    assert "The first 10,000 digits" in lines[-1]


def test_a_quick_trial_is_not_written(found, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("<!-- pictures: start -->\n<!-- pictures: end -->")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    benchmark.write(found)
    assert "| 99.00 | 50.00 |" in (tmp_path / "README.md").read_text()
    assert measured.load("pictures") == found
    with pytest.raises(UserError, match="without --quick"):
        benchmark.write(found | {"quick": True})


def test_accuracy_counts_what_is_read_right(monkeypatch):
    """Each picture counts, also where they are written in parts."""
    picture = hands.picture(1, hands.HANDS[0], "pad", np.random.default_rng(0))
    for part in (3, 6, 100):
        monkeypatch.setattr(benchmark, "PART", part)
        pictures = ((number % part if number else 7, picture) for number in range(6))
        assert benchmark._accuracy(Reader(), pictures, ".png") == pytest.approx(5 / 6)


@pytest.mark.parametrize("style", styles.STYLES)
def test_each_style_shows_the_digit(style):
    image = data.load("mnist", "train").images[0, ..., 0]
    for zoom in (1, 4):
        ink = styles.enlarged(image, zoom)
        picture = styles.STYLES[style](ink, np.random.default_rng(0))
        assert min(picture.size) >= 28 * zoom
        assert len(np.unique(np.asarray(picture.convert("RGBA")))) > 10
    np.testing.assert_allclose(styles.enlarged(image, 1) * 255, image)
