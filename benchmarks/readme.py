"""Replaces the parts of README.md and benchmarks/README.md that scripts write."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def replace(name: str, text: str, file: str = "README.md") -> None:
    """Replaces the text between the marks `<!-- name: start -->` and `<!-- name: end -->`.

    Args:
      name: the name in the marks.
      text: the new text.
      file: the file, relative to the root of the repository.

    Raises:
      ValueError: the file has no such marks.
    """
    path = ROOT / file
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text().partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no {start} ... {end}")
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")
