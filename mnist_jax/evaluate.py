"""Runs the evaluation command; see `python -m mnist_jax.evaluate --help`."""

from mnist_jax.commands.evaluate import command

if __name__ == "__main__":
    command()
