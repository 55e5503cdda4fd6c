"""Measures a training step over processes, and predicts it for many devices.

See `python -m benchmarks.processes --help`.
"""
