"""Run examples/digits.ipynb from the top in a new kernel, and store what it gives.

The two pictures of the README are taken from it.

pip install -e '.[notebook]'
python tests/data/run_notebook.py
"""

import base64
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "digits.ipynb"
PICTURES = {
    "confusion-matrix.png": "plots.confusion_matrix(",
    "own-digits.png": "titles=names",
}


def run(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with what its cells give in a kernel that starts in its folder."""
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,  # stored, the time of day would differ at each run
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = metadata  # without the version of this Python
    return notebook


def picture(notebook: nbformat.NotebookNode, call: str) -> bytes:
    """Return the PNG file that the cell with a call gave."""
    (cell,) = [cell for cell in notebook.cells if call in cell.source]
    return base64.b64decode(cell.outputs[0].data["image/png"])


if __name__ == "__main__":
    found = run(NOTEBOOK)
    nbformat.write(found, NOTEBOOK)
    print(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size:,} bytes")
    for name, call in PICTURES.items():
        (NOTEBOOK.parent / "pictures" / name).write_bytes(picture(found, call))
