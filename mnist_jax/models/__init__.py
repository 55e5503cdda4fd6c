"""Networks by name, as pure functions over plain dicts of arrays."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mnist_jax import binding
from mnist_jax.config import Choice, Config
from mnist_jax.errors import UserError
from mnist_jax.models.cnn import CNN
from mnist_jax.models.mlp import MLP

Tree = dict[str, Any]  # nested dicts of arrays

MODELS = {"mlp": MLP, "cnn": CNN}


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
          images: `[B, 28, 28, 1]` in [0, 1].
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
    """`config` with the defaults of its model written out, so that it says all there is to say."""
    module = binding.find(config.model.name, MODELS, "config.model.name")
    keywords = binding.bind(module, config.model.keywords, "config.model", given=("rngs",))
    # A default that no file can hold, such as a function, stays with the class.
    plain = (bool, int, float, str, tuple, type(None))
    said = {k: v for k, v in keywords.items() if isinstance(v, plain)}
    return dataclasses.replace(config, model=Choice(config.model.name, said))


def build(choice: Choice, dtype: str = "float32", axis_name: str | None = None) -> Model:
    """The network that a configuration names.

    Args:
      choice: `mlp`, `cnn` or `package.module:Class`, and the class's own keywords.
      dtype: of the arithmetic.
      axis_name: the mapped axis over which batch statistics are taken, if any.

    Raises:
      UserError: an unknown name, keyword or value.
    """
    module = binding.find(choice.name, MODELS, "config.model.name")
    keywords = binding.bind(module, choice.keywords, "config.model", given=("rngs",))
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
    )


def check_outputs(model: Model, classes: int) -> None:
    """Raises UserError where the network does not give an output for each of `classes`."""
    weights = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    outputs, _ = jax.eval_shape(functools.partial(model.apply, train=False), *weights, images)
    if outputs.shape != (1, classes):
        raise UserError(
            f"config.model: gives {outputs.shape[1:]} for an image, where the data has {classes} "
            f"classes; see num_classes"
        )


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
