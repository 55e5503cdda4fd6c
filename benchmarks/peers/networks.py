"""The networks that every contestant trains, and the floating-point operations they need."""

import itertools
from dataclasses import dataclass

BATCH = 128
LEARNING_RATE = 1e-3
IMAGE_SIZE, CLASSES = 28, 10


@dataclass(frozen=True)
class Block:
    """A convolution followed by ReLU and 2x2 pooling."""

    features: int
    kernel: int  # height and width
    stride: int = 1
    padding: str = "SAME"  # or "VALID"
    pooling: str = "max"  # or "mean" or "none"

    def sizes(self, size: int) -> tuple[int, int]:
        """Returns the height after the convolution and after the pooling; `size` is that before.

        The width is the same, because images and kernels are square.
        """
        places = size if self.padding == "SAME" else size - self.kernel + 1
        convolved = -(-places // self.stride)
        return convolved, convolved // (1 if self.pooling == "none" else 2)


@dataclass(frozen=True)
class Shapes:
    """The shapes of a network: convolutional blocks, then dense layers, the last with 10 logits."""

    blocks: tuple[Block, ...]
    dense: tuple[int, ...]  # widths of the hidden dense layers

    def layers(self) -> list[tuple[int, int, int]]:
        """Returns `(positions, inputs, outputs)` of each layer's matrix product, first to last."""
        size, channels, found = IMAGE_SIZE, 1, []
        for block in self.blocks:
            convolved, size = block.sizes(size)
            found.append((convolved**2, block.kernel**2 * channels, block.features))
            channels = block.features
        widths = (size * size * channels, *self.dense, CLASSES)
        return found + [(1, i, o) for i, o in itertools.pairwise(widths)]

    @property
    def features(self) -> int:
        """The number of values per image after the last block."""
        return self.layers()[len(self.blocks)][1]

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum((inputs + 1) * outputs for _, inputs, outputs in self.layers())

    @property
    def flops(self) -> int:
        """The floating-point operations of training on one image.

        They include the forward pass and the gradients of all kernels and of all inputs but the
        image. A multiplication and an addition count as two operations. Operations outside matrix
        products are not counted.
        """
        products = [2 * positions * i * o for positions, i, o in self.layers()]
        return 3 * sum(products) - products[0]


@dataclass(frozen=True, kw_only=True)
class Network(Shapes):
    """A network of the comparison, with ReLU throughout and dropout before the outputs."""

    name: str
    words: str  # description for the tables
    config: str  # configuration file with which `mnist_jax.main` trains the same network
    overrides: tuple[tuple[str, str], ...] = ()  # fields to change in the configuration
    dropout: float = 0.0
    floor: float  # test accuracy after full epochs below which a contestant is not trained
    quick_examples: int  # examples per epoch in a quick run, for an epoch of some seconds
    rounds: int = 5  # rounds in a full run


# The network of the published recipe: https://github.com/tuomaso/train_mnist_fast
RECIPE = Shapes(blocks=(Block(24, 5, padding="VALID"), Block(32, 3, padding="VALID")), dense=(256,))
NETWORKS = {
    network.name: network
    for network in (
        Network(
            name="mlp",
            words="784-128-32-10, ReLU",
            config="configs/mlp.py",
            overrides=(
                ("model.dropout", "0"),
                ("schedule.name", ""),
                ("optimizer.learning_rate", str(LEARNING_RATE)),
            ),
            blocks=(),
            dense=(128, 32),
            floor=0.95,
            quick_examples=25_600,
            rounds=15,  # an epoch is a fraction of a second
        ),
        Network(
            name="flax_cnn",
            words="the Flax example: conv3x3x32, mean pool, conv3x3x64, mean pool, dense 256",
            config="configs/peers/flax_cnn.py",
            blocks=(Block(32, 3, pooling="mean"), Block(64, 3, pooling="mean")),
            dense=(256,),
            floor=0.98,
            quick_examples=2_560,
        ),
        Network(
            name="keras_cnn",
            words="the Keras example: conv3x3x32, max pool, conv3x3x64, max pool, dropout 0.5",
            config="configs/peers/keras_cnn.py",
            blocks=(Block(32, 3, padding="VALID"), Block(64, 3, padding="VALID")),
            dense=(),
            dropout=0.5,
            floor=0.98,
            quick_examples=2_560,
        ),
    )
}
