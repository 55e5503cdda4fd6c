"""Groups the members of a sweep into populations, each trained by one compiled program.

The members of a population differ only in their seed and in fields that are lifted. A lifted field
is a real number that is an argument of the compiled program, with one value per member; code that
reads the configuration inside the program gets a tracer. A number that decides a shape or a branch
cannot be lifted: members that differ in it belong to different populations.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import data, failures
from mnist_jax.config import CHOICES, Choice, Config
from mnist_jax.data import Spec
from mnist_jax.data.augment import enabled
from mnist_jax.nested import leaves
from mnist_jax.training.state import init_state
from mnist_jax.training.step import Batch, train_step
from mnist_jax.training.task import build

STEPS_PER_EPOCH = 10  # for trial traces, which do not depend on its value


def numbers(config: Config) -> dict[str, float]:
    """Returns the fields of `config` that are real numbers, by their dotted names."""
    return {name: value for name, value in _fields(config).items() if type(value) is float}


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns a copy of `config` with new values for the fields of these dotted names.

    For example `{"seed": 1, "optimizer.learning_rate": 1e-3}`.
    """
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
    """Returns the real-number fields in which configurations differ, as `[M]` by dotted name."""
    columns = {name: [numbers(c)[name] for c in configs] for name in numbers(configs[0])}
    return {
        name: np.asarray(column, np.float32)
        for name, column in columns.items()
        if len(set(column)) > 1
    }


def together(configs: Sequence[Config]) -> list[list[int]]:
    """Groups configurations that can train together, as indices, in the order of their first.

    Those without augmentation form groups of their own, and do not pay for it.
    """
    by_rest: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        by_rest.setdefault(_rest(config, numbers(config).keys()), []).append(i)
    found: dict[str, list[int]] = {}
    for members in by_rest.values():
        varied = stacked([configs[i] for i in members]).keys()
        free: list[str] = []
        for name in sorted(varied):  # tried together: one's value may hide the code of another
            if _can_be_lifted(configs[members[0]], [*free, name]):
                free.append(name)
        for i in members:
            found.setdefault(_rest(configs[i], free), []).append(i)
    return sorted(found.values())


def _rest(config: Config, free: Any) -> str:
    """Returns a key of `config` that ignores its seed and the values of the fields `free`."""
    said = [(name, "*" if name in free else value) for name, value in _fields(config).items()]
    return repr([enabled(config.augment), *(pair for pair in said if pair[0] != "seed")])


def _fields(config: Config) -> dict[str, Any]:
    """Returns the fields by dotted name; a dict among the keywords of a `Choice` is one value."""
    return leaves(config.to_dict(), depth=2)


def _can_be_lifted(config: Config, names: Sequence[str]) -> bool:
    """True if a training step can be traced with all these fields as tracers.

    Always False for keywords of the user's own model or loss: how their code stores a tracer, and
    in which precision it computes with it, cannot be checked here.
    """
    own = [s for s in ("model", "loss") if ":" in getattr(config, s).name]
    if any(name.startswith(f"{section}.") for section in own for name in names):
        return False
    spec = data.spec(config.data.name)
    numbers = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in names}
    try:
        jax.eval_shape(lambda values: try_step(replace(config, values), spec), numbers)
    except Exception:  # libraries raise various errors where they need the value
        return False
    return True


def try_step(config: Config, spec: Spec) -> Any:
    """Takes one step on a batch of zeros; meant to be traced, to see whether that succeeds.

    Raises:
      UserError: the user's own code fails.
    """
    own = config.modules()
    what = f"a training step with {', '.join(own)} fails"
    with failures.reported(what) if own else nullcontext():
        return _step(config, spec)


def try_start(config: Config, spec: Spec) -> Any:
    """Returns the state before the first step; meant to be traced, for its shapes."""
    return init_state(build(config, spec, STEPS_PER_EPOCH), config.seed)


def _step(config: Config, spec: Spec) -> Any:
    task = build(config, spec, STEPS_PER_EPOCH)
    examples = config.batch_size
    batch = Batch(
        image=jnp.zeros((examples, *spec.image_shape), jnp.uint8),
        label=jnp.zeros(examples, jnp.int32),
        position=jnp.arange(examples),
    )
    return train_step(task, init_state(task, config.seed), batch)
