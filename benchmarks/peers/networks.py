"""The networks that every contestant trains, and what they cost in arithmetic."""

import itertools
from dataclasses import dataclass

BATCH = 128
LEARNING_RATE = 1e-3
IMAGE_SIZE, CLASSES = 28, 10


@dataclass(frozen=True)
class Block:
    """A convolution, ReLU and a 2x2 pool."""

    features: int
    kernel: int  # of both axes
    stride: int = 1
    padding: str = "SAME"  # or VALID
    pooling: str = "max"  # mean, max or none

    def sizes(self, size: int) -> tuple[int, int]:
        """Height (and width) after the convolution, and after the pool, of `size` before it."""
        places = size if self.padding == "SAME" else size - self.kernel + 1
        convolved = -(-places // self.stride)
        return convolved, convolved // (1 if self.pooling == "none" else 2)


@dataclass(frozen=True)
class Shapes:
    """Blocks and then dense layers, the last of them giving 10 logits."""

    blocks: tuple[Block, ...]
    dense: tuple[int, ...]  # widths, without the outputs'

    def layers(self) -> list[tuple[int, int, int]]:
        """`(positions, inputs, outputs)` of each layer's matrix product, first to last."""
        size, channels, found = IMAGE_SIZE, 1, []
        for block in self.blocks:
            convolved, size = block.sizes(size)
            found.append((convolved**2, block.kernel**2 * channels, block.features))
            channels = block.features
        widths = (size * size * channels, *self.dense, CLASSES)
        return found + [(1, i, o) for i, o in itertools.pairwise(widths)]

    @property
    def features(self) -> int:
        """Values an image after the last block, flattened."""
        return self.layers()[len(self.blocks)][1]

    @property
    def parameters(self) -> int:
        """The number of trained values."""
        return sum((inputs + 1) * outputs for _, inputs, outputs in self.layers())

    @property
    def flops(self) -> int:
        """Of training on one image: forward, kernels' and inputs' gradients, no first input's.

        A multiplication and an addition are two; all that is no matrix product is left out.
        """
        products = [2 * positions * i * o for positions, i, o in self.layers()]
        return 3 * sum(products) - products[0]


@dataclass(frozen=True, kw_only=True)
class Network(Shapes):
    """A network of the table: ReLU throughout, dropout before the outputs."""

    name: str
    words: str
    config: str  # the same for `mnist_jax.main`: a configuration, and what to override in it
    overrides: tuple[tuple[str, str], ...] = ()
    dropout: float = 0.0
    floor: float  # test accuracy below which it did not learn, after epochs of all examples
    quick_examples: int  # a part of them that takes some seconds
    rounds: int = 5  # of a full run


# Of the published recipe: https://github.com/tuomaso/train_mnist_fast
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
            words="the Flax example's: conv3x3x32, mean pool, conv3x3x64, mean pool, dense 256",
            config="configs/peers/flax_cnn.py",
            blocks=(Block(32, 3, pooling="mean"), Block(64, 3, pooling="mean")),
            dense=(256,),
            floor=0.98,
            quick_examples=2_560,
        ),
        Network(
            name="keras_cnn",
            words="the Keras example's: conv3x3x32, max pool, conv3x3x64, max pool, dropout 0.5",
            config="configs/peers/keras_cnn.py",
            blocks=(Block(32, 3, padding="VALID"), Block(64, 3, padding="VALID")),
            dense=(),
            dropout=0.5,
            floor=0.98,
            quick_examples=2_560,
        ),
    )
}
