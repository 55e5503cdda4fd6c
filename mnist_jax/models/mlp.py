"""Dense networks: from logistic regression (no hidden layer) to any depth."""

from flax import nnx

from mnist_jax.models.layers import Sequence, dense_layers

PIXELS = 28 * 28


class MLP(Sequence):
    """784 pixels, hidden layers of any number and width, `num_classes` outputs.

    Called with images `[B, 28, 28, 1]` in [0, 1], gives `[B, num_classes]`.
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
        num_classes: int = 10,
        rngs: nnx.Rngs,
    ) -> None:
        self.output_activation = output_activation
        super().__init__(
            dense_layers(
                PIXELS,
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
