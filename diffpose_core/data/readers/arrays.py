"""Arrays out of ``.npz`` files from elsewhere: nothing is executed, and nothing absurd is allocated."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

LIMIT_BYTES = 1 << 32
"""Largest array that is read, unless the caller says otherwise."""


def load_arrays(path: str | Path, keys: Collection[str], limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz``, each one's announced size compared with the file's before memory is taken.

    Args:
        path: the file.
        keys: names of the arrays to read; others are left alone.
        limit_bytes: the largest array accepted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ``.npz``, damaged, a key missing, an array of Python objects, or larger than the limit or
            than the file says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for key in keys:
                found[key] = _member(archive, key, limit_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def _member(archive: zipfile.ZipFile, key: str, limit_bytes: int) -> np.ndarray:
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        there = ", ".join(sorted(n.removesuffix(".npy") for n in archive.namelist()))
        raise ValueError(f"key {key!r} is missing; there are {there}") from None
    with archive.open(info) as file:
        version = npy.read_magic(file)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read_header is None:
            raise ValueError(f"key {key!r} is of .npy version {version}, expected 1.0 or 2.0")
        shape, _, kind = read_header(file)
        if kind.hasobject:
            raise ValueError(f"key {key!r} holds Python objects, which are not read")
        size = math.prod(shape) * kind.itemsize
        if size > limit_bytes:
            raise ValueError(f"key {key!r} is {shape}, {size:,} bytes; at most {limit_bytes:,} are read")
        if size != info.file_size - file.tell():
            raise ValueError(f"key {key!r} is {shape}, {size:,} bytes; the file holds {info.file_size - file.tell():,}")
    with archive.open(info) as file:
        return npy.read_array(file, allow_pickle=False)
