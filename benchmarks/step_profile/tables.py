"""Formats the measurements as text."""

import statistics
from typing import Any

import numpy as np

from benchmarks import measured
from benchmarks.step_profile.timed import REPEATS

ROWS = 12  # rows in the table of instructions, those that write the most bytes


def report(found: dict[str, Any]) -> str:
    """Returns the tables of all configurations, with the measuring conditions under them."""
    parts = [_profile(profile) for profile in found["profiles"]]
    note = f"Medians of {REPEATS} repeats, taken in turn, ± half the interquartile range. "
    return "\n\n\n".join([*parts, note + measured.sentence(found["conditions"])])


def _profile(found: dict[str, Any]) -> str:
    """Returns the tables of one configuration, at most 100 characters wide."""
    limit = statistics.median(found["limit"])
    whole = statistics.median(found["pieces"][-1]["until"])
    flops = sum(layer["gradient_flops"] for layer in found["layers"])
    head = (
        f"{found['config']}: {1e3 * whole:.3f} ms per step of {found['batch_size']} images, "
        f"{found['batch_size'] / whole:,.0f} images/s\n"
        f"The layers take {flops / 1e9:.3f} GFLOP per step, as XLA counts them. The step takes "
        f"{whole * limit / max(flops, 1):.1f} times as long as\n"
        f"a matrix product with as many operations would take, at {limit / 1e9:.0f} GFLOP/s."
    )
    tables = _pieces(found["pieces"]), _layers(found["layers"], limit), _program(found["program"])
    return "\n\n".join([head, *tables])


def _pieces(pieces: list[dict[str, Any]]) -> str:
    """Returns the table of pieces, with the time that each adds to the one before."""
    whole = statistics.median(pieces[-1]["until"])
    lines = [f"{'piece of a step':32}{'ms':>10}{'±':>9}{'%':>7}"]
    before = [0.0] * len(pieces[0]["until"])
    for piece in pieces:
        added = np.subtract(piece["until"], before)
        low, middle, high = statistics.quantiles(added, n=4, method="inclusive")
        half, share = (high - low) / 2, 100 * middle / whole
        clear = f"{1e3 * middle:10.3f}", f"{1e3 * half:9.3f}", f"{share:7.1f}"
        lost = f"{'< noise':>10}", clear[1], ""
        lines.append(f"{piece['name']:32}" + "".join(clear if abs(middle) > half else lost))
        before = piece["until"]
    return "\n".join(lines)


def _layers(layers: list[dict[str, Any]], limit: float) -> str:
    head = f"{'layer alone':14}{'output':>13}{'parameters':>11}"
    for part in ("forward", "+ gradient"):
        head += f"{part + ' ms':>14}{'GFLOP/s':>9}{'x limit':>8}"
    lines = [head]
    for layer in layers:
        shape = "x".join(map(str, layer["shape"])) or "1"
        line = f"{layer['name'][:14]:14}{shape:>13}{layer['parameters']:11,}"
        for part in ("forward", "gradient"):
            seconds, flops = statistics.median(layer[part]), layer[f"{part}_flops"]
            slower = f"{limit * seconds / flops:.1f}" if flops else ""
            line += f"{1e3 * seconds:14.3f}{flops / seconds / 1e9:9.1f}{slower:>8}"
        lines.append(line)
    return "\n".join(lines)


def _program(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'instructions of the compiled step':48}{'count':>7}{'MB written':>12}"]
    for row in rows[:ROWS]:
        lines.append(f"{row['kind'][:48]:48}{row['count']:7}{row['bytes'] / 1e6:12.2f}")
    if len(rows) > ROWS:
        count, size = (sum(row[key] for row in rows[ROWS:]) for key in ("count", "bytes"))
        lines.append(f"{f'{len(rows) - ROWS} other kinds':48}{count:7}{size / 1e6:12.2f}")
    return "\n".join(lines)
