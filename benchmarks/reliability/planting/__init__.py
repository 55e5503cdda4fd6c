"""Puts wrong bits and numbers into the memory of a training."""
