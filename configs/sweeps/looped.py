"""Compares 24 dense networks, in looped form: a loop over a dictionary of architectures.

python -m mnist_jax.sweep --config=configs/sweeps/looped.py

The name of a network gives its hidden units, its activation in the hidden layers and that of the
outputs. sequential.py defines the same networks. To set the number of epochs and the batch size of
all networks, add for example --config.num_epochs=10 --config.batch_size=64
"""

from mnist_jax.config import default
from mnist_jax.members import Sweep

ARCHITECTURES = {
    "16 relu softmax": ((16,), "relu", "softmax"),
    "16 relu sigmoid": ((16,), "relu", "sigmoid"),
    "16 tanh softmax": ((16,), "tanh", "softmax"),
    "16 tanh sigmoid": ((16,), "tanh", "sigmoid"),
    "64 relu softmax": ((64,), "relu", "softmax"),
    "64 relu sigmoid": ((64,), "relu", "sigmoid"),
    "64 tanh softmax": ((64,), "tanh", "softmax"),
    "64 tanh sigmoid": ((64,), "tanh", "sigmoid"),
    "256 relu softmax": ((256,), "relu", "softmax"),
    "256 relu sigmoid": ((256,), "relu", "sigmoid"),
    "256 tanh softmax": ((256,), "tanh", "softmax"),
    "256 tanh sigmoid": ((256,), "tanh", "sigmoid"),
    "64-32 relu softmax": ((64, 32), "relu", "softmax"),
    "64-32 relu sigmoid": ((64, 32), "relu", "sigmoid"),
    "64-32 tanh softmax": ((64, 32), "tanh", "softmax"),
    "64-32 tanh sigmoid": ((64, 32), "tanh", "sigmoid"),
    "128-32 relu softmax": ((128, 32), "relu", "softmax"),
    "128-32 relu sigmoid": ((128, 32), "relu", "sigmoid"),
    "128-32 tanh softmax": ((128, 32), "tanh", "softmax"),
    "128-32 tanh sigmoid": ((128, 32), "tanh", "sigmoid"),
    "128-64-32 relu softmax": ((128, 64, 32), "relu", "softmax"),
    "128-64-32 relu sigmoid": ((128, 64, 32), "relu", "sigmoid"),
    "128-64-32 tanh softmax": ((128, 64, 32), "tanh", "softmax"),
    "128-64-32 tanh sigmoid": ((128, 64, 32), "tanh", "sigmoid"),
}


def get_sweep():
    members = {}
    for name, (hidden, activation, output_activation) in ARCHITECTURES.items():
        config = default()
        config.num_epochs = 5
        config.model = dict(
            name="mlp", hidden=hidden, activation=activation, output_activation=output_activation
        )
        members[name] = config
    return Sweep(members, seeds=3)
