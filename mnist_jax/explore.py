"""Runs the data exploration command; see `python -m mnist_jax.explore --help`."""

from mnist_jax.commands.explore import command

if __name__ == "__main__":
    command()
