"""Run the notebooks from the top, each in a new kernel, and store what they give.

The two pictures of the README are taken from examples/digits.ipynb.

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
    for path in [Path(name).resolve() for name in sys.argv[1:]] or NOTEBOOKS:
        found = run(path)
        nbformat.write(found, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        if path == DIGITS:
            for name, call in PICTURES.items():
                (EXAMPLES / "pictures" / name).write_bytes(picture(found, call))
