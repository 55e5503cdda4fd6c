"""Compares ten learning rates, 1e-5 to 0.3, with five seeds each: 50 networks in one program.

python -m mnist_jax.sweep --config=configs/sweeps/learning_rates.py

All train the network of an introductory course, 784-128-32-10, with Adam at a constant rate.
"""

from mnist_jax.config import default
from mnist_jax.members import Sweep


def get_sweep():
    members = {}
    for rate in (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1):
        config = default()
        config.num_epochs = 5
        config.model = dict(name="mlp", hidden=(128, 32))
        config.optimizer = dict(name="adam", learning_rate=rate)
        members[f"rate {rate:g}"] = config
    return Sweep(members, seeds=5)
