"""The Flax example's convolutional network, for `benchmarks.peers`: 824,458 parameters.

python -m mnist_jax.main --config=configs/peers/flax_cnn.py

Two 3x3 convolutions with mean pools, a dense layer of 256: the network that Flax's own examples
train on MNIST (https://flax.readthedocs.io, "MNIST tutorial"), with Adam as it comes and nothing
else, so that every framework can be asked to do the same.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 10

    config.model = dict(name="cnn", features=(32, 64), kernel=(3,), pooling="mean", dense=(256,))
    config.optimizer = dict(name="adam", learning_rate=1e-3)
    return config
