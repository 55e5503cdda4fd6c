"""Dense networks: from logistic regression (no hidden layer) to any depth."""

import math

from flax import nnx

from mnist_jax.models.layers import Sequence, dense_layers


class MLP(Sequence):
    """A dense network: the pixels of an image, any number of hidden layers, one output per class.

    `hidden` holds the widths of the hidden layers. Called with images `[B, *image_shape]` in
    [0, 1], it returns `[B, num_classes]`. The data set provides `image_shape` (height, width,
    channels) and `num_classes`.

    Raises:
      UserError: a value is unknown or out of range.
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (128, 32),
        activation: str = "relu",
        output_activation: str = "softmax",
        dropout: float = 0.0,
        normalisation: str = "none",
        kernel_init: str = "glorot_uniform",
        image_shape: tuple[int, int, int],
        num_classes: int,
        rngs: nnx.Rngs,
    ) -> None:
        self.output_activation = output_activation
        super().__init__(
            dense_layers(
                math.prod(image_shape),
                hidden,
                num_classes,
                dropout=dropout,
                output_activation=output_activation,
                activation=activation,
                normalisation=normalisation,
                kernel_init=kernel_init,
                rngs=rngs,
            )
        )
