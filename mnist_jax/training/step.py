"""One step of training: a pure function of the state and a batch."""

import functools
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax import lax

from mnist_jax.data.augment import augment, enabled
from mnist_jax.data.rescale import rescale
from mnist_jax.lifted import active
from mnist_jax.metrics import ALWAYS
from mnist_jax.models import Tree
from mnist_jax.randomness import example_keys
from mnist_jax.training.loss import smooth_labels
from mnist_jax.training.state import Sums, TrainState
from mnist_jax.training.task import Task


class Batch(TypedDict):
    """What a device sees of one batch."""

    image: jax.Array  # [B, H, W, C] uint8
    label: jax.Array  # [B] int32
    position: jax.Array  # [B] int32: place of each example in the global batch


def train_step(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """Gradient, update, average and sums of one batch.

    On a mapped axis, every device calls this with its part of the batch and ends with the same
    state, that of the global batch.
    """
    gradients, sums, variables = _gradients(task, state, batch)
    updates, optimizer = task.optimizer.update(gradients, state["optimizer"], state["params"])
    params: Any = optax.apply_updates(state["params"], updates)
    finite = jnp.isfinite(sums["loss"]) & _all_finite(gradients)
    return TrainState(
        params=params,
        variables=variables,
        optimizer=optimizer,
        average=_average(task.config.ema_decay, state, params, variables),
        step=state["step"] + 1,
        key=state["key"],
        sums=jax.tree.map(jnp.add, state["sums"], sums),
        bad_step=_first_bad(state["bad_step"], finite, state["step"]),
    )


def _gradients(task: Task, state: TrainState, batch: Batch) -> tuple[Tree, Sums, Tree]:
    """Gradient of the global batch's mean loss, its sums, and the network's variables after it."""
    images = network_images(task, state, batch)

    def mean_loss(params: Tree) -> tuple[jax.Array, tuple[Sums, Tree]]:
        losses, outputs, variables = forward(task, params, state, batch, images)
        return losses.mean(), (_sums(task, losses, outputs, batch["label"]), variables)

    gradients, (sums, variables) = jax.grad(mean_loss, has_aux=True)(state["params"])
    if task.axis_name is not None:
        gradients = lax.pmean(gradients, task.axis_name)
        sums = lax.psum(sums, task.axis_name)
        variables = jax.tree.map(functools.partial(_mean_if_real, task.axis_name), variables)
    return gradients, sums, variables


def _sums(task: Task, losses: jax.Array, outputs: jax.Array, labels: jax.Array) -> Sums:
    """The sum of each metric over the batch; the loss is the training loss itself."""
    found: Sums = {"count": jnp.int32(losses.size), "loss": losses.sum()}
    seen = outputs
    for metric in task.metrics:
        if metric.function is None:
            continue
        if metric.name not in ALWAYS:  # behind a barrier, so that it changes no bit of the rest
            seen = lax.optimization_barrier(outputs)
        values = metric.function(seen, labels, output_activation=task.model.output_activation)
        found[metric.name] = values.sum(dtype=jnp.float32)
    return found


def network_images(task: Task, state: TrainState, batch: Batch) -> jax.Array:
    """What the network sees: `[B, H, W, C]` floats from 0 to 1, distorted where that is asked."""
    images = rescale(batch["image"])
    if not enabled(task.config.augment):
        return images
    keys = example_keys(state["key"], "augment", state["step"], batch["position"])
    # Behind a barrier, or XLA distorts anew for each tap of a convolution.
    return lax.optimization_barrier(augment(images, keys, task.config.augment))


def forward(
    task: Task, params: Tree, state: TrainState, batch: Batch, images: jax.Array
) -> tuple[jax.Array, jax.Array, Tree]:
    """Losses `[B]`, the network's outputs `[B, K]` and its variables afterwards, in training."""
    keys = example_keys(state["key"], "dropout", state["step"], batch["position"])
    outputs, variables = task.model.apply(params, state["variables"], images, train=True, keys=keys)
    targets = smooth_labels(batch["label"], outputs.shape[-1], task.config.label_smoothing)
    losses = task.loss(outputs, targets, output_activation=task.model.output_activation)
    return losses, outputs, variables


def _first_bad(bad_step: jax.Array, finite: jax.Array, step: jax.Array) -> jax.Array:
    """The first step that left a number not finite, where this one may be it; -1 for none."""
    return jnp.where((bad_step < 0) & ~finite, step, bad_step)


def _all_finite(tree: Any) -> jax.Array:
    """True if every value is finite. Checks sums, which are not finite if any term is not.

    Sums over all axes but the last, which XLA:CPU has done long before a norm.
    """
    sums = [leaf.sum(axis=tuple(range(leaf.ndim - 1))) for leaf in jax.tree.leaves(tree)]
    return jnp.stack([jnp.isfinite(each).all() for each in sums]).all()


def _mean_if_real(axis_name: str, variable: jax.Array) -> jax.Array:
    """Statistics are averaged over devices; a counter is the same on each."""
    real = jnp.issubdtype(variable.dtype, jnp.inexact)
    return lax.pmean(variable, axis_name) if real else variable


def _average(decay: float, state: TrainState, params: Tree, variables: Tree) -> Tree:
    """The exponential average, whose decay grows from 0.1 so that the start is soon forgotten.

    As in tf.train.ExponentialMovingAverage with `num_updates`. Batch statistics are averaged, too:
    those of the raw weights do not fit the averaged ones.
    """
    if not active(decay):
        return {}
    done = state["step"].astype(jnp.float32)
    now = jnp.minimum(decay, (1.0 + done) / (10.0 + done))

    def mean(average: jax.Array, value: jax.Array) -> jax.Array:
        real = jnp.issubdtype(value.dtype, jnp.inexact)
        return average * now + value * (1.0 - now) if real else value

    return jax.tree.map(mean, state["average"], {"params": params, "variables": variables})


def run_steps(task: Task, fetch: Any, state: TrainState, data: Any, batches: Any) -> TrainState:
    """A chunk of steps in one `lax.scan`; nothing is read back inside it.

    Args:
      task: what to train.
      fetch: `(data, row) -> Batch`, the data feed's own.
      state: before the chunk.
      data: what the feed keeps on the device.
      batches: tree of `[S, B, ...]`, one row per step.
    """

    def body(state: TrainState, row: Any) -> tuple[TrainState, None]:
        # The barrier keeps the arithmetic apart from how the batch was fetched: same bits always.
        batch = lax.optimization_barrier(fetch(data, row))
        return train_step(task, state, batch), None

    after = lax.scan(body, state, batches)[0]
    # A number that the last update has spoilt would only show in the next step's loss.
    kept = [after["params"], after["variables"], after["average"]]
    real = [x for x in jax.tree.leaves(kept) if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = _all_finite(real)
    return {**after, "bad_step": _first_bad(after["bad_step"], finite, after["step"] - 1)}
