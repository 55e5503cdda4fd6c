"""Compares 24 dense networks, in sequential form: each one is spelled out after the other.

python -m mnist_jax.sweep --config=configs/sweeps/sequential.py

The name of a network gives its hidden units, its activation in the hidden layers and that of the
outputs. looped.py defines the same networks. To set the number of epochs and the batch size of
all networks, add for example --config.num_epochs=10 --config.batch_size=64
"""

from mnist_jax.config import default
from mnist_jax.members import Sweep


def get_sweep():
    members = {}

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(16,),
        activation="relu",
        output_activation="softmax",
    )
    members["16 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(16,),
        activation="relu",
        output_activation="sigmoid",
    )
    members["16 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(16,),
        activation="tanh",
        output_activation="softmax",
    )
    members["16 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(16,),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["16 tanh sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64,),
        activation="relu",
        output_activation="softmax",
    )
    members["64 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64,),
        activation="relu",
        output_activation="sigmoid",
    )
    members["64 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64,),
        activation="tanh",
        output_activation="softmax",
    )
    members["64 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64,),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["64 tanh sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(256,),
        activation="relu",
        output_activation="softmax",
    )
    members["256 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(256,),
        activation="relu",
        output_activation="sigmoid",
    )
    members["256 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(256,),
        activation="tanh",
        output_activation="softmax",
    )
    members["256 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(256,),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["256 tanh sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64, 32),
        activation="relu",
        output_activation="softmax",
    )
    members["64-32 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64, 32),
        activation="relu",
        output_activation="sigmoid",
    )
    members["64-32 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64, 32),
        activation="tanh",
        output_activation="softmax",
    )
    members["64-32 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(64, 32),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["64-32 tanh sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 32),
        activation="relu",
        output_activation="softmax",
    )
    members["128-32 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 32),
        activation="relu",
        output_activation="sigmoid",
    )
    members["128-32 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 32),
        activation="tanh",
        output_activation="softmax",
    )
    members["128-32 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 32),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["128-32 tanh sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 64, 32),
        activation="relu",
        output_activation="softmax",
    )
    members["128-64-32 relu softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 64, 32),
        activation="relu",
        output_activation="sigmoid",
    )
    members["128-64-32 relu sigmoid"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 64, 32),
        activation="tanh",
        output_activation="softmax",
    )
    members["128-64-32 tanh softmax"] = config

    config = default()
    config.num_epochs = 5
    config.model = dict(
        name="mlp",
        hidden=(128, 64, 32),
        activation="tanh",
        output_activation="sigmoid",
    )
    members["128-64-32 tanh sigmoid"] = config

    return Sweep(members, seeds=3)
