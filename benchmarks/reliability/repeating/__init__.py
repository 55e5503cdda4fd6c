"""Trains the same thing again, for the part `determinism`."""
