"""Evaluates trained networks: on a split, on other digits, on corrupted images, and together."""
