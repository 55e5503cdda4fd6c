"""The contestant in Keras 3 on TensorFlow, with one call of `fit` per epoch."""

from typing import Any

import keras  # pyright: ignore[reportMissingImports]
import tensorflow as tf  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

from benchmarks.peers.digits import Digits, load
from benchmarks.peers.networks import BATCH, CLASSES, IMAGE_SIZE, LEARNING_RATE, NETWORKS, Network

STEPS_A_CALL = 33  # divides the 429 steps in an epoch of 55,000 examples


class InKeras:
    """Trains a compiled Keras model on the complete batches of the training images.

    Args:
      network: the network to train.
      digits: the images and labels.
      pipeline: feed a `tf.data` pipeline instead of arrays.
      xla: compile with XLA.
      steps_a_call: number of steps per execution of the compiled function.
    """

    def __init__(
        self, network: Network, digits: Digits, *, pipeline: bool, xla: bool, steps_a_call: int
    ) -> None:
        keras.utils.set_random_seed(0)
        self._model = module(network)
        self._model.compile(
            optimizer=keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8),  # as in other frameworks
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True if xla else "auto",  # "auto" does not use XLA on a CPU
            steps_per_execution=steps_a_call,
        )
        self._digits = digits
        count = len(digits.train_labels) // BATCH * BATCH
        examples = digits.train_images[:count], digits.train_labels[:count]
        if pipeline:
            self._epoch: dict[str, Any] = {"x": _pipeline(*examples)}
        else:
            x, y = map(tf.constant, examples)  # otherwise each call of `fit` copies them
            self._epoch = {"x": x, "y": y, "batch_size": BATCH, "shuffle": True}
        self.facts: dict[str, Any] = {
            "parameters": self._model.count_params(),
            "device": "gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        }

    def epoch(self) -> None:
        """Trains one epoch by one call of `fit`."""
        self._model.fit(**self._epoch, epochs=1, verbose=0)

    def accuracy(self) -> float:
        """Returns the accuracy on the test images."""
        logits = self._model.predict(self._digits.test_images, batch_size=1000, verbose=0)
        return float((logits.argmax(axis=1) == self._digits.test_labels).mean())


def _pipeline(images: Any, labels: Any) -> Any:
    data = tf.data.Dataset.from_tensor_slices((images, labels)).cache()
    batches = data.shuffle(len(labels)).batch(BATCH, drop_remainder=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def module(network: Network) -> Any:
    """Builds the network in Keras, whose default initialisation is that of Glorot and Bengio."""
    layers: list[Any] = [keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1))]
    for block in network.blocks:
        layers.append(
            keras.layers.Conv2D(
                block.features, block.kernel, padding=block.padding.lower(), activation="relu"
            )
        )
        pool = {"max": keras.layers.MaxPooling2D, "mean": keras.layers.AveragePooling2D}
        layers.append(pool[block.pooling](2))
    layers.append(keras.layers.Flatten())
    if network.dropout:
        layers.append(keras.layers.Dropout(network.dropout))
    layers += [keras.layers.Dense(width, activation="relu") for width in network.dense]
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES)])


def build(network: str, examples: int, variant: str) -> InKeras:
    """Builds the trainer of a network, with the first `examples` training images."""
    return InKeras(
        NETWORKS[network],
        load(examples),
        pipeline="tf.data" in variant,
        xla="XLA" in variant,
        steps_a_call=STEPS_A_CALL if "steps" in variant else 1,
    )
