"""Runs the notebook from top to bottom and saves it with its outputs.

  python -m launch.execute

launch/colab.py is the notebook's source, in jupytext's percent format; launch/colab.ipynb is
generated from it. Between two runs only timings differ, and which epochs of a sweep are printed.
Needs the extra [notebook].
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "launch" / "colab.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")
LONGEST = 1800  # seconds per cell, at most


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels with the current Python, whichever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The specification of a kernel that runs the current Python."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=[*command, "--log-level=ERROR"], language="python")


def read() -> NotebookNode:
    """Reads the notebook from its source, without outputs."""
    notebook = jupytext.read(SOURCE, fmt="py:percent")
    notebook.metadata.pop("jupytext", None)
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")  # a formatter puts blank lines before a function
        cell.id = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cell.metadata.pop("lines_to_next_cell", None)
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode, folder: Path, environment: Mapping[str, str]) -> None:
    """Runs a notebook in a folder, and stores the outputs in its cells.

    Args:
      notebook: the notebook; changed in place.
      folder: the working directory of the kernel.
      environment: the environment variables of the kernel.

    Raises:
      CellExecutionError: a cell raised an exception; the message shows where.
    """
    metadata = notebook.metadata.copy()
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisInterpreter,
        timeout=LONGEST,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=dict(environment))
    notebook.metadata = metadata  # execution adds the version of Python


def main() -> None:
    """Runs the notebook in a temporary folder, and writes it with its outputs."""
    notebook = read()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder), os.environ | {"PYTHONPATH": path})
    nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK.relative_to(ROOT))


if __name__ == "__main__":
    main()
