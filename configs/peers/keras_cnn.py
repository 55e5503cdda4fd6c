"""The convolutional network of a Keras example, for `benchmarks.peers`: 34,826 parameters.

python -m mnist_jax.main --config=configs/peers/keras_cnn.py

It has two 3x3 convolutions without padding, max pooling, and dropout before the outputs, as in
"Simple MNIST convnet" (https://keras.io/examples/vision/mnist_convnet). It trains for 15 epochs, as
that example does, with Adam's default hyperparameters.
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
