"""Runs the checkpoint verification command; see `python -m mnist_jax.verify --help`."""

from mnist_jax.commands.verify import command

if __name__ == "__main__":
    command()
