"""What was measured, as a table in Markdown."""

import statistics
from typing import Any

from benchmarks import measured
from benchmarks.accelerator.settings import Rows


def table(found: dict[str, Any]) -> str:
    """The table in Markdown, or the sentence that there is none."""
    said = found["conditions"]
    if not found["rows"]:
        return (
            f"No accelerator could be had, and none was measured: JAX found {said['device']} alone "
            f"({said['date']}). Where there is one, `{found['command']}` writes its table here."
        )
    lines = [
        "| trained | XLA_FLAGS | dtype | training, ms | first, ms | compile, s | load, s "
        "| images/s | of one network's | test accuracy, % |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(row, found["rows"]) for row in found["rows"]]
    note = (
        f"`{found['command']}`: {found['asked']['config']}. From the first step to the last: "
        f"medians of {found['asked']['repeats']} "
        f"trainings after the first, ± half the distance between the quartiles. "
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
    """Images a second of one network with the same flags and precision."""
    same = (row["flags"], row["dtype"])
    one = next(
        r
        for r in rows
        if "failed" not in r and r["members"] is None and (r["flags"], r["dtype"]) == same
    )
    return one["images"] / statistics.median(one["seconds"])
