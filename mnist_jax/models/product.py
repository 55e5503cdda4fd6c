"""The product of a dense layer, in the form that XLA:CPU computes fastest.

A kernel's gradient is `x^T dy`, a product over the batch. With few outputs XLA multiplies matrices
of a few columns, and leaves most of a vector unit idle; transposed, `dy^T x`, its rows are as long
as the inputs: for 784-5 and a batch of 128 that takes about 10 us and not 48.
"""

import jax
from jax import lax

FEW_OUTPUTS = 16  # above, which form is faster depends on the shape and on the version


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`: `[..., inputs]` by `[inputs, outputs]`. Of few outputs: no forward mode."""
    few = x.ndim == 2 and kernel.shape[1] <= FEW_OUTPUTS
    return _few_outputs(x, kernel) if few else x @ kernel


@jax.custom_vjp
def _few_outputs(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x @ kernel, (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    transposed = lax.dot_general(dy, x, (((0,), (0,)), ((), ())))  # [outputs, inputs]
    return dy @ kernel.T, lax.optimization_barrier(transposed).T  # else XLA turns it back


_few_outputs.defvjp(_forward, _backward)
