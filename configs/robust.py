"""The network of configs/cnn.py, trained on images that are distorted and spoilt more.

python -m mnist_jax.main --config=configs/robust.py

Its augmentation is the best of the candidates in configs/sweeps/robust.py, by the accuracy on
corrupted images of the validation split: `python -m benchmarks.outside` ranks them. README says
what that does to corrupted images, to digits of other writers, and to clean digits.
"""

from mnist_jax.config_file import import_file


def get_config():
    config = import_file("configs/cnn.py").get_config()
    config.augment.rotation = 25.0  # degrees
    config.augment.translation = 4.0  # pixels
    config.augment.scale = 0.2
    config.augment.shear = 20.0  # degrees
    config.augment.noise = 0.3  # standard deviation
    return config
