"""The pad of a page: what its template needs to know of the networks that run in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_jax.data import DIGITS, Spec
from mnist_jax.errors import UserError
from mnist_jax.pictures import UNSURE


@dataclass(frozen=True)
class Drawing:
    """What a report has for drawing: a pad, the file of a page, or a note why there is none."""

    pad: dict[str, Any] | None = None  # as `context` returns it
    link: str = ""
    note: str = ""


def context(networks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns what the macro `pad` of the templates shows.

    Args:
      networks: one or more with the same classes, as `exporting.page.network` returns them.
    """
    from markupsafe import Markup

    text = json.dumps(networks, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "what": _noun(networks[0]["classes"]),
        "classes": networks[0]["classes"],
        "ink": networks[0]["ink"],
        "names": [network["name"] for network in networks],
        "unsure": UNSURE,
        "models": Markup(text),  # within a <script>, where nothing is escaped
    }


def _noun(class_names: Sequence[str]) -> str:
    return "a digit" if tuple(class_names) == DIGITS else "a picture"


def refuse_different(specs: Sequence[Spec], titles: Sequence[str]) -> None:
    """Raises UserError unless networks take the same images and tell the same classes apart."""
    for spec, title in zip(specs[1:], titles[1:], strict=True):
        if spec != specs[0]:
            raise UserError(
                f"{title} and {titles[0]} cannot be on one page: their images or their classes "
                f"differ ({spec.image_shape}, {spec.num_classes} classes, and "
                f"{specs[0].image_shape}, {specs[0].num_classes} classes)"
            )
