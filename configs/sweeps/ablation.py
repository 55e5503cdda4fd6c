"""Measures what each part of configs/fast.py is worth, by changing one part at a time.

python -m mnist_jax.sweep --config=configs/sweeps/ablation.py

Trains on the first 55,000 images of train and validates on the last 5,000. The high learning rate
needs batch norm, so the network without batch norm is also trained with a lower rate.
"""

from mnist_jax.config import default
from mnist_jax.config_file import import_file
from mnist_jax.members import Sweep

CHANGES = {
    "as it is": {},
    "no batch norm": {"model.normalisation": "none"},
    "no batch norm, rate 5e-3": {"model.normalisation": "none", "schedule.peak_value": 5e-3},
    "rate 1e-2": {"schedule.peak_value": 1e-2},
    "rate 1e-1": {"schedule.peak_value": 1e-1},
    "b2 0.999": {"optimizer.b2": 0.999},
    "labels not smoothed": {"label_smoothing": 0.0},
    "mean pool": {"model.pooling": "mean"},
    "kernels of 5": {"model.kernel": (5,)},
    "half the features": {"model.features": (4, 8)},
    "twice the features": {"model.features": (16, 32)},
    "no hidden dense layer": {"model.dense": ()},
    "2 epochs": {"num_epochs": 2},
}


def get_sweep():
    members = {}
    for name, changes in CHANGES.items():
        config = import_file("configs/fast.py").get_config()
        config.data.train_split = default().data.train_split
        config.data.val_split = default().data.val_split
        config.update_from_flattened_dict(changes)
        members[name] = config
    return Sweep(members, seeds=4)
