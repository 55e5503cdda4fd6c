"""Applies overrides such as `--config.model.hidden=64,32` to the values of a configuration."""

import ast
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_jax import binding
from mnist_jax.binding import shown
from mnist_jax.config import CHOICES
from mnist_jax.errors import UserError, print_warning


def overridden(
    values: dict[str, Any], overrides: Sequence[tuple[str, Any]], told: set[str] | None = None
) -> dict[str, Any]:
    """Applies overrides such as `("model.hidden", "64,32")` to `values` in place; returns it.

    The last override of a field counts. Where an override names another model, optimizer, schedule
    or loss, keywords of the old one are kept if the new one has them, too; the others are left out,
    with a warning.

    Args:
      values: a configuration as plain nested dicts.
      overrides: dotted names and values; a string is parsed as on the command line.
      told: warnings already printed; new ones are added.

    Raises:
      UserError: an override names an unknown section.
    """
    given: dict[str, Any] = {}
    for name, value in overrides:
        if not isinstance(name, str):
            raise UserError(f"an override must name a field by a string, not by {shown(name)}")
        given[name] = value
        section, _, field_name = name.partition(".")
        its = values.get(section)
        old = its.get("name") if isinstance(its, dict) else None
        _override(values, name, value)
        if section in CHOICES and field_name == "name" and old and isinstance(its, dict):
            warning = _without_foreign(section, its, old, given)
            if warning and (told is None or warning not in told):
                print_warning(warning)
            if told is not None:
                told.add(warning)
    return values


def _without_foreign(
    section: str, values: dict[str, Any], old: str, given: Mapping[str, Any]
) -> str:
    """Removes the keywords of the old model, ... that the new one does not have.

    Args:
      section: `model`, `loss`, `optimizer` or `schedule`.
      values: the new name, and the old keywords.
      old: the old name.
      given: the overrides so far, which stay.

    Returns:
      A warning that names the removed keywords; empty if there are none.
    """
    new = values["name"]
    theirs = [name for name in values if name != "name" and f"{section}.{name}" not in given]
    if new == old or not isinstance(new, str) or not new or not theirs:
        return ""
    from mnist_jax import choices  # late: it imports JAX

    taken = choices.keywords(section, new)
    if taken is None:
        return ""
    out = [name for name in theirs if name not in taken]
    for name in out:
        del values[name]
    return f"config.{section}: {new} does not take these of {old}: {', '.join(out)}" if out else ""


def _override(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, leaf = name.split(".")
    if sections and sections[0] in CHOICES and isinstance(values.get(sections[0]), str):
        values[sections[0]] = {"name": values[sections[0]]}
    for i, section in enumerate(sections):
        if not isinstance(values.get(section), dict):
            where = ".".join(["config", *sections[:i]])
            raise UserError(
                f"{where}: there is no section {shown(section)}"
                + binding.did_you_mean(section, [k for k, v in values.items() if type(v) is dict])
            )
        values = values[section]
    is_text = isinstance(values.get(leaf), str) or not isinstance(value, str)
    values[leaf] = value if is_text else _value(value)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as one of a backslash
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
