"""Runs the export command; see `python -m mnist_jax.export --help`."""

from mnist_jax.commands.export import command

if __name__ == "__main__":
    command()
