"""The short form of `python -m benchmarks.reliability corruption`: some damages of each kind."""

import pytest

from benchmarks.reliability import corruption
from mnist_jax.training import checkpoint

# A reader that fails leaves orbax's own threads talking to a loop that is closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def rows():
    return corruption.measure(quick=True)


def test_no_damage_is_lost(rows):
    assert [line for row in rows for line in row.lost] == []
    assert all(row.tried >= 4 for row in rows)


def test_most_damage_is_detected(rows):
    every_bit, damaged, resumed, cache, prepared, _ = rows
    for row, word in ((every_bit, "detected"), (damaged, "detected"), (resumed, "set aside"),
                      (cache, "mended"), (prepared, "mended")):  # fmt: skip
        assert word in row.found


def test_a_reader_that_notices_nothing_is_told_of(tmp_path, monkeypatch):
    """Without digests, orbax loads flipped bits."""
    from benchmarks.reliability.fuzzing import bits, samples, watch

    place = tmp_path / "samples"
    place.mkdir()
    samples.make(place)
    monkeypatch.setattr(checkpoint, "_compare", lambda *_: None)
    monkeypatch.setattr(checkpoint, "_seal", lambda sealed: sealed_as_it_is(bits.smallest(place)))
    (tmp_path / "folder").mkdir()
    count = bits.count_of_bits(place)
    found = watch.here("bits:every_bit", tmp_path / "folder", place, range(3, count, 701))
    assert any("other values were loaded" in line for line in found.lost)


def sealed_as_it_is(folder) -> str:
    import json

    return json.loads((folder / checkpoint.METADATA).read_text())["custom_metadata"]["seal"]
