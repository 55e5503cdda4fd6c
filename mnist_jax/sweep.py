"""Runs the sweep command; see `python -m mnist_jax.sweep --help`."""

from mnist_jax.commands.sweep import command

if __name__ == "__main__":
    command()
