"""Builds and checks a configuration's model, loss, metrics, optimizer and schedule."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mnist_jax import config as configuration
from mnist_jax import data, failures, metrics, models
from mnist_jax.compilation import optimized
from mnist_jax.config import Config
from mnist_jax.data import Spec, augment
from mnist_jax.errors import UserError
from mnist_jax.lifted import active
from mnist_jax.metrics import Metric
from mnist_jax.models import Model
from mnist_jax.training import optimizer
from mnist_jax.training.loss import Loss, find_loss
from mnist_jax.training.reduction import WHOLE_BATCH, Reduction
from mnist_jax.training.schedule import Schedule

SHOWN = 3  # maximum number of arrays in a message
TRIED = 8  # random images


@dataclass(frozen=True)
class Task:
    """The model, loss, metrics and optimizer of a training step, which never change."""

    config: Config
    model: Model
    loss: Loss
    metrics: tuple[Metric, ...]
    optimizer: optax.GradientTransformation
    schedule: Schedule | None  # of the learning rate; None: the optimizer's own
    reduction: Reduction = WHOLE_BATCH  # from the parts of a batch to the batch


def build(
    config: Config, spec: Spec, steps_per_epoch: int, reduction: Reduction = WHOLE_BATCH
) -> Task:
    """Builds the model, loss, metrics, optimizer and schedule that `config` names.

    Args:
      config: a resolved configuration.
      spec: of the data set.
      steps_per_epoch: converts durations of the schedule to steps.
      reduction: as the layout has it; by default, the step sees the whole batch.

    Raises:
      UserError: `config` names something that does not exist, or gives it wrong values.
    """
    loss = find_loss(config.loss)
    found = metrics.find(config.metrics)
    model = models.build(config.model, spec, config.dtype, reduction.model_axis)
    transformation, schedule = optimizer.build(config, steps_per_epoch)
    return Task(config, model, loss, found, transformation, schedule, reduction)


def check(task: Task) -> None:
    """Checks the model, and the user's own code, by tracing them before training.

    What this package and optax provide is known to fit, and tracing it takes time.

    Raises:
      UserError: something fails, or returns other shapes than it must.
    """
    config = task.config
    models.check_outputs(task.model)
    if _is_own(config.model.name):
        spec = Spec(task.model.image_shape, tuple(map(str, range(task.model.num_classes))))
        models.check_training(models.build(config.model, spec, config.dtype), config.batch_size)
    refuse_odd(config, config.batch_size)
    if config.augment.functions:
        _check_augmentation(task)
    if _is_own(config.loss.name):
        _check_values(task, "config.loss", config.loss.name, task.loss, labels=False)
    own = {metrics.short_name(name) for name in config.metrics if _is_own(name)}
    for metric in task.metrics:
        if metric.name in own and metric.function is not None:
            _check_values(task, "config.metrics", metric.name, metric.function, labels=True)
    if _is_own(config.schedule.name):
        _check_schedule(task)
    if _is_own(config.optimizer.name) or not all(
        isinstance(value, bool | int | float | str) for value in config.optimizer.keywords.values()
    ):
        _check_optimizer(task)


def warnings(configs: Iterable[Config]) -> list[str]:
    """Returns warnings of networks and losses of the user's own that are probably mistaken.

    A network whose outputs are probabilities already must not be taken for one that gives logits,
    and a loss such as the share of errors, whose gradient is 0 everywhere, trains nothing.
    """
    found: dict[str, list[str]] = {}
    for config in configs:
        # Once per code, as it is slow: other keywords rarely decide whether there is a gradient.
        key = repr((config.model.name, config.loss.name, config.data.name, config.dtype))
        if key not in found and (_is_own(config.model.name) or _is_own(config.loss.name)):
            model = models.build(config.model, data.spec(config.data.name), config.dtype)
            found[key] = _suspicions(config, model)
    return list(dict.fromkeys(text for texts in found.values() for text in texts))


def _suspicions(config: Config, model: Model) -> list[str]:
    loss, own = find_loss(config.loss), _is_own(config.model.name)
    nothing = (
        "is 0 everywhere, so that nothing is learned. Rounding, argmax, comparisons and "
        "lax.stop_gradient have no other"
    )
    if own and model.output_activation == "softmax" and models.gives_probabilities(model):
        return [_probabilities(config.model.name)]
    if not _loss_has_gradient(model, loss):
        return [f"config.loss: the gradient of {config.loss.name} {nothing}"]
    if own and not _has_gradient(model, loss):
        return [f"config.model: the gradient of {config.model.name} {nothing}"]
    return []


def _loss_has_gradient(model: Model, loss: Loss) -> bool:
    """True if a loss has a gradient other than 0 for random outputs of a network."""
    outputs = jax.random.normal(jax.random.key(0), (TRIED, model.num_classes))
    outputs = jax.nn.softmax(outputs)  # any loss takes such
    slope = jax.grad(lambda x: _total(model, loss, x))(outputs)
    return bool((slope != 0.0).any())


def _has_gradient(model: Model, loss: Loss) -> bool:
    """True if a freshly drawn network, in training, has a gradient other than 0."""

    def gradient(key: jax.Array) -> Any:
        params, variables = model.init(key)
        images = jax.random.uniform(key, (TRIED, *model.image_shape))
        keys = jax.random.split(key, TRIED)

        def total(params: Any) -> jax.Array:
            outputs, _ = model.apply(params, variables, images, train=True, keys=keys)
            return _total(model, loss, outputs)

        return jax.tree.map(lambda slope: (slope != 0.0).any(), jax.grad(total)(params))

    program = jax.jit(gradient, compiler_options=optimized(0))
    return any(jax.tree.leaves(jax.device_get(program(jax.random.key(0)))))


def _total(model: Model, loss: Loss, outputs: jax.Array) -> jax.Array:
    targets = jax.nn.one_hot(jnp.arange(TRIED) % model.num_classes, model.num_classes)
    return loss(outputs, targets, output_activation=model.output_activation).sum()


def _probabilities(name: str) -> str:
    return (
        f"config.model: the outputs of {name.rpartition(':')[2]} are probabilities already, but "
        f"the loss takes them for logits and applies a softmax again. Return logits, or write "
        f'self.output_activation = "linear" in the constructor'
    )


def refuse_odd(config: Config, part: int) -> None:
    """Raises UserError if mixup cannot pair the examples of a part of a batch.

    Args:
      config: names the batch size and the strength of mixup.
      part: the number of examples that the step sees at a time: those of one device, or of one of
        the parts of elastic mode.
    """
    if active(config.augment.mixup) and part % 2:
        parts = config.batch_size // part
        raise UserError(
            f"config.batch_size: mixup pairs the examples of a batch on each device, or in each "
            f"part of config.reduction = 'elastic', but {part} is an odd number of examples; use a "
            f"multiple of {2 * parts}, or config.augment.mixup = 0"
        )


def _is_own(name: str) -> bool:
    """True if a name is the user's own `package.module:Name`."""
    return ":" in name


def _check_augmentation(task: Task) -> None:
    """Raises UserError unless each of the user's augmentations keeps all shapes and types."""
    count = task.config.batch_size
    images = jax.ShapeDtypeStruct((count, *task.model.image_shape), jnp.float32)
    targets = jax.ShapeDtypeStruct((count, task.model.num_classes), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    choices = task.config.augment.functions
    for i, function in enumerate(augment.find_functions(task.config.augment)):
        expected = (
            f"it is called with images {_array(images)}, targets {_array(targets)} and keys "
            f"[{count}], and must return (images, targets) of the same shapes and types"
        )
        where, name = f"config.augment.functions[{i}]", choices[i].name
        found = _shapes(where, name, function, (images, targets, keys), expected)
        same = isinstance(found, tuple | list) and _text((*found,)) == _text((images, targets))
        if not same:
            raise UserError(f"{where}: {name} returns {_text(found)}; {expected}")


def _check_values(
    task: Task, where: str, name: str, function: Callable[..., Any], *, labels: bool
) -> None:
    """Raises UserError unless a loss or a metric returns one value per example.

    Args:
      task: says how many classes there are, and the output activation.
      where: path of the field that names the function, for messages.
      name: the function's name, for messages.
      function: the loss or the metric.
      labels: True to call it with labels `[B]`, as a metric; else with targets `[B, K]`.
    """
    classes, kind = task.model.num_classes, task.model.output_activation
    size = classes + 1  # not equal to `classes`, so that swapped axes are noticed
    outputs = jax.ShapeDtypeStruct((size, classes), jnp.float32)
    targets = jax.ShapeDtypeStruct((size,), jnp.int32) if labels else outputs
    expected = (
        f"it is called as {name.rpartition(':')[2]}(outputs {list(outputs.shape)}, "
        f"targets {list(targets.shape)}, output_activation={kind!r}) on a batch of {size} and must "
        f"return an array [{size}]"
    )
    called = functools.partial(function, output_activation=kind)

    def slope(outputs: Any, targets: Any) -> Any:
        return jax.grad(lambda outputs: called(outputs, targets).sum())(outputs)

    found = _shapes(where, name, called, (outputs, targets), expected)
    if getattr(found, "shape", None) != (size,):
        raise UserError(f"{where}: {name} returns {_text(found)}; {expected}")
    if not labels:
        _shapes(where, name, slope, (outputs, targets), "a loss must have a gradient")


def _check_schedule(task: Task) -> None:
    """Raises UserError unless the user's schedule returns a single number."""
    where, name = "config.schedule.name", task.config.schedule.name
    expected = (
        "the function that it returns is called with the step, int32[], and must return the "
        "learning rate, a single number"
    )
    step = jax.ShapeDtypeStruct((), jnp.int32)
    assert task.schedule is not None  # there is one wherever `config.schedule` names one
    found = _shapes(where, name, task.schedule, (step,), expected)
    if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.number):
        raise UserError(f"{where}: {name} gives {_text(found)}; {expected}")


def _check_optimizer(task: Task) -> None:
    """Raises UserError unless the updates are like the parameters, and the state stays alike."""
    where, name = "config.optimizer.name", task.config.optimizer.name
    params, _ = jax.eval_shape(task.model.init, jax.random.key(0))

    def update(params: Any) -> Any:
        state = task.optimizer.init(params)
        updates, after = task.optimizer.update(params, state, params)
        return state, updates, after

    expected = (
        "its init(params) must return a state, and its update(gradients, state, params) a pair "
        "(updates, state): updates of the parameters' shapes, and a state of the same shapes and "
        "types as before"
    )
    before, updates, after = _shapes(where, name, update, (params,), expected)
    pairs = {"updates": (params, updates, _shape), "its state": (before, after, _array)}
    for what, (old, new, describe) in pairs.items():
        if lines := configuration.difference(_arrays(old, describe), _arrays(new, describe)):
            shown = "; ".join(lines[:SHOWN])
            raise UserError(
                f"{where}: {name} gives {what} of other shapes (expected -> found): {shown}; "
                f"{expected}"
            )


def _shapes(
    where: str, name: str, function: Callable[..., Any], arguments: Any, expected: str
) -> Any:
    """Returns the shapes of what `function` returns; turns whatever it raises into a UserError."""
    try:
        return jax.eval_shape(function, *arguments)
    except (Exception, SystemExit) as error:
        said = failures.describe(error, function=True)
        raise UserError(f"{where}: {name} fails: {said}; {expected}") from error


def _array(leaf: Any) -> str:
    """Describes an array by its type and shape: `float32[128, 10]`."""
    return f"{leaf.dtype}{list(leaf.shape)}"


def _shape(leaf: Any) -> str:
    """Describes an array by its shape: `[128, 10]`."""
    return str(list(leaf.shape))


def _text(tree: Any) -> str:
    """Describes a tree of arrays by their types and shapes: `(float32[128, 10], int32[])`."""
    return str(jax.tree.map(_array, tree)).replace("'", "")


def _arrays(tree: Any, describe: Callable[[Any], str]) -> dict[str, str]:
    """Describes each array of a tree, by its path in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): describe(leaf) for path, leaf in leaves}
