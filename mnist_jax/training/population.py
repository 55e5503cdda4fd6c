"""Which networks train together: those that differ in nothing but their seed and in numbers.

A number that differs is lifted: it becomes an argument of the compiled program, a value per member,
and the code that reads the configuration inside the program gets it as a tracer. What cannot be
lifted (a number that decides a shape or a branch) tells populations apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import data, models
from mnist_jax.config import CHOICES, Choice, Config
from mnist_jax.data import Spec
from mnist_jax.training.state import init_state
from mnist_jax.training.step import Batch, train_step
from mnist_jax.training.task import build

STEPS_PER_EPOCH = 10  # any number serves to see whether a field can be lifted


def numbers(config: Config) -> dict[str, float]:
    """The fields of `config` that are real numbers, by their dotted names."""
    return {name: value for name, value in _leaves(config.to_dict()) if type(value) is float}


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with these fields set, such as `{"seed": 1, "optimizer.learning_rate": 1e-3}`."""
    for name, value in values.items():
        section, _, field = name.partition(".")
        if not field:
            config = dataclasses.replace(config, **{name: value})
            continue
        old = getattr(config, section)
        if section in CHOICES:
            new = Choice(old.name, {**old.keywords, field: value})
        else:
            new = dataclasses.replace(old, **{field: value})
        config = dataclasses.replace(config, **{section: new})
    return config


def stacked(configs: Sequence[Config]) -> dict[str, np.ndarray]:
    """The numbers, other than the seed, in which members differ: `[M]` by field."""
    columns = {name: [numbers(c)[name] for c in configs] for name in numbers(configs[0])}
    return {
        name: np.asarray(column, np.float32)
        for name, column in columns.items()
        if len(set(column)) > 1
    }


def together(configs: Sequence[Config]) -> list[list[int]]:
    """The members that train together, as indices, in the order of their first ones."""
    by_rest: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        by_rest.setdefault(_rest(config, numbers(config).keys()), []).append(i)
    found: dict[str, list[int]] = {}
    for members in by_rest.values():
        varied = stacked([configs[i] for i in members]).keys()
        free: list[str] = []
        for name in sorted(varied):  # one more at a time: what one decides may hide another
            if _can_be_lifted(configs[members[0]], [*free, name]):
                free.append(name)
        for i in members:
            found.setdefault(_rest(configs[i], free), []).append(i)
    return sorted(found.values())


def _rest(config: Config, free: Any) -> str:
    """All of `config` but the seed and the values of the fields `free`."""
    said = [(name, "*" if name in free else value) for name, value in _leaves(config.to_dict())]
    return repr([pair for pair in said if pair[0] != "seed"])


def _leaves(tree: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """`(dotted name, value)`; a mapping among a choice's keywords is a value."""
    leaves = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves += [(f"{name}.{inner}", v) for inner, v in value.items()]
        else:
            leaves.append((name, value))
    return leaves


def _can_be_lifted(config: Config, names: Sequence[str]) -> bool:
    """Whether a step can be traced with all these fields as tracers.

    A number of the user's own network is not tried: what its code makes of a tracer, where it keeps
    it and in which precision it computes with it, cannot be seen from here.
    """
    if config.model.name not in models.MODELS and any(n.startswith("model.") for n in names):
        return False
    spec = data.spec(config.data.name)
    numbers = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in names}
    try:
        jax.eval_shape(lambda values: try_step(replace(config, values), spec), numbers)
    except Exception:  # whatever a library raises where it must know the number
        return False
    return True


def try_step(config: Config, spec: Spec) -> Any:
    """The state after a step on nothing: to be traced, to see whether that can be done."""
    task = build(config, spec, STEPS_PER_EPOCH)
    examples = config.batch_size
    batch = Batch(
        image=jnp.zeros((examples, *spec.image_shape), jnp.uint8),
        label=jnp.zeros(examples, jnp.int32),
        position=jnp.arange(examples),
    )
    return train_step(task, init_state(task, config.seed), batch)
