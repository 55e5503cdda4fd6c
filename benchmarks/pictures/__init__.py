"""Measures how well `predict` reads picture files: digits of MNIST as files, and drawings."""
