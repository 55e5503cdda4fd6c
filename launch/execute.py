"""Runs the notebook from top to bottom and keeps what it showed.

  python -m launch.execute

launch/colab.py is the notebook's source, in jupytext's percent format; launch/colab.ipynb is made
from it. From one run to the next only timings differ, and which epochs of a sweep get a line of
their own. Needs the extra [notebook].
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
LONGEST = 1800  # seconds for a cell


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels of this Python, whatever others are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The only one."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=[*command, "--log-level=ERROR"], language="python")


def read() -> NotebookNode:
    """The notebook as its source has it, without outputs."""
    notebook = jupytext.read(SOURCE, fmt="py:percent")
    notebook.metadata.pop("jupytext", None)
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")  # a formatter puts two before a function
        cell.id = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cell.metadata.pop("lines_to_next_cell", None)
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode, folder: Path, environment: Mapping[str, str]) -> None:
    """Runs a notebook in a folder, and puts what its cells show into it.

    Raises:
      CellExecutionError: a cell did; its message shows where.
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
    notebook.metadata = metadata  # it says which Python this was


def main() -> None:
    """Runs the notebook in a folder that is thrown away, and writes it."""
    notebook = read()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder), os.environ | {"PYTHONPATH": path})
    nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK.relative_to(ROOT))


if __name__ == "__main__":
    main()
