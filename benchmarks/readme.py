"""The parts of README that scripts write, each between two marks of its own."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def replace(name: str, text: str, root: Path | None = None) -> None:
    """Puts `text` between `<!-- name: start -->` and `<!-- name: end -->`.

    Raises:
      ValueError: README has no such marks.
    """
    path = (root or ROOT) / "README.md"
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text().partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no {start} ... {end}")
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")
