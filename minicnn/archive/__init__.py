"""The files that models and checkpoints are kept in: arrays by name, and a description in JSON.

A file is a ``.npz`` as NumPy writes it: an uncompressed zip of ``.npy`` members, one for each
array, and a member ``description`` with the JSON text as a string. `numpy.load` opens it.

It is written whole or not at all. It is read as if a stranger had sent it: nothing is unpickled or
evaluated; names, dtypes and shapes must be those that the description calls for, and are compared
before an array is read; as nothing is compressed, no file can grow beyond its own size.
"""

from minicnn.archive.format import Entry, ModelFileError
from minicnn.archive.reading import Archive
from minicnn.archive.writing import check_writable, replacing, write

__all__ = ["Archive", "Entry", "ModelFileError", "check_writable", "replacing", "write"]
