"""Candidates for `configs/robust.py`: the network of configs/cnn.py with other augmentation.

python -m mnist_jax.sweep --config=configs/sweeps/robust.py

The sweep itself ranks them on clean validation images. `python -m benchmarks.outside` ranks them on
corrupted ones, and writes README's table of it.
"""

from mnist_jax.config_file import import_file
from mnist_jax.members import Sweep

WIDE = dict(rotation=25.0, translation=4.0, scale=0.2, shear=20.0)
NOISE, ERASE, ELASTIC = dict(noise=0.3), dict(erase=0.5), dict(elastic=1.5)
CANDIDATES = {
    "as in cnn": {},
    "wide": WIDE,
    "noise, erase": NOISE | ERASE,
    "wide, noise": WIDE | NOISE,
    "wide, noise, erase": WIDE | NOISE | ERASE,
    "wide, noise, erase, elastic": WIDE | NOISE | ERASE | ELASTIC,
}


def candidate(name):
    config = import_file("configs/cnn.py").get_config()
    config.augment.update(CANDIDATES[name])
    return config


def get_sweep():
    return Sweep({name: candidate(name) for name in CANDIDATES}, seeds=3)
