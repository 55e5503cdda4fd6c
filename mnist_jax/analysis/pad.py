"""The pad of a page: what its template needs to know of the networks that run in it."""

import json
from collections.abc import Sequence
from typing import Any

from mnist_jax.data import Spec
from mnist_jax.errors import UserError

DIGITS = tuple("0123456789")


def context(networks: Sequence[dict[str, Any]], spec: Spec) -> dict[str, Any]:
    """Returns what the macro `pad` of the templates shows.

    Args:
      networks: one or more, as `exporting.page.network` returns them.
      spec: of the images that they take.
    """
    from markupsafe import Markup

    text = json.dumps(networks, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "what": what(spec),
        "classes": spec.class_names,
        "names": [network["name"] for network in networks],
        "models": Markup(text),  # within a <script>, where nothing is escaped
    }


def what(spec: Spec) -> str:
    """Returns what one draws: `a digit`, `a picture`."""
    return "a digit" if spec.class_names == DIGITS else "a picture"


def refuse_different(specs: Sequence[Spec], titles: Sequence[str]) -> None:
    """Raises UserError unless networks take the same images and tell the same classes apart."""
    for spec, title in zip(specs[1:], titles[1:], strict=True):
        if spec != specs[0]:
            raise UserError(
                f"{title} and {titles[0]} cannot be on one page: their images or their classes "
                f"differ ({spec.image_shape}, {spec.num_classes} classes, and "
                f"{specs[0].image_shape}, {specs[0].num_classes} classes)"
            )
