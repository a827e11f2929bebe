"""Run the notebooks, each in a new kernel, and store their outputs.

The README's two figures come from examples/digits.ipynb.

pip install -e '.[notebook]'
python tests/data/run_notebook.py                # all of them
python tests/data/run_notebook.py NAME.ipynb ... # or these
"""

import base64
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = EXAMPLES / "digits.ipynb"
NOTEBOOKS = [DIGITS, *sorted((EXAMPLES / "lessons").glob("*.ipynb"))]
PICTURES = {"confusion-matrix.png": "plots.confusion_matrix(", "own-digits.png": "titles=names"}


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a kernel that starts in its folder; return it."""
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,  # the time of day would differ in each run
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = metadata  # without the Python version
    return notebook


def picture(notebook: nbformat.NotebookNode, call: str) -> bytes:
    """Return the PNG output of the cell that holds a call."""
    (cell,) = [cell for cell in notebook.cells if call in cell.source]
    return base64.b64decode(cell.outputs[0].data["image/png"])


if __name__ == "__main__":
    for path in [Path(name).resolve() for name in sys.argv[1:]] or NOTEBOOKS:
        notebook = run(path)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        if path == DIGITS:
            for name, call in PICTURES.items():
                (EXAMPLES / "pictures" / name).write_bytes(picture(notebook, call))
