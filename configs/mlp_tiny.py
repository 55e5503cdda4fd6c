"""The smallest network that deserves the name: 784-5-10, ReLU, softmax.

python -m mnist_jax.main --config=configs/mlp_tiny.py
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 30

    # He's initialization leaves fewer of the five units dead than Glorot's.
    config.model = dict(name="mlp", hidden=(5,), kernel_init="he_normal")

    config.optimizer = dict(name="adam")
    config.schedule = dict(name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=1e-2)
    return config
