"""Evaluates trained networks beyond a split: corrupted images, and several networks together."""
