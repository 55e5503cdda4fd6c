"""Sees to it that as many cases were tried as were promised."""

from benchmarks.reliability.row import Row


def complete(rows: list[Row], least: int, distinct: int | None = None) -> list[Row]:
    """Returns the rows; one that tried nothing, or all that tried too little, is a loss.

    Args:
      rows: of one part.
      least: cases of all rows together that differ.
      distinct: how many do; by default, all.
    """
    for row in rows:
        if not row.tried:
            row.lost.append(f"nothing was tried: {row.what}")
    tried = sum(row.tried for row in rows) if distinct is None else distinct
    if tried < least:
        rows[-1].lost.append(f"{tried:,} distinct cases were tried of all kinds, not {least:,}")
    return rows
