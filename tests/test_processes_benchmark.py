"""The model of a step over many devices, on times that are made up by the model itself."""

import json
import re

import pytest

from benchmarks import measured, readme
from benchmarks.processes import __main__ as command
from benchmarks.processes import tables
from benchmarks.processes.model import Line, Link, fitted, step, strong, weak
from benchmarks.processes.points import POINTS, POPULATIONS
from tests.commands import benchmark

COMPUTE = {"mlp": Line(1e-4, 1e-5), "cnn": Line(1e-3, 2e-4)}
WIDTHS, POPULATION = Line(2e-4, 3e-6), Line(1e-4, 9e-4)
LINK = Link("made up", 1e-3, 2e-9)


def found(*, late: float = 1.0):
    """Measurements as the model has them; those of two processes are `late` times as long."""
    alone, pair = [], []
    for point in POINTS:
        own = WIDTHS(point.width) if point.width else COMPUTE[point.network](point.batch)
        both = own + LINK.reduce(2, tables.gradient(point))
        alone.append(point.record() | {"seconds": [own, 0.9 * own, 1.1 * own]})
        held = late if point.held_out else 1.0
        pair.append(point.record() | {"seconds": [both * held]})
    alone += [{"members": m, "compiling": 2.0, "seconds": [POPULATION(m)]} for m in POPULATIONS]
    alone.append({"read": 1000, "seconds": [0.5]})
    return {
        "conditions": measured.load("scaling")["conditions"],
        "quick": False,
        "alone": alone,
        "pair": pair,
    }


def test_a_line_is_found_again():
    line = fitted([(x, Line(3.0, 0.5)(x)) for x in (1, 10, 100)])
    assert (line.start, line.slope) == (pytest.approx(3.0), pytest.approx(0.5))


def test_a_ring_sends_nothing_alone_and_each_byte_twice_in_the_end():
    assert LINK.reduce(1, 10**9) == 0.0
    assert LINK.reduce(2, 0) == LINK.latency
    no_latency = Link("", 0.0, 1e-9)
    assert no_latency.reduce(2, 1000) == pytest.approx(1e-6)
    assert no_latency.reduce(10**6, 1000) == pytest.approx(2e-6, rel=1e-5)


def test_efficiency_is_1_without_cost_and_falls_with_devices():
    free, size = Link("", 0.0, 0.0), 400_000
    assert weak(Line(1.0, 1.0), free, size, 64, 128) == 1.0
    assert strong(Line(0.0, 1.0), free, size, 64, 8192) == pytest.approx(1.0)
    assert strong(Line(1.0, 0.0), free, size, 64, 8192) == pytest.approx(1 / 64)
    shares = [weak(COMPUTE["mlp"], LINK, size, devices, 128) for devices in (1, 8, 64)]
    assert shares == sorted(shares, reverse=True)


def test_reading_decides_where_it_takes_longer():
    compute, free = Line(0.0, 1e-5), Link("", 0.0, 0.0)
    assert step(compute, free, 0, 1, 100, read=1e-6) == pytest.approx(1e-3)
    assert step(compute, free, 0, 1, 100, read=1e-4) == pytest.approx(1e-2)


def test_the_fit_finds_what_made_the_times():
    its = tables.fit(found())
    assert its.compute["cnn"].slope == pytest.approx(2e-4)
    assert its.link.latency == pytest.approx(1e-3, rel=1e-6)
    assert its.link.seconds_per_byte == pytest.approx(2e-9, rel=1e-6)
    assert its.read == 0.0005
    assert tables.worst(found()) == 0.0


def test_held_out_points_are_not_fitted_and_their_errors_are_told():
    text = tables.sections(found(late=2.0))["held-out"]
    assert re.search(r"784-512-10 \| 128 \| 2 .* -50% \|", text)
    assert tables.worst(found(late=2.0)) == 0.5
    assert tables.fit(found(late=2.0)) == tables.fit(found())


def test_a_prediction_that_is_wrong_is_not_published(tmp_path):
    file = tmp_path / "found.json"
    file.write_text(json.dumps(found(late=1.5)))
    page = (readme.ROOT / command.FILE).read_text()
    message = benchmark("processes", f"--from={file}", "--write", status=1).stderr
    assert "error: --write: a prediction is wrong by 33%" in message
    assert (readme.ROOT / command.FILE).read_text() == page


def test_times_that_no_link_has_are_not_published():
    wrong = found()
    for row in wrong["pair"]:
        row["seconds"] = [1e-6]
    assert tables.worst(wrong) == float("inf")


def test_the_page_has_the_tables_of_the_measurements():
    page = (readme.ROOT / command.FILE).read_text()
    its = measured.load("processes")
    assert tables.worst(its) <= command.LARGEST
    for name, text in tables.sections(its).items():
        assert f"<!-- {name}: start -->\n{text}\n<!-- {name}: end -->" in page
