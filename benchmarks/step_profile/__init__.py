"""Where the time of a training step goes. `python -m benchmarks.step_profile --help`."""
