"""The product of a dense layer, in the form that XLA:CPU computes fastest.

With few outputs XLA:CPU multiplies matrices of a few columns, and leaves most of a vector unit
idle, most of all for the kernel's gradient `x^T dy`, a product over the batch. From the transposed
kernel, behind a barrier, that gradient is `dy^T x`, whose rows are as long as the inputs.
"""

import jax
from jax import lax

from mnist_jax.models import backend

FEW_OUTPUTS = 32  # above, which form is faster depends on the shape and on the version


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`: `[..., inputs]` by `[inputs, outputs]`."""
    if kernel.shape[1] > FEW_OUTPUTS or not backend.on_cpu():
        return x @ kernel
    transposed = lax.optimization_barrier(kernel.T)  # else XLA turns it back
    return lax.dot_general(x, transposed, (((x.ndim - 1,), (1,)), ((), ())))
