"""Measures how the time per step grows with batch size, width, population and devices.

See `python -m benchmarks.scaling --help`.
"""
