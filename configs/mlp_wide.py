"""How far dense layers go: two hidden layers, augmentation and regularization.

python -m mnist_jax.main --config=configs/mlp_wide.py
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 40
    config.chunk_steps = 143

    config.model = dict(name="mlp", hidden=(800, 400), dropout=0.1, kernel_init="he_normal")

    # Dense layers know nothing of geometry: distortion is what teaches it to them.
    config.augment.rotation = 8.0  # degrees
    config.augment.translation = 1.5  # pixels
    config.augment.scale = 0.1
    config.augment.shear = 8.0  # degrees
    config.augment.elastic = 1.0  # pixels

    config.optimizer = dict(name="adam")
    config.schedule = dict(
        name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=2e-3, pct_start=0.2
    )
    config.ema_decay = 0.998
    return config
