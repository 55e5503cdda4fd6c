"""The layers of the networks, and the names by which a configuration selects their options.

Every layer is called as `layer(x, train=..., keys=...)`, so that a network is a sequence of layers.
"""

import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from mnist_jax import binding
from mnist_jax.errors import UserError
from mnist_jax.lifted import Held, active, is_lifted
from mnist_jax.models import convolution
from mnist_jax.models.product import product
from mnist_jax.models.windows import padding_of

Activation = Callable[[jax.Array], jax.Array]

ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
}
INITIALIZERS = {
    "glorot_uniform": nnx.initializers.glorot_uniform(),
    "glorot_normal": nnx.initializers.glorot_normal(),
    "he_uniform": nnx.initializers.he_uniform(),
    "he_normal": nnx.initializers.he_normal(),
    "lecun_normal": nnx.initializers.lecun_normal(),
    "orthogonal": nnx.initializers.orthogonal(),
}
POOLINGS = {"none": 1, "max": 2, "mean": 2}  # height and width of the pooling window
DEEPEST = 1000  # layers of a kind; XLA would compile more for hours
PADDINGS = ("SAME", "VALID")  # with and without zeros around the image


class Sequence(nnx.Module):
    """Named layers that are applied one after the other."""

    def __init__(self, layers: Mapping[str, nnx.Module]) -> None:
        self.order = tuple(layers)
        self.layers = nnx.Dict(layers)

    def __call__(self, x: jax.Array, *, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Applies all layers to `x`; training needs random `keys` `[B]`, one per example."""
        for name in self.order:
            x = self.layers[name](x, train=train, keys=keys)
        return x


class Dense(nnx.Module):
    """A fully connected layer with normalisation and activation, `[B, inputs]` to `[B, outputs]`.

    Raises:
      UserError: `outputs` is less than 1, or the name of an option is unknown.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        activation: str = "linear",
        normalisation: str = "none",
        kernel_init: str = "glorot_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        _require_positive(outputs, "the width of a layer")
        self.kernel = nnx.Param(_initialize(kernel_init, (inputs, outputs), rngs))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.normalise = _normalisation(normalisation, outputs, rngs)
        self.activation = _known(activation, ACTIVATIONS, "activation")

    def __call__(self, x: jax.Array, *, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Maps `x` `[B, inputs]` to `[B, outputs]`."""
        y = _add_bias(product(x, self.kernel[...]), self.bias[...])
        return ACTIVATIONS[self.activation](self.normalise(y, train=train))


class Conv(nnx.Module):
    """A convolution with normalisation, activation and pooling, on `[B, H, W, inputs]`.

    These form a single layer because, on a CPU, the best way to compute the convolution depends on
    the pooling. `padding` is `SAME` or `VALID`; pooling uses windows of 2 by 2 pixels. With
    `pool_first`, pooling comes before normalisation and activation, which then have a quarter of
    the work.

    Raises:
      UserError: a size is less than 1, the name of an option is unknown, or `pool_first` is set
        without pooling.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: str = "SAME",
        pooling: str = "none",
        pool_first: bool = False,
        activation: str = "linear",
        normalisation: str = "none",
        kernel_init: str = "glorot_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        _require_positive(outputs, "features")
        _require_positive(kernel, "kernel")
        _require_positive(stride, "stride")
        self.kernel = nnx.Param(_initialize(kernel_init, (kernel, kernel, inputs, outputs), rngs))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.normalise = _normalisation(normalisation, outputs, rngs)
        self.activation = _known(activation, ACTIVATIONS, "activation")
        if pool_first and pooling == "none":
            raise UserError("config.model.pool_first: needs a pooling, but pooling is 'none'")
        self.pool_first = pool_first
        self.padding = _known(padding, dict.fromkeys(PADDINGS), "padding")
        self.pooling = _known(pooling, POOLINGS, "pooling")
        self.stride = stride

    def __call__(self, x: jax.Array, *, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Maps `x` `[B, H, W, inputs]` to `[B, h, w, outputs]`."""
        pixels = jnp.transpose(x, (1, 2, 0, 3))  # the layout of the module `convolution`
        y = self._convolve(pixels, train) if self.pooling == "none" else self._pooled(pixels, train)
        # Without a barrier, XLA computes the activation pixel by pixel, in the next layer's order.
        return jnp.transpose(lax.optimization_barrier(y), (2, 0, 1, 3))

    def _convolve(self, pixels: jax.Array, train: bool) -> jax.Array:
        y = convolution.conv2d(pixels, self.kernel[...], self.stride, self.padding)
        return self._finish(y, train)

    def _pooled(self, pixels: jax.Array, train: bool) -> jax.Array:
        window, kernel = POOLINGS[self.pooling], self.kernel[...]
        if self._needs_whole(pixels):
            return convolution.pool(self._convolve(pixels, train), window, self.pooling)
        phases = convolution.conv2d_phases(pixels, kernel, self.stride, window, self.padding)
        if self.pool_first or self._pool_commutes:
            return self._finish(convolution.combine(phases, self.pooling), train)
        if isinstance(self.normalise, BatchNorm):
            phases = list(self._finish(jnp.stack(phases), train))
        else:
            phases = [self._finish(phase, train) for phase in phases]
        return convolution.combine(phases, self.pooling)

    @property
    def _pool_commutes(self) -> bool:
        """True if max-pooling commutes with normalisation and activation."""
        plain = isinstance(self.normalise, Identity)
        return plain and self.pooling == "max" and self.activation in ("linear", "relu")

    def _needs_whole(self, pixels: jax.Array) -> bool:
        """Returns True if batch statistics must include edge pixels that the pooling leaves out."""
        _, size = padding_of(pixels, self.kernel[...], self.stride, self.padding)
        rest = any(n % POOLINGS[self.pooling] for n in size)
        return rest and isinstance(self.normalise, BatchNorm) and not self.pool_first

    def _finish(self, y: jax.Array, train: bool) -> jax.Array:
        y = _add_bias(y, self.bias[...])
        return ACTIVATIONS[self.activation](self.normalise(y, train=train))


class Flatten(nnx.Module):
    """Flattens each example: `[B, ...]` to `[B, values per example]`."""

    def __call__(self, x: jax.Array, *, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Maps `x` `[B, ...]` to `[B, values per example]`."""
        return x.reshape(x.shape[0], -1)


class Dropout(nnx.Module):
    """Zeroes each value with probability `rate` and scales the others (Srivastava et al., 2014).

    The mask of an example is drawn from that example's own key, so that it does not depend on how
    the batch is split over devices. `name` distinguishes the masks of several dropout layers.

    Raises:
      UserError: `rate` is not in [0, 1).
    """

    def __init__(self, rate: float, *, name: str) -> None:
        if not is_lifted(rate) and not 0.0 <= rate < 1.0:
            raise UserError(f"config.model.dropout: must be at least 0 and below 1, got {rate}")
        self.rate = Held(rate)
        self.stream = zlib.crc32(name.encode()) & 0x7FFFFFFF

    def __call__(self, x: jax.Array, *, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """Drops values of `x` `[B, ...]` in training, which needs `keys` `[B]`.

        Raises:
          ValueError: `keys` are missing in training.
        """
        rate = self.rate.value
        if not train or not active(rate):
            return x
        if keys is None:
            raise ValueError("dropout in training needs keys, one per example")

        share = 1.0 - rate

        def keep(key: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.fold_in(key, self.stream), share, x.shape[1:])

        return jnp.where(jax.vmap(keep)(keys), x / jnp.asarray(share, x.dtype), 0.0)


class BatchNorm(nnx.BatchNorm):
    """Batch normalisation with the statistics of the global batch (Ioffe and Szegedy, 2015).

    Outside training it uses running averages of these statistics.
    """

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:  # pyright: ignore
        """Normalises `x` `[..., C]` for each channel."""
        return super().__call__(x, use_running_average=not train)


class LayerNorm(nnx.LayerNorm):
    """Layer normalisation, over the channels of each example (Ba et al., 2016)."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:  # pyright: ignore
        """Normalises `x` `[..., C]` over its last axis."""
        return super().__call__(x)


class Identity(nnx.Module):
    """The identity, which takes the place of a normalisation."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns `x` unchanged."""
        return x


NORMALISATIONS: dict[str, Callable[[int, nnx.Rngs], BatchNorm | LayerNorm | Identity]] = {
    "none": lambda features, rngs: Identity(),
    "batch": lambda features, rngs: BatchNorm(features, momentum=0.9, rngs=rngs),
    "layer": lambda features, rngs: LayerNorm(features, rngs=rngs),
}


def _normalisation(name: str, features: int, rngs: nnx.Rngs) -> BatchNorm | LayerNorm | Identity:
    return binding.find(name, NORMALISATIONS, "config.model.normalisation")(features, rngs)


def _initialize(name: str, shape: tuple[int, ...], rngs: nnx.Rngs) -> jax.Array:
    init = binding.find(name, INITIALIZERS, "config.model.kernel_init")
    return init(rngs.params(), shape)


def _add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    return y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))


def _require_positive(value: int, what: str) -> None:
    if value < 1:
        raise UserError(f"config.model: {what} must be at least 1, got {value}")


def _known(name: str, known: Mapping[str, object], field: str) -> str:
    binding.find(name, known, f"config.model.{field}")
    return name


def refuse_deep(sizes: tuple[int, ...]) -> None:
    """Raises UserError if there are more layers of a kind than a program can hold."""
    if len(sizes) > DEEPEST:
        raise UserError(
            f"config.model: {len(sizes):,} layers are more than a network may have, {DEEPEST}"
        )


def dense_layers(
    inputs: int,
    hidden: tuple[int, ...],
    outputs: int,
    *,
    dropout: float,
    output_activation: str,
    activation: str,
    normalisation: str,
    kernel_init: str,
    rngs: nnx.Rngs,
) -> dict[str, nnx.Module]:
    """Returns the layers `flatten`, `dense_1`, `dropout_1`, ..., `output`, by name.

    They form an MLP, or the end of a convolutional network. If `output_activation` is softmax, the
    output layer gives logits; the softmax is applied in the loss and in prediction.
    """
    refuse_deep(hidden)
    layers: dict[str, nnx.Module] = {"flatten": Flatten()}
    for i, width in enumerate(hidden, start=1):
        layers[f"dense_{i}"] = Dense(
            inputs,
            width,
            activation=activation,
            normalisation=normalisation,
            kernel_init=kernel_init,
            rngs=rngs,
        )
        if active(dropout):
            layers[f"dropout_{i}"] = Dropout(dropout, name=f"dropout_{i}")
        inputs = width
    _known(output_activation, ACTIVATIONS, "output_activation")
    last = "linear" if output_activation == "softmax" else output_activation
    layers["output"] = Dense(inputs, outputs, activation=last, kernel_init=kernel_init, rngs=rngs)
    return layers
