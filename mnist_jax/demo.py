"""Runs the demo command; see `python -m mnist_jax.demo --help`."""

from mnist_jax.commands.demo import command

if __name__ == "__main__":
    command()
