"""Compares seven activations of the hidden layers and four of the outputs of 784-128-32-10.

python -m mnist_jax.sweep --config=configs/sweeps/activations.py

The loss is the cross-entropy of Keras: computed from the logits for softmax, and else from the
outputs, normalised and clipped (https://keras.io/api/losses/probabilistic_losses). The sweep also
shows how well linear outputs can be trained with it.
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
