"""Tests whether hidden layers help, deeper networks need more epochs, and returns diminish.

python -m mnist_jax.sweep --config=configs/sweeps/depth.py

Trains networks with 0 to 4 hidden layers of 32 units for 2, 5, 10 and 20 epochs, with 10 seeds
each. In every training the learning rate decays to 0 at the end, so that a short training is not a
long one cut off. The analysis in depth_claims.py answers the three questions in the report, with
differences over seeds and their standard errors.
"""

from mnist_jax.config import default
from mnist_jax.members import Sweep


def get_sweep():
    members = {}
    for depth in range(5):
        for epochs in (2, 5, 10, 20):
            config = default()
            config.num_epochs = epochs
            config.model = dict(name="mlp", hidden=(32,) * depth)
            config.optimizer = dict(name="adam")
            config.schedule = dict(name="cosine_decay_schedule", init_value=2e-3, decay_steps=1.0)
            members[f"{depth} hidden, {epochs} epochs"] = config
    return Sweep(members, seeds=10, analysis="configs/sweeps/depth_claims.py:analyse")
