"""Networks by name, as pure functions over plain dicts of arrays."""

import dataclasses
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
FROM_DATA = ("image_shape", "num_classes")  # of a `Spec`: given to a constructor that takes them
LIBRARIES = re.compile(r"[/\\](site-packages|jax|flax)[/\\]|^<")


@dataclass(frozen=True)
class Model:
    """A network without its weights: two pure functions and what they need to know.

    A module is split once, here, and merged inside the transformed function, so that JAX sees
    plain dicts only (https://flax.readthedocs.io, "Functional API" and "Performance").
    """

    module: Callable[..., nnx.Module]
    keywords: Mapping[str, Any]
    graph: nnx.GraphDef
    dtype: jnp.dtype
    output_activation: str
    image_shape: tuple[int, int, int]  # height, width, channels
    num_classes: int

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh `(parameters, other variables)`, the latter e.g. batch statistics."""
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
        """The network's outputs, and its other variables afterwards.

        Args:
          params: as `init` gives them.
          variables: as `init` gives them.
          images: `[B, *image_shape]` in [0, 1].
          train: dropout on, batch statistics of this batch.
          keys: `[B]` random keys, one an example; needed in training.

        Returns:
          `[B, num_classes]` float32 (logits where `output_activation` is softmax), and variables.
        """
        narrow = jax.tree.map(lambda p: p.astype(self.dtype), params)
        module = nnx.merge(self.graph, narrow, variables)
        outputs = module(images.astype(self.dtype), train=train, keys=keys)
        after = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))
        return outputs.astype(jnp.float32), after


def resolve(config: Config) -> Config:
    """`config` with the defaults of its model written out, so that it says all there is to say.

    What the data say (`image_shape`, `num_classes`) is left to them, unless the user wrote it.
    """
    _, keywords = _bind(config.model)
    # A default that no file can hold, such as a function, stays with the class.
    plain = (bool, int, float, str, tuple, type(None))
    said = {k: v for k, v in keywords.items() if isinstance(v, plain)}
    return dataclasses.replace(config, model=Choice(config.model.name, said))


def build(
    choice: Choice, spec: Spec, dtype: str = "float32", axis_name: str | None = None
) -> Model:
    """The network that a configuration names, for the images and classes of a data set.

    Args:
      choice: `mlp`, `cnn` or `package.module:Class`, and the class's own keywords.
      spec: of the data; a class that takes `image_shape` or `num_classes` gets it from here.
      dtype: of the arithmetic.
      axis_name: the mapped axis over which batch statistics are taken, if any.

    Raises:
      UserError: an unknown name, keyword or value; or one that the data contradict.
    """
    module, keywords = _bind(choice)
    keywords |= _from_data(module, keywords, spec)
    _require_call(module, choice.name)
    abstract = nnx.eval_shape(lambda: module(**keywords, rngs=nnx.Rngs(0)))
    _refuse_random_state(abstract)
    for _, part in nnx.iter_modules(abstract):
        if isinstance(part, nnx.BatchNorm):
            part.axis_name = axis_name
            part.dtype = jnp.dtype(dtype)  # else its float32 statistics widen all that follows
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
    """Refuses a network that cannot take an image of the data, or gives no output for each class.

    Raises UserError, which says what the data are, and what came.
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
            f"as the data have them; a constructor with a parameter image_shape receives it\n"
            f"{_where(error)}{type(error).__name__}: {error}"
        ) from error
    expected = (1, model.num_classes)
    if outputs.shape != expected:
        raise UserError(
            f"config.model: {model.module.__name__} gives outputs of shape {outputs.shape} for "
            f"{image} of the data, which have {model.num_classes} classes; expected {expected}. "
            "A constructor with a parameter num_classes receives it"
        )


def _bind(choice: Choice) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The class, and its keywords but for those that only the program knows, or the data."""
    module = binding.find(choice.name, MODELS, "config.model.name")
    unsaid = [name for name in FROM_DATA if name not in choice.keywords]
    given = ("rngs", *unsaid)
    return module, binding.bind(module, choice.keywords, "config.model", given=given)


def _from_data(
    module: Callable[..., Any], keywords: Mapping[str, Any], spec: Spec
) -> dict[str, Any]:
    """What of the spec the constructor takes by name."""
    parameters = inspect.signature(getattr(module, "__init__", module)).parameters
    taken = {name: getattr(spec, name) for name in FROM_DATA if name in parameters}
    for name, value in taken.items():
        if keywords.get(name, value) != value:
            raise UserError(
                f"config.model.{name}: is {keywords[name]}, where the data have {value}; "
                "leave it out"
            )
    return taken


def _where(error: Exception) -> str:
    """`file:line in function` of the error, in the network's own code if that can be told."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not LIBRARIES.search(frame.filename)]
    return f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}: " if own else ""


def _require_call(module: Callable[..., Any], name: str) -> None:
    parameters = inspect.signature(module.__call__).parameters
    if not {"train", "keys"} <= parameters.keys():
        raise UserError(
            f"config.model.name: {name}.__call__ must take (images, *, train, keys); "
            f"it takes ({', '.join(list(parameters)[1:])})"
        )


def _refuse_random_state(module: nnx.Module) -> None:
    """Keys kept inside a network would make a run depend on how often it was called."""
    if jax.tree.leaves(nnx.state(module, nnx.RngState)):
        raise UserError(
            f"config.model: {type(module).__name__} keeps random keys of its own, as "
            f"nnx.Dropout(rngs=...) does; use mnist_jax.models.layers.Dropout, whose keys come "
            f"with each call"
        )
