"""Watches a training from outside, for the part `endurance`."""
