"""Measures where the time of a training step goes.

See `python -m benchmarks.step_profile --help`.
"""
