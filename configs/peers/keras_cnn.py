"""The Keras example's convolutional network, for `benchmarks.peers`: 34,826 parameters.

python -m mnist_jax.main --config=configs/peers/keras_cnn.py

Two 3x3 convolutions without padding, max pools, dropout before the outputs: "Simple MNIST convnet"
(https://keras.io/examples/vision/mnist_convnet), 15 epochs as there, with Adam as it comes.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 15

    config.model = dict(
        name="cnn",
        features=(32, 64),
        kernel=(3,),
        padding="VALID",
        pooling="max",
        dense=(),
        dropout=0.5,
    )
    config.optimizer = dict(name="adam", learning_rate=1e-3)
    return config
