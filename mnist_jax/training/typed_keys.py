"""Keeps the random keys in an optimizer's state as plain data, which a checkpoint can hold."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KeyData:
    """A random key as an array of integers, and the name of its implementation."""

    data: jax.Array
    impl: str = dataclasses.field(metadata=dict(static=True))


def as_data(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns the same optimizer, whose state holds `KeyData` where `inner` has random keys."""

    def init(params: Any) -> Any:
        return _without_keys(inner.init(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, after = inner.update(updates, _with_keys(state), params)
        return updates, _without_keys(after)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _without_keys(state: Any) -> Any:
    def convert(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            return leaf
        return KeyData(jax.random.key_data(leaf), str(jax.random.key_impl(leaf)))

    return jax.tree.map(convert, state)


def _with_keys(state: Any) -> Any:
    def convert(leaf: Any) -> Any:
        if isinstance(leaf, KeyData):
            return jax.random.wrap_key_data(leaf.data, impl=leaf.impl)
        return leaf

    return jax.tree.map(convert, state, is_leaf=lambda leaf: isinstance(leaf, KeyData))
