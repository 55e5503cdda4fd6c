"""Sees to it that as many cases were tried as were promised."""

from benchmarks.reliability.row import Row


def complete(rows: list[Row], least: int) -> list[Row]:
    """Returns the rows; one that tried nothing, or all that tried too little, is a loss.

    Args:
      rows: of one part.
      least: cases of all rows together.
    """
    for row in rows:
        if not row.tried:
            row.lost.append(f"nothing was tried: {row.what}")
    tried = sum(row.tried for row in rows)
    if tried < least:
        rows[-1].lost.append(f"{tried:,} cases were tried of all kinds, and not {least:,}")
    return rows
