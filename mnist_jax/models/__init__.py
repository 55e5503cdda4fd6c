"""Builds the network that a configuration names, as pure functions over plain dicts of arrays."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mnist_jax import binding, failures
from mnist_jax.binding import shown
from mnist_jax.compilation import optimized
from mnist_jax.config import Choice, Config
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.models.cnn import CNN
from mnist_jax.models.layers import ACTIVATIONS, Dropout
from mnist_jax.models.mlp import MLP

Tree = dict[str, Any]  # nested dicts of arrays

MODELS = {"mlp": MLP, "cnn": CNN}
FROM_DATA = ("image_shape", "num_classes")  # fields of `Spec` passed to constructors that take them
SUM_ERROR = 0.02  # of probabilities computed in bfloat16


@dataclass(frozen=True)
class Model:
    """A network without its weights: the pure functions `init` and `apply`, and its constants.

    `build` splits the NNX module once, and `apply` merges it inside the transformed function, so
    that JAX only sees plain dicts (https://flax.readthedocs.io, "Functional API", "Performance").
    """

    module: Callable[..., nnx.Module]
    keywords: Mapping[str, Any]
    graph: nnx.GraphDef
    dtype: jnp.dtype
    output_activation: str
    image_shape: tuple[int, int, int]  # height, width, channels
    num_classes: int

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Returns newly initialised `(parameters, other variables)` such as batch statistics."""
        module = self.module(**self.keywords, rngs=nnx.Rngs(params=key))
        _, params, variables = nnx.split(module, nnx.Param, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(variables)

    def merge(self, params: Tree, variables: Tree) -> nnx.Module:
        """Returns the network as an NNX module, its parameters in the type of the arithmetic.

        This is for use within the function that JAX traces.
        """
        narrow = jax.tree.map(lambda p: p.astype(self.dtype), params)
        return nnx.merge(self.graph, narrow, variables)

    def apply(
        self,
        params: Tree,
        variables: Tree,
        images: jax.Array,
        *,
        train: bool,
        keys: jax.Array | None = None,
    ) -> tuple[jax.Array, Tree]:
        """Returns the network's outputs and its updated variables.

        Args:
          params: the parameters, in the structure that `init` returns.
          variables: the other variables, in the structure that `init` returns.
          images: `[B, *image_shape]` in [0, 1].
          train: whether dropout is on and batch normalisation uses the statistics of this batch.
          keys: `[B]` random keys, one per example; required in training.

        Returns:
          The outputs, `[B, num_classes]` float32 (logits if `output_activation` is softmax), and
          the variables after the call.
        """
        module: Any = self.merge(params, variables)
        outputs = module(images.astype(self.dtype), train=train, keys=keys)
        if not isinstance(outputs, jax.Array):
            raise UserError(
                f"config.model: {self.module.__name__} returns {type(outputs).__name__}, but must "
                f"return one array of outputs, [B, {self.num_classes}]"
            )
        if not jnp.issubdtype(outputs.dtype, jnp.floating):
            raise UserError(
                f"config.model: the outputs of {self.module.__name__} are {outputs.dtype}, but "
                f"must be real numbers, which have a gradient"
            )
        after = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))
        return outputs.astype(jnp.float32), after


def resolve(config: Config) -> Config:
    """Returns `config` with the defaults of its model written out, so that it is complete.

    `image_shape` and `num_classes`, which come from the data set, are included only if the user
    has set them.

    Raises:
      UserError: the model has an unknown name, keyword or value.
    """
    _, keywords = _bind(config.model)
    given = config.model.keywords  # these came from a file, and were checked
    kept = {
        name: value for name, value in keywords.items() if name in given or _can_be_written(value)
    }
    return dataclasses.replace(config, model=Choice(config.model.name, kept))


def _can_be_written(value: Any) -> bool:
    """False for a default that a file cannot hold, such as a function or an infinite number."""
    if not isinstance(value, (bool, int, float, str, tuple, type(None))):
        return False
    try:
        binding.refuse_absurd({"": binding.plain(value, "")}, "")
    except UserError:
        return False
    return True


def build(
    choice: Choice, spec: Spec, dtype: str = "float32", axis_name: str | None = None
) -> Model:
    """Builds the network that a configuration names, for the images and classes of a data set.

    Args:
      choice: the name `mlp`, `cnn` or `package.module:Class`, and keywords of that class.
      spec: the data set's shape; a class with a parameter `image_shape` or `num_classes` receives
        it from here.
      dtype: the dtype of the arithmetic.
      axis_name: the mapped axis over which batch statistics are averaged, if any.

    Raises:
      UserError: a name, keyword or value is unknown, contradicts the data set, or names a class
        that is not a network as expected here.
    """
    module, keywords = _bind(choice)
    keywords |= _from_data(module, keywords, spec)
    _require_call(module, choice.name)
    with failures.reported(f"config.model: {module.__name__} cannot be built"):
        abstract = nnx.eval_shape(lambda: module(**keywords, rngs=nnx.Rngs(0)))
        params = nnx.state(abstract, nnx.Param)
    _refuse_random_state(abstract)
    _refuse_untrainable(module, nnx.to_pure_dict(params))
    _refuse_shared_masks(abstract)
    for _, part in nnx.iter_modules(abstract):
        if isinstance(part, nnx.BatchNorm):
            part.axis_name = axis_name
            part.dtype = jnp.dtype(dtype)  # else its float32 statistics promote all later layers
    return Model(
        module=module,
        keywords=keywords,
        graph=nnx.graphdef(abstract),
        dtype=jnp.dtype(dtype),
        output_activation=_output_activation(abstract),
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
    )


def check_outputs(model: Model) -> None:
    """Checks that a network accepts the data set's images and has one output per class.

    Raises:
      UserError: it does not; the message states the expected and the actual shapes.
    """
    name, image = model.module.__name__, f"an image of shape {model.image_shape}"
    outputs, _ = _traced(model, functools.partial(model.apply, train=False), 1)
    expected = (1, model.num_classes)
    if outputs.shape != expected:
        raise UserError(
            f"config.model: {name} gives outputs of shape {outputs.shape} for "
            f"{image}, but the data set has {model.num_classes} classes; expected {expected}. "
            "A constructor with a parameter num_classes receives that number"
        )


def check_training(model: Model, batch: int) -> None:
    """Checks that a network of the user's own can be called in training, and has a gradient.

    Args:
      model: built without `axis_name`.
      batch: the number of examples in a call.

    Raises:
      UserError: it cannot, or its other variables change their shapes or types.
    """

    def train(params: Tree, variables: Tree, images: jax.Array) -> Any:
        def total(params: Tree) -> Any:
            keys = jax.random.split(jax.random.key(0), batch)
            outputs, after = model.apply(params, variables, images, train=True, keys=keys)
            return outputs.sum(), (outputs, variables, after)

        return jax.grad(total, has_aux=True)(params)[1]

    outputs, before, after = _traced(model, train, batch)
    name, expected = model.module.__name__, (batch, model.num_classes)
    if outputs.shape != expected:
        raise UserError(
            f"config.model: {name} gives outputs of shape {outputs.shape} in training; expected "
            f"{expected}"
        )
    kinds = [str(jax.tree.map(_kind, variables)) for variables in (before, after)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"config.model: a call of {name} in training changes the shapes or types of its "
            f"variables: {kinds[0]} -> {kinds[1]}"
        )


def _traced(model: Model, function: Callable[..., Any], batch: int) -> Any:
    """Returns the shapes of what a function of weights and images returns."""
    what = (
        f"config.model: {model.module.__name__} fails on an image of shape {model.image_shape} "
        f"(height, width, channels), the shape in this data set; a constructor with a parameter "
        f"image_shape receives it"
    )
    images = jax.ShapeDtypeStruct((batch, *model.image_shape), jnp.float32)
    with failures.reported(what, function=True):
        weights = jax.eval_shape(model.init, jax.random.key(0))
        return jax.eval_shape(function, *weights, images)


def _kind(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def gives_probabilities(model: Model) -> bool:
    """True if a freshly drawn network returns probabilities: rows that are >= 0 and sum to 1."""

    def outputs(key: jax.Array) -> jax.Array:
        images = jax.random.uniform(key, (4, *model.image_shape))
        return model.apply(*model.init(key), images, train=False)[0]

    program = jax.jit(outputs, compiler_options=optimized(0))
    found = np.asarray(program(jax.random.key(0)))
    return bool((found >= 0.0).all() and (abs(found.sum(axis=-1) - 1.0) < SUM_ERROR).all())


def _bind(choice: Choice) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns the class and its keywords, without those that the program or the data set gives."""
    where = "config.model.name"
    module = binding.find(choice.name, MODELS, where)
    if not inspect.isclass(module) or not issubclass(module, nnx.Module):
        raise UserError(
            f"{where}: {choice.name!r} must be a subclass of flax.nnx.Module, but is "
            f"{shown(module)}"
        )
    parameters = binding.parameters(module, where)
    if "rngs" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise UserError(
            f"{where}: the constructor of {choice.name} must take rngs, from which its layers draw "
            f"their weights; it takes ({', '.join(parameters)})"
        )
    unsaid = [name for name in FROM_DATA if name not in choice.keywords]
    given = ("rngs", *unsaid)
    return module, binding.bind(module, choice.keywords, "config.model", given=given)


def _from_data(
    module: Callable[..., Any], keywords: Mapping[str, Any], spec: Spec
) -> dict[str, Any]:
    """Returns the fields of the spec that the constructor takes by name."""
    parameters = binding.parameters(module, "config.model.name")
    taken = {name: getattr(spec, name) for name in FROM_DATA if name in parameters}
    for name, value in taken.items():
        if keywords.get(name, value) != value:
            raise UserError(
                f"config.model.{name}: is {keywords[name]}, but the data set has {value}; "
                "leave the field out"
            )
    return taken


def _require_call(module: Callable[..., Any], name: str) -> None:
    parameters = binding.parameters(module.__call__, "config.model.name")
    if not {"train", "keys"} <= parameters.keys():
        raise UserError(
            f"config.model.name: {name}.__call__ must take (images, *, train, keys); "
            f"it takes ({', '.join(list(parameters)[1:])})"
        )


def _refuse_random_state(module: nnx.Module) -> None:
    """Raises UserError if a network keeps random keys.

    They would make a run depend on how often the network has been called.
    """
    if jax.tree.leaves(nnx.state(module, nnx.RngState)):
        raise UserError(
            f"config.model: {type(module).__name__} keeps random keys of its own, as "
            f"nnx.Dropout(rngs=...) does; use mnist_jax.models.layers.Dropout, which receives its "
            f"keys with each call"
        )


def _refuse_untrainable(module: Callable[..., Any], params: Tree) -> None:
    """Raises UserError unless a network has parameters, all of them real numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise UserError(f"config.model: {module.__name__} has no parameters (nnx.Param) to train")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(
                f"config.model: the parameter {name} of {module.__name__} is {leaf.dtype}, but is "
                f"trained by its gradient and must be real; make it an nnx.Variable to keep it"
            )


def _refuse_shared_masks(module: nnx.Module) -> None:
    """Raises UserError if two dropout layers would draw the same masks."""
    found: dict[int, str] = {}
    for path, part in nnx.iter_modules(module):
        if isinstance(part, Dropout):
            here = ".".join(map(str, path)) or type(module).__name__
            other = found.setdefault(part.stream, here)
            if other != here:
                raise UserError(
                    f"config.model: the Dropout layers {other} and {here} have the same name, by "
                    f"which they would drop the same values; give each a name of its own"
                )


def _output_activation(module: nnx.Module) -> str:
    name = getattr(module, "output_activation", "softmax")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = binding.did_you_mean(str(name), ACTIVATIONS)
        raise UserError(
            f"config.model: the attribute output_activation of {type(module).__name__} is "
            f"{shown(name)}, which is no activation's name{known}"
        )
    return name
