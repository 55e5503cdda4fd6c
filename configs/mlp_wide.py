"""A wide dense network with two hidden layers, 784-800-400-10, trained on distorted digits.

python -m mnist_jax.main --config=configs/mlp_wide.py

Measured: test accuracy 99.41 ± 0.04 %, loss 0.0164 ± 0.0007
(10 seeds, lowest 99.34 %); 113 s in total on CPU AMD EPYC (family 25, model 17, AVX-512), 2 cores,
jax 0.12.0.1, commit 2f5c79d234de.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 40
    config.chunk_steps = 143

    config.model = dict(name="mlp", hidden=(800, 400), kernel_init="he_normal")

    # Dense layers have no notion of geometry; they learn it from distorted images. Distortion is
    # all the regularization they need: dropout as well gained nothing on the validation split.
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
