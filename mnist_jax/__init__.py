"""MNIST in JAX and Flax: train, compare and look at dense and convolutional networks."""

import time

STARTED = time.perf_counter()  # of the process, as near as its own code can tell
