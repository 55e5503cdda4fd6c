"""Compares logistic regression, dense and convolutional networks, with and without augmentation.

python -m mnist_jax.sweep --config=configs/sweeps/families.py

Each dense network has a convolutional partner with nearly as many parameters (26, 105 and 530
thousand), so that the two families are compared at equal size. Epochs, optimizer and schedule are
the same for all; augmented networks train on the distortions of configs/cnn.py. The larger
convolutional networks take most of the time. `python -m benchmarks.sweeps` writes README's
conclusion from it.
"""

from mnist_jax.config import default
from mnist_jax.config_file import import_file
from mnist_jax.members import Sweep

NETWORKS = {
    "logistic": dict(name="mlp", hidden=()),
    "mlp 32": dict(name="mlp", hidden=(32,)),
    "mlp 128-32": dict(name="mlp", hidden=(128, 32)),
    "mlp 512-256": dict(name="mlp", hidden=(512, 256)),
    "cnn 8-16": dict(name="cnn", features=(8, 16), dense=(32,)),
    "cnn 16-32": dict(name="cnn", features=(16, 32), dense=(64,)),
    "cnn 32-64": dict(name="cnn", features=(32, 64), dense=(160,)),
}
AUGMENTED = ", augmented"  # end of the names of augmented networks


def get_sweep():
    members = {}
    for name, model in NETWORKS.items():
        for end in ("", AUGMENTED):
            config = default()
            config.num_epochs = 5
            config.model = model
            config.optimizer = dict(name="adam")
            config.schedule = dict(
                name="cosine_onecycle_schedule",
                transition_steps=1.0,
                peak_value=3e-3,
                pct_start=0.2,
            )
            if end:
                config.augment = import_file("configs/cnn.py").get_config().augment
            members[f"{name}{end}"] = config
    return Sweep(members, seeds=3)
