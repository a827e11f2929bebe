"""Check and write the output files of the example scripts."""

import argparse
import os
from pathlib import Path


def writable(text: str) -> Path:
    """Parse a flag that names an output file, and check its folder."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} cannot be written: it is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{path} cannot be written: there is no folder {path.parent}; create it"
        )
    if not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"{path} cannot be written: {path.parent} is read-only; choose another folder"
        )
    return path


def write_file(path: Path, text: str) -> None:
    """Write a text file in one step, so that no reader sees half of it."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
