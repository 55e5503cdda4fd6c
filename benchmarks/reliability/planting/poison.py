"""Puts numbers into a training, at one place and at chosen steps, as wrong data or memory would.

    python -c "from benchmarks.reliability.planting.poison import run; run()" PLACE DOSES NAME ...

runs `python -m mnist_jax.NAME ...` with the doses that the JSON list DOSES describes. A
dose changes one value of one array in one step.
"""

import functools
import json
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.undrawn import leave_out_plots

# Of a further metric, NaN is a result: the row says null.
HARMLESS = "sum of a further metric"
CODE = "from benchmarks.reliability.planting import poison; poison.run()"
Spoil = Callable[[Any, Any], Any]  # (state before the step, array) -> array


@dataclass(frozen=True)
class Dose:
    """What one network gets, and when."""

    step: int  # counted from 0; for `outputs`, the epoch counted from 0
    value: float
    seed: int | None = None  # of the network in a sweep; None: the network of `main`


def run() -> None:
    """Puts in the doses of the command line, and runs the command that follows them.

    Plots are drawn only where they may have to show a number that is not finite.
    """
    place, doses, name, *arguments = sys.argv[1:]
    if place != HARMLESS:
        leave_out_plots()
    put(place, [Dose(**its) for its in json.loads(doses)])
    sys.argv = [name, *arguments]
    runpy.run_module(f"mnist_jax.{name}", run_name="__main__", alter_sys=True)


def put(place: str, doses: Sequence[Dose]) -> None:
    """Patches the function of this process through which the value of `place` passes."""
    patch, *its = PLACES[place]
    patch(functools.partial(_spoilt, doses), doses, *its)


def _spoilt(doses: Sequence[Dose], state: Any, array: Any) -> Any:
    """Returns an array with its first value replaced in the steps that the doses name."""
    at = (0,) * array.ndim
    new = array[at]
    for dose in doses:
        hit = state["step"] == dose.step
        if dose.seed is not None:
            hit &= state["key"][-1] == dose.seed
        new = jnp.where(hit, jnp.asarray(dose.value, array.dtype), new)
    return array.at[at].set(new)


def _in_batch(spoil: Spoil, doses: Sequence[Dose], position: int) -> None:
    """Spoils the images (0) or the targets (1) of the example that comes first in the batch."""
    from mnist_jax.training import step

    augmented = step.augmented

    def patched(task: Any, state: Any, batch: Any) -> Any:
        found = [*augmented(task, state, batch)]
        first = (batch["position"] == 0).reshape(-1, *(1,) * (found[position].ndim - 1))
        # Only the device that has the global batch's first example gets a dose.
        found[position] = jnp.where(first, spoil(state, found[position]), found[position])
        return tuple(found)

    step.augmented = patched


def _in_losses(spoil: Spoil, doses: Sequence[Dose]) -> None:
    from mnist_jax.training import step

    forward = step.forward

    def patched(task: Any, params: Any, state: Any, *batch: Any) -> Any:
        losses, outputs, variables = forward(task, params, state, *batch)
        return spoil(state, losses), outputs, variables

    step.forward = patched


def _in_gradient(spoil: Spoil, doses: Sequence[Dose]) -> None:
    from mnist_jax.training import step

    gradients = step._gradients

    def patched(task: Any, state: Any, batch: Any) -> Any:
        found, sums, variables = gradients(task, state, batch)
        return _with_leaf(found, "", functools.partial(spoil, state)), sums, variables

    step._gradients = patched


def _in_state(spoil: Spoil, doses: Sequence[Dose], part: str, leaf: str) -> None:
    """Spoils the state that a step returns: the first array of `part` whose name has `leaf`."""
    from mnist_jax.training import step

    train_step = step.train_step

    def patched(task: Any, state: Any, batch: Any) -> Any:
        after: Any = train_step(task, state, batch)
        return {**after, part: _with_leaf(after[part], leaf, functools.partial(spoil, state))}

    step.train_step = patched


def _in_rate(spoil: Spoil, doses: Sequence[Dose]) -> None:
    """Spoils the learning rate that the schedule gives; the same in all networks."""
    from mnist_jax.training import schedule

    build = schedule.build

    def patched(*arguments: Any) -> Any:
        rate = build(*arguments)
        return lambda step: spoil({"step": step}, jnp.asarray(rate(step)))

    schedule.build = patched


def _in_validation(spoil: Spoil, doses: Sequence[Dose]) -> None:
    """Spoils a weight with which the validation split is evaluated, not that which is trained."""
    from mnist_jax.training.inference import Examiner

    call, done = Examiner.__call__, [0]

    def patched(self: Any, weights: Any) -> Any:
        for dose in doses:
            if dose.step == done[0]:
                index = (dose.seed or 0, 0)
                spoilt = _with_leaf(weights, "bias", lambda x: x.at[index].set(dose.value))  # noqa: B023
                weights = jax.tree.map(
                    lambda x, old: jax.device_put(x, old.sharding), spoilt, weights
                )
        done[0] += 1
        return call(self, weights)

    Examiner.__call__ = patched


def _with_leaf(tree: Any, name: str, change: Callable[[Any], Any]) -> Any:
    """Returns a tree whose last leaf with `name` in its path is changed."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    found = max(i for i, (path, _) in enumerate(leaves) if name in jax.tree_util.keystr(path))
    values = [change(leaf) if i == found else leaf for i, (_, leaf) in enumerate(leaves)]
    return jax.tree.unflatten(structure, values)


PLACES: dict[str, tuple[Any, ...]] = {  # a patch, and what it needs to know
    "image": (_in_batch, 0),
    "target": (_in_batch, 1),
    "loss": (_in_losses,),
    "gradient": (_in_gradient,),
    "learning rate": (_in_rate,),
    "parameter": (_in_state, "params", ""),
    "batch statistics": (_in_state, "variables", ""),
    "average": (_in_state, "average", ""),
    "first moment": (_in_state, "optimizer", ".mu"),
    "second moment": (_in_state, "optimizer", ".nu"),
    "step count of Adam": (_in_state, "optimizer", "[0].count"),
    "sum of the loss": (_in_state, "sums", "loss"),
    "sum of the accuracy": (_in_state, "sums", "accuracy"),
    HARMLESS: (_in_state, "sums", "brier"),
    "output in validation": (_in_validation,),
}
