"""A whole training on one accelerator: flags, precision, and populations of seeds."""
