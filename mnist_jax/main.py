"""Runs the training command; see `python -m mnist_jax.main --help`."""

from mnist_jax.commands.main import command

if __name__ == "__main__":
    command()
