"""Compares the speed of this project with that of its peers: Keras, PyTorch and plain Flax.

See `python -m benchmarks.peers --help`.
"""
