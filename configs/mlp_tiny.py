"""A tiny dense network with one hidden layer of 5 units: 784-5-10, ReLU, softmax.

python -m mnist_jax.main --config=configs/mlp_tiny.py

Measured: test accuracy 90.31 ± 0.22 %, loss 0.3573 ± 0.0076
(10 seeds, lowest 89.75 %); 9 s in total on CPU AMD EPYC (family 25, model 17, AVX-512), 2 cores,
jax 0.12.0.1, commit 2f5c79d234de.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 60

    config.model = dict(name="mlp", hidden=(5,))

    # A learning rate that is high in the middle of the run makes all five units useful. On the
    # validation split this gains half a point over a constant 1e-3; more epochs gain nothing.
    config.optimizer = dict(name="adam")
    config.schedule = dict(name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=1e-2)
    return config
