"""Which activations: seven for the hidden layers, four for the outputs of 784-128-32-10.

python -m mnist_jax.sweep --config=configs/sweeps/activations.py

The loss is Keras' cross-entropy: of logits for softmax, else of the outputs, normalised and clipped
(https://keras.io/api/losses/probabilistic_losses). What that makes of a linear output is seen here.
"""

from mnist_jax.config import default
from mnist_jax.members import Sweep


def get_sweep():
    members = {}
    for activation in ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"):
        for output_activation in ("softmax", "sigmoid", "softplus", "linear"):
            config = default()
            config.num_epochs = 5
            config.model = dict(
                name="mlp",
                hidden=(128, 32),
                activation=activation,
                output_activation=output_activation,
            )
            members[f"{activation}, {output_activation}"] = config
    return Sweep(members, seeds=3)
