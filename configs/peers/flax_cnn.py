"""The convolutional network of a Flax example, for `benchmarks.peers`: 824,458 parameters.

python -m mnist_jax.main --config=configs/peers/flax_cnn.py

It has two 3x3 convolutions with mean pooling and a dense layer of 256 units, as the network that
Flax's own examples train on MNIST (https://flax.readthedocs.io, "MNIST tutorial"). It uses Adam's
default hyperparameters and nothing else, so that every framework can do the same.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 10

    config.model = dict(name="cnn", features=(32, 64), kernel=(3,), pooling="mean", dense=(256,))
    config.optimizer = dict(name="adam", learning_rate=1e-3)
    return config
