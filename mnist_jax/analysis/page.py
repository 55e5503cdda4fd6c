"""HTML pages from templates: single files that contain their pictures and need no network."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from mnist_jax.files import reading, write_text
from mnist_jax.metrics import Metric

MISSING = "—"  # in place of a value that is None


def render(path: Path, template: str, **context: Any) -> None:
    """Fills in a file of `templates/` and writes the page; a reader never sees half of it.

    All text in `context` is escaped. The functions below that format values are filters of the
    templates: `{{ fraction | percent }}`. A name that `context` does not define is an error.

    Raises:
      UserError: the page cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("mnist_jax.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters.update(
        {form.__name__: form for form in (percent, figure, number, seconds, listing)}
    )
    write_text(path, pages.get_template(template).render(context))


def picture(path: Path, alt: str, wide: bool = False) -> dict[str, Any]:
    """Returns a PNG file with what it shows in words, for the macro `picture` of the templates."""
    with reading(path):
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    return {"data": data, "alt": alt, "wide": wide}


def width(path: Path) -> int:
    """Returns the width of a PNG file in pixels, however large it is: Pillow has a limit."""
    with reading(path), path.open("rb") as file:
        return int.from_bytes(file.read(20)[16:])  # where the header has it


def percent(fraction: float | None) -> str:
    """Formats a fraction in percent: `97.12 %`."""
    return MISSING if fraction is None else f"{100 * fraction:.2f}\u00a0%"


def figure(metric: Metric, value: float | None) -> str:
    """Formats the value of a metric with its unit: `97.12 %` or `0.0712`."""
    return metric.text(value, MISSING).replace(" ", "\u00a0")


def number(value: float | None, form: str = ",.0f") -> str:
    """Formats a number by a format specification, by default as a rounded integer: `1,234`."""
    return MISSING if value is None else f"{value:{form}}"


def seconds(seconds: float | None) -> str:
    """Formats a duration in seconds: `12.3 s`, `2 min 5 s`."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}\u00a0min {rest}\u00a0s"


def listing(value: object) -> str:
    """Formats a value, or the names and values of a dict: `numpy 2.0, jax 0.12`."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return MISSING if value is None else str(value)
