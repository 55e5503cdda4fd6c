"""The contestant in plain JAX and Flax: `nnx.Conv`, `nnx.max_pool`, one jitted call per step."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.peers.digits import Digits, load
from benchmarks.peers.networks import BATCH, CLASSES, LEARNING_RATE, NETWORKS, Network

EVALUATED_AT_A_TIME = 1000
OPTIMIZER = optax.adam(LEARNING_RATE)
POOLS = {"max": nnx.max_pool, "mean": nnx.avg_pool}


class Module(nnx.Module):
    """The network as a Flax module, from images `[B, 28, 28, 1]` to logits `[B, 10]`."""

    def __init__(self, network: Network, rngs: nnx.Rngs) -> None:
        self.pools = tuple(block.pooling for block in network.blocks)
        layer: Any = dict(kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)
        channels, convolutions = 1, []
        for block in network.blocks:
            window = (block.kernel, block.kernel)
            convolutions.append(
                nnx.Conv(channels, block.features, window, padding=block.padding, **layer)
            )
            channels = block.features
        widths = (network.features, *network.dense, CLASSES)
        dense = [nnx.Linear(i, o, **layer) for i, o in itertools.pairwise(widths)]
        self.convolutions, self.dense = nnx.List(convolutions), nnx.List(dense)
        self.dropout = nnx.Dropout(network.dropout)

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Returns the logits of `x`; dropout is on if `key` is given."""
        for convolution, pool in zip(self.convolutions, self.pools, strict=True):
            x = POOLS[pool](nnx.relu(convolution(x)), window_shape=(2, 2), strides=(2, 2))
        x = self.dropout(x.reshape(len(x), -1), deterministic=key is None, rngs=key)
        for layer in self.dense[:-1]:
            x = nnx.relu(layer(x))
        return self.dense[-1](x)


class InFlax:
    """Trains with a compiled step that is called for each batch.

    If `resident`, the images stay on the device and a step receives indices.
    """

    def __init__(self, network: Network, digits: Digits, *, resident: bool) -> None:
        self._graph, params = nnx.split(Module(network, nnx.Rngs(0)), nnx.Param)
        self._state = (params, OPTIMIZER.init(params), jax.random.key(0))
        self._resident = resident
        self._train = digits.train_images, digits.train_labels
        self._test = digits.test_images, digits.test_labels
        if resident:
            self._train = jax.device_put(self._train)
        self._orders = np.random.default_rng(0)
        self.facts: dict[str, Any] = {
            "parameters": sum(p.size for p in jax.tree.leaves(params)),
            "device": jax.default_backend(),
        }

    def epoch(self) -> None:
        """Trains one epoch of complete batches in a new random order."""
        count = len(self._train[1])
        order = self._orders.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH)
        for index in order.astype(np.int32):
            if self._resident:
                self._state = _indexed_step(self._graph, self._state, *self._train, index)
            else:
                images, labels = self._train
                self._state = _step(self._graph, self._state, images[index], labels[index])
        jax.block_until_ready(self._state)

    def accuracy(self) -> float:
        """Returns the accuracy on the test images."""
        images, labels = self._test
        parts = np.split(images, len(images) // EVALUATED_AT_A_TIME)
        logits = np.concatenate([_logits(self._graph, self._state[0], part) for part in parts])
        return float((logits.argmax(axis=1) == labels).mean())


def _update(graph: Any, state: Any, images: Any, labels: Any) -> Any:
    params, optimizer, key = state
    key, dropout_key = jax.random.split(key)

    def mean_loss(params: Any) -> jax.Array:
        logits = nnx.merge(graph, params)(images, dropout_key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    gradients = jax.grad(mean_loss)(params)
    updates, optimizer = OPTIMIZER.update(gradients, optimizer, params)
    return optax.apply_updates(params, updates), optimizer, key


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _step(graph: Any, state: Any, images: Any, labels: Any) -> Any:
    return _update(graph, state, images, labels)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _indexed_step(graph: Any, state: Any, images: Any, labels: Any, index: Any) -> Any:
    return _update(graph, state, jnp.take(images, index, axis=0), jnp.take(labels, index, axis=0))


@functools.partial(jax.jit, static_argnums=0)
def _logits(graph: Any, params: Any, images: Any) -> jax.Array:
    return nnx.merge(graph, params)(images)


def build(network: str, examples: int, variant: str) -> InFlax:
    """Builds the trainer of a network, with the first `examples` training images."""
    return InFlax(NETWORKS[network], load(examples), resident=variant == "resident")
