"""The dense product against the plain one, on both sides of the width at which its form changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax.models import backend
from mnist_jax.models.product import FEW_OUTPUTS, product

WIDTHS = (1, 5, FEW_OUTPUTS, FEW_OUTPUTS + 1)


def example(width: int, *leading: int) -> tuple[jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(width))
    x = jax.random.normal(keys[0], (*leading, 12, 7))
    return x, jax.random.normal(keys[1], (*leading, 7, width))


def jaxpr(function, x, kernel):
    """Traced now: a function traced before, for another backend, would be known already."""
    return str(jax.make_jaxpr(lambda *a: function(*a))(x, kernel))


def gradients(function, x, kernel):
    return jax.grad(lambda *a: jnp.sin(function(*a)).sum(), argnums=(0, 1))(x, kernel)


@pytest.mark.parametrize("width", WIDTHS)
def test_values_and_gradients_are_those_of_the_plain_product(width):
    x, kernel = example(width)
    np.testing.assert_allclose(product(x, kernel), x @ kernel, rtol=1e-5, atol=1e-5)
    for ours, plain in zip(
        gradients(product, x, kernel), gradients(jnp.matmul, x, kernel), strict=True
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_forward_mode_gives_the_tangents_of_the_plain_product(width):
    x, kernel = example(width)
    _, ours = jax.jvp(product, (x, kernel), (jnp.cos(x), jnp.sin(kernel)))
    _, plain = jax.jvp(jnp.matmul, (x, kernel), (jnp.cos(x), jnp.sin(kernel)))
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_kernel_is_turned_where_outputs_are_few(width):
    text = jaxpr(product, *example(width))
    assert ("optimization_barrier" in text) == (width <= FEW_OUTPUTS)


def test_on_an_accelerator_it_is_the_plain_product(monkeypatch):
    monkeypatch.setattr(backend, "on_cpu", lambda: False)
    x, kernel = example(5)
    assert jaxpr(product, x, kernel) == jaxpr(jnp.matmul, x, kernel)


@pytest.mark.parametrize("width", WIDTHS)
def test_many_networks_at_once_have_the_gradients_of_each(width):
    x, kernel = example(width, 3)
    together = jax.vmap(lambda *a: gradients(product, *a))(x, kernel)
    for i in range(3):
        for ours, alone in zip(together, gradients(product, x[i], kernel[i]), strict=True):
            np.testing.assert_allclose(ours[i], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("strict_dtypes")
def test_half_precision_stays_half():
    x, kernel = (a.astype(jnp.bfloat16) for a in example(5))
    assert {g.dtype for g in gradients(product, x, kernel)} == {jnp.dtype("bfloat16")}
