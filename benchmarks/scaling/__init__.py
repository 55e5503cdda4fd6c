"""How the time of a step grows. `python -m benchmarks.scaling --help`."""
