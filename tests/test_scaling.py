"""How the time of a step grows: what is timed, what is made of the numbers."""

import json

import pytest

from benchmarks import measured, readme
from benchmarks.scaling import plot
from benchmarks.scaling.__main__ import write
from benchmarks.scaling.tables import table
from mnist_jax.errors import UserError
from tests.commands import benchmark

pytestmark = pytest.mark.slow

SAID = {
    "date": "2030-01-02",
    "device": "CPU of glass, 2 cores",
    "versions": {"python": "3.13.0", "jax": "0.12"},
    "commit": "abc",
}


def point(dimension: str, network: str, size: int, seconds: float, images: int) -> dict:
    """The median is `seconds`, the quartiles are a tenth of it away."""
    times = [seconds * factor for factor in (0.5, 0.9, 1.0, 1.1, 7.0)]
    return {
        "dimension": dimension,
        "network": network,
        "size": size,
        "images": images,
        "seconds": times,
    }


@pytest.fixture
def found():
    """A batch that takes 1.5 times as long where it doubles; devices that share the work."""
    points = [point("batch", "mlp", 16 << i, 1e-3 * 1.5**i, 16 << i) for i in range(3)]
    points += [point("batch", "cnn", 16, 20e-3, 16), point("batch", "cnn", 64, 80e-3, 64)]
    points += [point("width", "mlp", 64, 1e-3, 128), point("population", "mlp", 1, 1e-3, 128)]
    points += [point("devices", "mlp", 1, 4e-3, 1024), point("devices", "mlp", 2, 2e-3, 1024)]
    return {"conditions": SAID, "quick": False, "points": points}


def cells(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_says_how_time_grows_where_a_size_doubles(found):
    text = table(found)
    first, *batch = cells(text, "64")
    assert first == "64"
    assert batch[:3] == ["2.25 ± 0.225", "28,444", "1.50"]  # 64 images in 2.25 ms
    assert batch[3:] == ["80.0 ± 8.00", "800", "2.00"]  # four times the size: twice, a doubling
    assert cells(text, "16")[3] == ""  # nothing before it
    assert cells(text, "2")[-1] == "0.50"  # devices
    assert "CPU of glass, 2 cores" in text
    assert "commit abc" in text


def test_the_picture_has_a_panel_for_each_dimension(found, tmp_path):
    path = plot.draw(found, tmp_path / "new" / "scaling.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    one = {**found, "points": found["points"][:2]}
    assert plot.draw(one, tmp_path / "one.png").read_bytes() != path.read_bytes()


def test_what_is_written_is_read_again(found, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    page = tmp_path / "benchmarks" / "README.md"
    page.write_text("<!-- scaling: start -->\nold\n<!-- scaling: end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    write(found)
    assert json.loads((tmp_path / "measured" / "scaling.json").read_text()) == found
    assert (tmp_path / "measured" / "scaling.png").exists()
    assert "old" not in page.read_text()
    assert table(found) in page.read_text()


@pytest.mark.parametrize("part", [{"quick": True}, {"points": []}])
def test_what_is_not_the_whole_is_not_written(found, part):
    with pytest.raises(UserError, match="full runs"):
        write(found | part)


def test_the_command_measures_in_turn_and_keeps_all_of_it(tmp_path):
    file, picture = tmp_path / "found.json", tmp_path / "found.png"
    options = ["--quick", "--only", "population", "devices"]
    done = benchmark("scaling", *options, f"--json={file}", f"--plot={picture}")
    found = json.loads(file.read_text())
    sizes = [(p["dimension"], p["size"], p["images"]) for p in found["points"]]
    assert sizes == [
        ("population", 1, 128),
        ("population", 4, 512),
        ("devices", 1, 1024),
        ("devices", 2, 1024),
    ]
    assert all(len(p["seconds"]) == 5 and min(p["seconds"]) > 0 for p in found["points"])
    assert found["conditions"]["versions"]["jax"]
    assert picture.exists()
    again = benchmark("scaling", f"--from={file}")  # the same table, and nothing is measured
    assert again.stdout in done.stdout
