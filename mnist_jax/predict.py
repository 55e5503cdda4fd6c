"""Runs the prediction command; see `python -m mnist_jax.predict --help`."""

from mnist_jax.commands.predict import command

if __name__ == "__main__":
    command()
