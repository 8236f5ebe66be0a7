"""Runs the notebooks and writes their outputs into them: `python notebooks/execute.py [NAME ...]`.

`BITSBACK_DATA` names the folder of `omniglot.npz` and `cifar10.npz`. The site shows the outputs,
and `tests/docs/test_notebook.py` compares them with those of the present code.
"""

import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that it has now, and nothing else that changes by the run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=900,  # for a cell that hangs
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # how a cell's lines come in parts is chance
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.executed_code = digest(notebook)
    return notebook


def digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of a notebook's code: outputs are those of the code that has it."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            nbformat.write(executed(path), path)
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
