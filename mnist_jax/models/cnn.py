"""Convolutional networks: blocks of convolution and pooling, followed by dense layers."""

import math

from flax import nnx

from mnist_jax.errors import UserError
from mnist_jax.lifted import active
from mnist_jax.models.layers import POOLINGS, Conv, Dropout, Sequence, dense_layers, refuse_deep


class CNN(Sequence):
    """A convolutional network: blocks of convolution and 2x2 pooling, then dense layers.

    Each block consists of convolution, normalisation, activation and pooling; with `pool_first`,
    pooling comes before normalisation and activation. `kernel` and `stride` hold one value for all
    blocks, or one per block. `padding` is `SAME` or `VALID`. Dropout follows each hidden dense
    layer (`dropout_1`, ...) or, if there is none, the flattened features (`dropout_0`).

    Called with images `[B, *image_shape]` in [0, 1], it returns `[B, num_classes]`. The data set
    provides `image_shape` (height, width, channels) and `num_classes`.

    Raises:
      UserError: a value is unknown or out of range, or the image is too small for the blocks.
    """

    def __init__(
        self,
        *,
        features: tuple[int, ...] = (32, 64),
        kernel: tuple[int, ...] = (3,),
        stride: tuple[int, ...] = (1,),
        padding: str = "SAME",
        pooling: str = "max",
        pool_first: bool = False,
        normalisation: str = "none",
        dense: tuple[int, ...] = (256,),
        dropout: float = 0.0,
        activation: str = "relu",
        output_activation: str = "softmax",
        kernel_init: str = "glorot_uniform",
        image_shape: tuple[int, int, int],
        num_classes: int,
        rngs: nnx.Rngs,
    ) -> None:
        self.output_activation = output_activation
        refuse_deep(features)
        kernels = _each(kernel, len(features), "kernel")
        strides = _each(stride, len(features), "stride")
        layers: dict[str, nnx.Module] = {}
        *size, channels = image_shape
        for i, outputs in enumerate(features):
            layers[f"conv_{i + 1}"] = Conv(
                channels,
                outputs,
                kernel=kernels[i],
                stride=strides[i],
                padding=padding,
                pooling=pooling,
                pool_first=pool_first,
                activation=activation,
                normalisation=normalisation,
                kernel_init=kernel_init,
                rngs=rngs,
            )
            window = 1 if padding == "SAME" else kernels[i]  # VALID loses `window - 1` pixels
            places = [-(-(n - window + 1) // strides[i]) for n in size]
            channels, size = outputs, [_pooled(n, pooling, i + 1) for n in places]
        head = dense_layers(
            math.prod(size) * channels,
            dense,
            num_classes,
            dropout=dropout,
            output_activation=output_activation,
            activation=activation,
            normalisation=normalisation,
            kernel_init=kernel_init,
            rngs=rngs,
        )
        if not dense and active(dropout):
            dropped = {"dropout_0": Dropout(dropout, name="dropout_0")}
            head = {"flatten": head["flatten"]} | dropped | head
        super().__init__(layers | head)


def _each(values: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    if len(values) not in (1, count):
        raise UserError(
            f"config.model.{name}: give one value, or {count} (one per block), got {values}"
        )
    return values * count if len(values) == 1 else values


def _pooled(size: int, pooling: str, block: int) -> int:
    pooled = size // POOLINGS.get(pooling, 1)
    if pooled < 1:
        raise UserError(
            f"config.model.features: nothing is left of the image after block {block}; "
            f"use fewer blocks, smaller kernels or strides, padding = 'SAME', or pooling = 'none'"
        )
    return pooled
