"""Formats the measurements as a table in Markdown."""

import statistics
from typing import Any

from benchmarks import measured
from benchmarks.accelerator.settings import Rows


def table(found: dict[str, Any]) -> str:
    """Returns the table in Markdown, or a sentence that says that there was no accelerator."""
    said = found["conditions"]
    if not found["rows"]:
        return (
            f"No accelerator was available, so none was measured: JAX found only {said['device']} "
            f"({said['date']}). With an accelerator, `{found['command']}` writes a table here."
        )
    lines = [
        "| trained | XLA_FLAGS | dtype | training, ms | first training, ms | compilation, s "
        "| setup, s | images per second | relative to one network | test accuracy, % |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(row, found["rows"]) for row in found["rows"]]
    note = (
        f"`{found['command']}` trained {found['asked']['config']}. Trainings are timed from their "
        f"first to their last step: the median of {found['asked']['repeats']} trainings after the "
        f"first, ± half the interquartile range. Setup is building the network and loading the "
        f"data. Images per second are also given relative to one network with the same flags and "
        f"dtype. "
        f"{measured.sentence(said, 'jax', 'jaxlib', 'flax')}"
    )
    return "\n".join([*lines, "", note])


def _row(row: dict[str, Any], rows: Rows) -> str:
    flags = f"`{row['flags']}`" if row["flags"] else ""
    start = f"| {_name(row)} | {flags} | {row['dtype']} |"
    if "failed" in row:
        return f"{start} {row['failed'].replace('|', '/')} | | | | | | |"
    low, middle, high = statistics.quantiles(row["seconds"], n=4, method="inclusive")
    cells = [
        f"{1e3 * middle:,.1f} ± {1e3 * (high - low) / 2:.1f}",
        f"{1e3 * row['first']:,.1f}",
        f"{row['compile']:.1f}",
        f"{row['ready'] - row['compile']:.1f}",
        f"{row['images'] / middle:,.0f}",
        f"{row['images'] / middle / _speed_of_one(row, rows):.1f}",
        f"{100 * row['accuracy']:.2f}",
    ]
    return f"{start} {' | '.join(cells)} |"


def _name(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "the process ended"
    members = row["members"]
    return "one network" if members is None else f"a population of {members}"


def _speed_of_one(row: dict[str, Any], rows: Rows) -> float:
    """Returns the images per second of one network with the same flags and precision."""
    same = (row["flags"], row["dtype"])
    one = next(
        r
        for r in rows
        if "failed" not in r and r["members"] is None and (r["flags"], r["dtype"]) == same
    )
    return one["images"] / statistics.median(one["seconds"])
