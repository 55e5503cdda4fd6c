"""Builds the network that a configuration names, as pure functions over plain dicts of arrays."""

import dataclasses
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mnist_jax import binding
from mnist_jax.config import Choice, Config
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.models.cnn import CNN
from mnist_jax.models.mlp import MLP

Tree = dict[str, Any]  # nested dicts of arrays

MODELS = {"mlp": MLP, "cnn": CNN}
FROM_DATA = ("image_shape", "num_classes")  # fields of `Spec` passed to constructors that take them
PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = re.compile(r"[/\\](site-packages|jax|flax)[/\\]|^<")


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
        narrow = jax.tree.map(lambda p: p.astype(self.dtype), params)
        module = nnx.merge(self.graph, narrow, variables)
        outputs = module(images.astype(self.dtype), train=train, keys=keys)
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
    # A default that a file cannot hold, such as a function, is not written out.
    plain = (bool, int, float, str, tuple, type(None))
    said = {k: v for k, v in keywords.items() if isinstance(v, plain)}
    return dataclasses.replace(config, model=Choice(config.model.name, said))


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
    abstract = nnx.eval_shape(lambda: module(**keywords, rngs=nnx.Rngs(0)))
    _refuse_random_state(abstract)
    for _, part in nnx.iter_modules(abstract):
        if isinstance(part, nnx.BatchNorm):
            part.axis_name = axis_name
            part.dtype = jnp.dtype(dtype)  # else its float32 statistics promote all later layers
    return Model(
        module=module,
        keywords=keywords,
        graph=nnx.graphdef(abstract),
        dtype=jnp.dtype(dtype),
        output_activation=getattr(abstract, "output_activation", "softmax"),
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
    )


def check_outputs(model: Model) -> None:
    """Checks that a network accepts the data set's images and has one output per class.

    Raises:
      UserError: it does not; the message states the expected and the actual shapes.
    """
    image = f"an image of shape {model.image_shape}"
    images = jax.ShapeDtypeStruct((1, *model.image_shape), jnp.float32)
    weights = jax.eval_shape(model.init, jax.random.key(0))
    try:
        outputs, _ = jax.eval_shape(functools.partial(model.apply, train=False), *weights, images)
    except UserError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"config.model: {model.module.__name__} fails on {image} (height, width, channels), "
            f"the shape in this data set; a constructor with a parameter image_shape receives it\n"
            f"{place(error)}{type(error).__name__}: {error}"
        ) from error
    expected = (1, model.num_classes)
    if outputs.shape != expected:
        raise UserError(
            f"config.model: {model.module.__name__} gives outputs of shape {outputs.shape} for "
            f"{image}, but the data set has {model.num_classes} classes; expected {expected}. "
            "A constructor with a parameter num_classes receives that number"
        )


def place(error: Exception) -> str:
    """Returns `file:line in function: ` of the last frame in the user's code; empty if none is."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not LIBRARIES.search(frame.filename) and PACKAGE not in Path(frame.filename).parents
    ]
    return f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}: " if own else ""


def _bind(choice: Choice) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns the class and its keywords, without those that the program or the data set gives."""
    module = binding.find(choice.name, MODELS, "config.model.name")
    unsaid = [name for name in FROM_DATA if name not in choice.keywords]
    given = ("rngs", *unsaid)
    return module, binding.bind(module, choice.keywords, "config.model", given=given)


def _from_data(
    module: Callable[..., Any], keywords: Mapping[str, Any], spec: Spec
) -> dict[str, Any]:
    """Returns the fields of the spec that the constructor takes by name."""
    parameters = inspect.signature(getattr(module, "__init__", module)).parameters
    taken = {name: getattr(spec, name) for name in FROM_DATA if name in parameters}
    for name, value in taken.items():
        if keywords.get(name, value) != value:
            raise UserError(
                f"config.model.{name}: is {keywords[name]}, but the data set has {value}; "
                "leave the field out"
            )
    return taken


def _require_call(module: Callable[..., Any], name: str) -> None:
    parameters = inspect.signature(module.__call__).parameters
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
