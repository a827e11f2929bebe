"""Check and write the output files of the example scripts."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from minicnn.runtime.archive import atomic_write, check_writable


def writable(text: str) -> Path:
    """Parse a flag that names an output file, and check its folder."""
    try:
        check_writable(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def writable_npz(text: str) -> Path:
    """Parse a flag that names a model to write; add .npz if it is missing."""
    path = writable(text)
    return path if path.suffix.lower() == ".npz" else writable(f"{path}.npz")


def writable_folder(text: str) -> Path:
    """Parse a flag that names an output folder, and create it."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise argparse.ArgumentTypeError(f"{path} is not a folder") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{path} cannot be created: {error.strerror}; choose another folder"
        ) from None
    return path


def check_distinct(parser: argparse.ArgumentParser, files: Mapping[str, Path | None]) -> None:
    """Stop if two flags name the same file; keys are the flags."""
    names: dict[str, str] = {}
    for name, path in files.items():
        if path is not None:
            other = names.setdefault(os.path.realpath(path), name)
            if other != name:
                parser.error(f"{name} and {other} name the same file {path}; choose another name")


def write_file(path: Path, text: str) -> None:
    """Write a text file in one step, so that no reader sees half of it."""
    with atomic_write(path) as file:
        file.write(text.encode())
