"""The matrix product of a dense layer, in the form that XLA:CPU computes fastest.

With few outputs, XLA:CPU multiplies matrices with few columns and leaves most of each vector unit
idle, especially in the kernel's gradient `x^T dy`, a product over the batch. If the product is
written with the transposed kernel, behind a barrier, that gradient becomes `dy^T x`, whose rows are
as long as the inputs.
"""

import jax
from jax import lax

from mnist_jax.models import backend

FEW_OUTPUTS = 32  # above this, the faster form depends on the shape and the version of XLA


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `x @ kernel` for `x` `[..., inputs]` and `kernel` `[inputs, outputs]`."""
    if kernel.shape[1] > FEW_OUTPUTS or not backend.on_cpu():
        return x @ kernel
    transposed = lax.optimization_barrier(kernel.T)  # otherwise XLA undoes the transposition
    return lax.dot_general(x, transposed, (((x.ndim - 1,), (1,)), ((), ())))
