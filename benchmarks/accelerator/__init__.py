"""Times complete trainings on one accelerator: XLA flags, precision, and populations of seeds."""
