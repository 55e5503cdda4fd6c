"""Reads the members of a sweep: the networks that it trains, and their seeds.

A sweep file defines them:

    from mnist_jax.config import default
    from mnist_jax.members import Sweep

    def get_sweep():
        members = {}
        for width in (16, 64, 256):
            members[f"{width} units"] = config = default()
            config.model = dict(name="mlp", hidden=(width,))
        return Sweep(members, seeds=3)

A sweep may name an analysis of its own, `Sweep(members, analysis="widths.py:analyse")`: a function
that takes the table of the finished networks, a pandas data frame, and returns sections for the
report:

    from mnist_jax.analysis.sweep.section import Section

    def analyse(networks):
        means = networks.groupby("model.hidden")["test_accuracy"].mean()
        rows = [(hidden, f"{mean:.4f}") for hidden, mean in means.items()]
        return [Section("Width", ["Means over seeds."], ("hidden", "test accuracy"), rows)]

The table has one row per network. Its columns are `architecture`, `seed`, `parameters`, `epochs`
(trained), `seconds` (of training), `val_NAME` and `test_NAME` of each metric, `status`, and one per
field of the configurations by its dotted name, such as `model.hidden` or `num_epochs`. Lists are
tuples, and a field that a configuration lacks is None. A network that did not finish has NaN for
results. `mnist_jax.analysis.sweep.contrasts` compares networks that share a seed.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_jax import binding, config_file
from mnist_jax.binding import shown
from mnist_jax.config import HIGHEST_SEED, Config, parse, plain
from mnist_jax.errors import UserError
from mnist_jax.overrides import overridden

MOST = 100_000  # networks in a sweep
FINISHED, DIVERGED = "finished", "diverged"  # statuses; an epoch and a cause follow DIVERGED


@dataclass(frozen=True)
class Sweep:
    """A sweep, as `get_sweep()` returns it: architectures, their seeds, and what to report."""

    members: Mapping[str, Any]  # configurations by the name of the architecture
    seeds: int = 1  # trainings per architecture, counting up from its configuration's seed
    # A function, or its name: FILE.py:function or package.module:function; empty: none.
    analysis: str | Callable[..., Any] = ""


@dataclass(frozen=True)
class Planned:
    """One training of a sweep: the architecture's name, and the configuration with its seed."""

    architecture: str
    config: Config


def read(path: str) -> Sweep:
    """Reads a sweep from a file; a configuration file is a sweep of a single architecture.

    Raises:
      UserError: the file does not exist or defines no sweep.
    """
    module = config_file.import_file(path)
    if not hasattr(module, "get_sweep"):
        return Sweep({config_file.stem(path): config_file.from_module(module, path)})
    sweep = config_file.call(module, "get_sweep", path)
    if not isinstance(sweep, Sweep):
        raise UserError(f"{path}: get_sweep() must return a Sweep, not {shown(sweep)}")
    return sweep


def find_analysis(analysis: str | Callable[..., Any]) -> Callable[..., Any] | None:
    """Returns the analysis that a sweep names; None if it names none.

    A file is looked for as a configuration file is: in the current folder and in the project.

    Raises:
      UserError: there is no such file, module or function.
    """
    if callable(analysis) or not analysis:
        return analysis or None
    where = "Sweep.analysis"
    if not isinstance(analysis, str) or ":" not in analysis:
        raise UserError(
            f"{where}: must be 'FILE.py:function' or 'package.module:function', not "
            f"{shown(analysis)}"
        )
    file, name = config_file.split_path(analysis)
    if name is None:
        found = binding.find(analysis, {}, where)
    else:
        found = getattr(config_file.import_file(file), name, None)
    if not callable(found):
        raise UserError(f"{where}: {analysis!r} is not the name of a function")
    return found


def plan(
    sweep: Sweep,
    path: str,
    overrides: Sequence[tuple[str, Any]] = (),
    seeds: int | None = None,
) -> list[Planned]:
    """Returns the members of a sweep, ordered by architecture and then by seed.

    Args:
      sweep: the architectures.
      path: the sweep's file or name, for messages.
      overrides: as for `config_file.load`; applied to each member.
      seeds: number of seeds per architecture; None: the number that the sweep gives.

    Raises:
      UserError: there is no member, a field is invalid, or an override sets a field in which the
        members differ.
    """
    count = sweep.seeds if seeds is None else seeds
    _check(sweep.members, count, path)
    for name in sweep.members:
        if not isinstance(name, str) or not name.strip():
            raise UserError(
                f"{path}: a member must be named by a non-empty string, not {shown(name)}"
            )
        if name == "best":
            raise UserError(f"{path}: rename the member 'best': --member=best means the best one")
    values = {
        name: plain(config, f"{path}: member {name!r}") for name, config in sweep.members.items()
    }
    for name, _ in overrides:
        _refuse_varied(str(name), list(values.values()), path)
    told: set[str] = set()
    return [
        Planned(name, config)
        for name, its in values.items()
        for config in _seeds(_parse(name, its, overrides, told), count)
    ]


def _check(members: Any, count: Any, path: str) -> None:
    """Raises UserError unless there are members by name, and a sensible number of networks."""
    if not isinstance(members, Mapping):
        raise UserError(
            f"{path}: a sweep's members must be a dict of configurations by name, not "
            f"{type(members).__name__}"
        )
    if not isinstance(count, int) or isinstance(count, bool):
        raise UserError(f"{path}: the number of seeds must be an int, not {shown(count)}")
    if count < 1 or not members:
        raise UserError(f"{path}: a sweep needs at least one member and one seed")
    if count * len(members) > MOST:
        raise UserError(
            f"{path}: {shown(count)} seeds of {len(members)} architectures are more networks than "
            f"a sweep takes, {MOST:,}"
        )


def _seeds(config: Config, count: int) -> list[Config]:
    if config.seed + count - 1 > HIGHEST_SEED:
        raise UserError(
            f"config.seed: the {count} seeds from {config.seed} on exceed {HIGHEST_SEED}"
        )
    return [dataclasses.replace(config, seed=config.seed + i) for i in range(count)]


def _parse(
    name: str, values: dict[str, Any], overrides: Sequence[tuple[str, Any]], told: set[str]
) -> Config:
    try:
        return parse(overridden(values, overrides, told))
    except UserError as error:
        raise UserError(f"member {name!r}: {error}") from error


def _refuse_varied(name: str, members: list[dict[str, Any]], path: str) -> None:
    """Raises UserError if an override sets a field in which the members differ."""
    found = [_leaf(values, name.split(".")) for values in members]
    if any(value != found[0] for value in found):
        raise UserError(
            f"--config.{name}: the members of the sweep differ in this field; change it in {path}, "
            f"or in a copy of that file"
        )


def _leaf(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
