"""Pages with names of any kind in them, read by Python's parsers of HTML and of JSON.

A browser reads some of the names in `tests/exporting/test_browser.py`.
"""

import json
import random
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing.guard import Guard
from benchmarks.reliability.fuzzing.mutations import TEXTS, generator, json_changed
from benchmarks.reliability.fuzzing.worker import Broken, given
from mnist_jax.analysis import pad, page

BREAKING = (
    "</script>",
    "<script>alert(1)</script>",
    "<!--",
    "-->",
    "]]>",
    "<!--<script>",
    "\u2028",
    "'",
    '"',
    "</title>",
    "&lt;",
    "&#60;",
    "`${1}`",
    "\\",
    "\\u003c",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "\0",
    "\r",
    "javascript:alert(1)",
    '"><img src=x onerror=alert(1)>',
    "__proto__",
    "\ud800",
)
NETWORK = {
    "name": "mlp",
    "classes": ["0", "1"],
    "ink": {"longest": 20, "by_mass": True},
    "input": [1, 2, 2, 1],
    "values": "AACAPw==",
    "constants": [[1]],
    "steps": [],
    "output": 0,
}


class _Reader(HTMLParser):
    """Collects the tags that run or load something, and what is data."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.models = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "link", "object") or any(
            name.startswith("on") for name, _ in attrs
        ):
            self.tags.append((tag, [name for name, _ in attrs]))
        self._inside = ("id", "pad-models") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.models += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def names(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: names of networks and classes; the page's JSON holds them, and nothing else runs."""
    del samples
    guard = Guard(folder)
    path = folder / "demo.html"
    sound = _read(path, [NETWORK], "mlp").tags

    def attempt(number: int) -> str:
        rng = generator("pages", number)
        networks = [_named(rng) for _ in range(rng.choice((1, 2)))]
        for network in networks:
            network["classes"] = networks[0]["classes"]
        described = _text(rng)
        given(json.dumps([networks, described]).encode())
        with guard.watching():
            found = _read(path, networks, described)
        if found.tags != sound:
            raise Broken("the page runs or loads something else")
        if "<" in found.models:  # `<!--<script>` would hide the end of the script from a browser
            raise Broken("the page's JSON holds a character that begins a tag")
        if json.loads(found.models) != networks:
            raise Broken("the page's JSON is not that of the networks")
        return "whole"

    return attempt


def _read(path: Path, networks: list[dict[str, Any]], described: str) -> _Reader:
    rendered(path, networks, described)
    found = _Reader()
    found.feed(path.read_text())
    return found


def rendered(path: Path, networks: list[dict[str, Any]], described: str) -> None:
    """Writes the page of some networks, each of which is described alike."""
    shown = pad.context(networks)
    page.render(
        path,
        "demo.html",
        title=f"Draw {shown['what']}",
        pad=shown,
        networks=[(network["name"], described) for network in networks],
    )


def _named(rng: random.Random) -> dict[str, Any]:
    network = {**NETWORK, "name": _text(rng), "classes": [_text(rng) for _ in range(2)]}
    if rng.random() < 0.3:  # whatever else a network may be
        network["steps"] = [json_changed({"op": _text(rng), "axes": [0]}, rng)]
    return json.loads(json.dumps(network).replace("NaN", "0").replace("Infinity", "1"))


def _text(rng: random.Random) -> str:
    return "".join(rng.choice((*BREAKING, *TEXTS[:12], "a", "9")) for _ in range(rng.randrange(4)))
