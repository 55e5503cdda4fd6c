from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 25
    return config
