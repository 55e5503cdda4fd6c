"""Candidates for `configs/robust.py`: the network of configs/cnn.py with other augmentation.

python -m mnist_jax.sweep --config=configs/sweeps/robust.py

The sweep itself ranks them on clean validation images. `python -m benchmarks.outside` ranks them on
corrupted ones, and writes README's table of it.
"""

from mnist_jax.config_file import import_file
from mnist_jax.members import Sweep

WIDE = dict(rotation=25.0, translation=4.0, scale=0.2, shear=20.0)
NOISE, ERASE = dict(noise=0.3), dict(erase=0.5)
CANDIDATES = {
    "as in cnn": {},
    "wide": WIDE,
    "noise, erase": NOISE | ERASE,
    "wide, noise": WIDE | NOISE,
    "wide, noise, erase": WIDE | NOISE | ERASE,
}


def get_sweep():
    members = {}
    for name, changes in CANDIDATES.items():
        config = import_file("configs/cnn.py").get_config()
        config.augment.update(changes)
        members[name] = config
    return Sweep(members, seeds=2)
