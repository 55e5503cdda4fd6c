"""One step of training: a pure function of the state and a batch."""

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
from mnist_jax.training.state import NO_STEP, SOME_STEP, Sums, TrainState
from mnist_jax.training.task import Task, refuse_odd


class Batch(TypedDict):
    """One device's part of a batch."""

    image: jax.Array  # [B, H, W, C] uint8
    label: jax.Array  # [B] int32
    position: jax.Array  # [B] int32: index of each example in the global batch


def train_step(task: Task, state: TrainState, batch: Batch) -> TrainState:
    """Returns the state after one training step on a batch.

    Where the batch is split over devices, each calls this with its part, and all return the same
    state: that of a step on the global batch; see the module `reduction`.
    """
    gradients, sums, variables = _gradients(task, state, batch)
    updates, optimizer = task.optimizer.update(gradients, state["optimizer"], state["params"])
    params: Any = optax.apply_updates(state["params"], updates)
    sums = jax.tree.map(jnp.add, state["sums"], sums)
    finite = _all_finite(gradients)
    for name in ALWAYS:  # not further metrics: the user's own may be undefined for some examples
        finite &= jnp.isfinite(sums[name])
    return TrainState(
        params=params,
        variables=variables,
        optimizer=optimizer,
        average=_average(task.config.ema_decay, state, params, variables),
        step=state["step"] + 1,
        key=state["key"],
        sums=sums,
        bad_step=_first_bad(state["bad_step"], finite, state["step"]),
    )


def _gradients(task: Task, state: TrainState, batch: Batch) -> tuple[Tree, Sums, Tree]:
    """Returns the gradient of the global batch's mean loss, metric sums, and new variables."""

    def of_part(batch: Batch) -> tuple[tuple[Tree, Tree], Sums]:
        images, targets = augmented(task, state, batch)

        def mean_loss(params: Tree) -> tuple[jax.Array, tuple[Sums, Tree]]:
            losses, outputs, variables = forward(task, params, state, batch, images, targets)
            return losses.mean(), (_sums(task, losses, outputs, batch["label"]), variables)

        gradients, (sums, variables) = jax.grad(mean_loss, has_aux=True)(state["params"])
        return (gradients, variables), sums

    (gradients, variables), sums = task.reduction.over_batch(of_part, batch)
    return gradients, sums, variables


def _sums(task: Task, losses: jax.Array, outputs: jax.Array, labels: jax.Array) -> Sums:
    """Sums each metric over the batch; `loss` sums the training losses themselves."""
    found: Sums = {"count": jnp.int32(losses.size), "loss": losses.sum()}
    seen = outputs
    for metric in task.metrics:
        if metric.function is None:
            continue
        if metric.name not in ALWAYS:  # the barrier keeps every other result equal to the bit
            seen = lax.optimization_barrier(outputs)
        values = metric.function(seen, labels, output_activation=task.model.output_activation)
        found[metric.name] = values.sum(dtype=jnp.float32)
    return found


def augmented(task: Task, state: TrainState, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Returns a batch as floats, augmented if configured.

    Returns:
      Images `[B, H, W, C]` from 0 to 1, and targets `[B, K]`: the smoothed labels.
    """
    config = task.config
    images = rescale(batch["image"])
    targets = smooth_labels(batch["label"], task.model.num_classes, config.label_smoothing)
    if not enabled(config.augment):
        return images, targets
    refuse_odd(config, len(images))
    keys = example_keys(state["key"], "augment", state["step"], batch["position"])
    images, targets = augment(images, targets, keys, config.augment)
    # Without the barrier, XLA would augment again for each tap of a convolution.
    return lax.optimization_barrier(images), targets


def forward(
    task: Task,
    params: Tree,
    state: TrainState,
    batch: Batch,
    images: jax.Array,
    targets: jax.Array,
) -> tuple[jax.Array, jax.Array, Tree]:
    """Applies the network in training mode; returns losses `[B]`, outputs, new variables."""
    keys = example_keys(state["key"], "dropout", state["step"], batch["position"])
    outputs, variables = task.model.apply(params, state["variables"], images, train=True, keys=keys)
    losses = task.loss(outputs, targets, output_activation=task.model.output_activation)
    return losses, outputs, variables


def _first_bad(bad_step: jax.Array, finite: jax.Array, step: jax.Array) -> jax.Array:
    """Returns the first step that met NaN or infinity, possibly this one; -1 if none has."""
    return jnp.where((bad_step == NO_STEP) & ~finite, step, bad_step)


def _all_finite(tree: Any) -> jax.Array:
    """True if every value is finite. Checks sums, which are non-finite if any term is.

    The sums are over all axes but the last, because XLA:CPU computes them much faster than a norm.
    """
    sums = [leaf.sum(axis=tuple(range(leaf.ndim - 1))) for leaf in jax.tree.leaves(tree)]
    return jnp.stack([jnp.isfinite(each).all() for each in sums]).all()


def _average(decay: float, state: TrainState, params: Tree, variables: Tree) -> Tree:
    """Returns the updated exponential moving average of the weights; {} if none is configured.

    The decay grows from 0.1 to `decay`, so that the initial weights are soon forgotten, as in
    tf.train.ExponentialMovingAverage with `num_updates`. Batch statistics are averaged as well,
    because those of the raw weights do not fit the averaged weights.
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
    """Returns the state after a chunk of steps, run in one `lax.scan` without host transfers.

    Args:
      task: what to train.
      fetch: `(data, row) -> Batch`, a method of the feed.
      state: before the chunk.
      data: the arrays that the feed keeps on the device.
      batches: tree of arrays `[S, B, ...]`, one row per step.
    """

    def body(state: TrainState, row: Any) -> tuple[TrainState, None]:
        # The barrier separates the step from the fetch, so that all feeds give the same bits.
        batch = lax.optimization_barrier(fetch(data, row))
        return train_step(task, state, batch), None

    finite = _finite_leaves(state["optimizer"])
    after = lax.scan(body, state, batches)[0]
    # What no loss and no gradient shows: the last update, what only the evaluation uses, and the
    # optimizer's state, in which an infinite second moment would stop the learning in silence. It
    # may have been infinite from the start, as the best loss of optax's `reduce_on_plateau` is.
    lost = jnp.any(finite & ~_finite_leaves(after["optimizer"]))
    sums = [after["sums"][name] for name in ALWAYS]
    kept = [after["params"], after["variables"], after["average"], sums]
    lost |= ~_finite_leaves(kept).all()
    bad_step = jnp.where((after["bad_step"] == NO_STEP) & lost, SOME_STEP, after["bad_step"])
    return {**after, "bad_step": bad_step}


def _finite_leaves(tree: Any) -> jax.Array:
    """Returns which leaves hold finite numbers only, `[leaves]` bool; integers always are."""
    return jnp.stack([jnp.bool_(True), *(jnp.isfinite(x).all() for x in jax.tree.leaves(tree))])
