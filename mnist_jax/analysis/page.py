"""Building blocks of HTML reports: single files that contain their plots and need no network."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from mnist_jax.files import write_text
from mnist_jax.metrics import Metric

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #57606a; --line: #d8dee4;
  --page: #ffffff; --card: #f6f8fa; --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a0a9b2; --line: #363d45;
  --page: #14181c; --card: #1d2329; --link: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 .9rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; margin: 1.5rem 0; }
.figures div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; min-width: 0;
  overflow-wrap: anywhere; }
.figures dt, .figures small { color: var(--soft); font-size: .8rem; line-height: 1.35; }
.figures dd { margin: 0; font-size: 1.45rem; font-weight: 650; line-height: 1.3; }
.figures small { display: block; font-weight: 400; }
.pair { display: grid; gap: 0 1.25rem; grid-template-columns: 1fr; }
@media (min-width: 52rem) { .pair { grid-template-columns: 1fr 1fr; }
  .figures { grid-template-columns: repeat(4, 1fr); } }
.pair > * { min-width: 0; }
figure { margin: .75rem 0 .5rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: .5rem; padding: .5rem; overflow-x: auto; }
figure img { display: block; width: 100%; height: auto; }
figure.wide img { min-width: 44rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .pairs td { text-align: left; }
.pairs { width: 100%; }
.pairs th { width: 1%; vertical-align: top; }
.pairs td { white-space: normal; overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: .5rem; padding: .9rem; overflow-x: auto;
  font-size: .82rem; line-height: 1.45; }
summary { cursor: pointer; font-weight: 650; font-size: 1.05rem; margin: 1.25rem 0 .5rem; }
"""

MISSING = "—"  # in place of a value that is None


def write(path: Path, title: str, body: str) -> None:
    """Writes an HTML page; a reader sees the old file or the new one, never half of it.

    Args:
      path: the file; its folder is created if it does not exist.
      title: of the page, as plain text.
      body: HTML.

    Raises:
      UserError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
""",
    )


def picture(path: Path, alt: str, *, wide: bool = False) -> str:
    """Returns HTML that contains a PNG file; a wide one scrolls if the window is narrow."""
    kind = ' class="wide"' if wide else ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
    return f'<figure{kind} tabindex="0">{image}</figure>'


def figures(figures: Iterable[tuple[str, str, str]]) -> str:
    """Returns HTML of key figures, each given as `(name, value, remark)`."""
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def pair(*sections: str) -> str:
    """Returns sections side by side if the window is wide enough; empty ones are left out."""
    shown = "".join(sections)
    return f'<div class="pair">{shown}</div>' if shown else ""


def details(heading: str, content: str) -> str:
    """Returns HTML whose content is folded away under a heading until the reader opens it."""
    return f"<details><summary>{escape(heading)}</summary>{content}</details>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns HTML of a table that scrolls if it is wider than the window."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def pairs_table(pairs: Iterable[tuple[str, str]]) -> str:
    """Returns HTML of a table with one name and value per row."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in pairs
    )
    table = f'<table class="pairs"><tbody>{rows}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


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
