from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 12
    config.chunk_steps = 143
    config.model = dict(name="cnn", features=(16, 32), kernel=(5, 3), dense=(128,))
    config.augment.rotation = 10.0
    config.augment.translation = 2.0
    config.augment.scale = 0.1
    config.augment.shear = 10.0
    config.label_smoothing = 0.05
    config.schedule = dict(
        name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=4e-3, pct_start=0.2
    )
    config.optimizer = dict(name="adam")
    config.ema_decay = 0.998
    return config
