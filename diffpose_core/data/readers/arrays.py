# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Arrays out of ``.npz`` files from elsewhere: nothing is executed, and nothing absurd is allocated."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from diffpose_core.data.readers.pickles import loads_arrays

NPY_ERRORS = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, MemoryError,
)  # fmt: skip
"""What numpy and zipfile raise of damaged files; ``RuntimeError`` of encrypted members, ``SyntaxError`` of headers."""
_DEFLATE = 1032
"""How many times its size a deflated stream may grow at most."""
LIMIT_BYTES = 1 << 32
"""Largest array that is read, unless the caller says otherwise."""


def load_arrays(path: str | Path, keys: Collection[str], limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz``, each one's announced size compared with the bytes there before memory is taken.

    Args:
        path: the file.
        keys: names of the arrays to read; others are left alone.
        limit_bytes: the largest array accepted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ``.npz``, damaged, a key missing, an array of Python objects, or larger than the limit or
            than its bytes can be.
    """
    with _opened(path) as archive:
        return {key: _member(archive, key, limit_bytes) for key in keys}


def load_object(path: str | Path, key: str, limit_bytes: int = LIMIT_BYTES) -> Any:
    """Read what ``numpy.savez`` pickled of a dictionary or list, by :func:`.pickles.loads_arrays`: nothing is executed.

    Args:
        path: the file.
        key: its name.
        limit_bytes: the largest pickle accepted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ``.npz``, damaged, the key missing, an array instead, or a pickle of anything but arrays.
    """
    with _opened(path) as archive:
        info = _info(archive, key)
        if info.file_size > limit_bytes:
            raise ValueError(f"key {key!r} is {info.file_size:,} bytes; at most {limit_bytes:,} are read")
        with archive.open(info) as file:
            shape, kind = _header(file, key)
            if not kind.hasobject or shape != ():
                raise ValueError(f"key {key!r} is {shape} of {kind}, expected one dictionary or list")
            found = loads_arrays(file.read(), f"key {key!r}")
        if not isinstance(found, np.ndarray) or found.shape != ():
            raise ValueError(f"key {key!r} holds other than its header says")
        return found.item()


@contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open an ``.npz``; whatever is wrong inside is a ``ValueError`` that names the file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except NPY_ERRORS as error:
        raise ValueError(f"{path}: {str(error) or type(error).__name__}") from error


def _info(archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    """Return a member once the size that it announces can be made of the bytes that the file has."""
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        names = ", ".join(sorted(n.removesuffix(".npy") for n in archive.namelist()))
        raise ValueError(f"key {key!r} is missing; there are {names[:300]}") from None
    growth = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _DEFLATE}.get(info.compress_type)
    if growth is None:
        raise ValueError(f"key {key!r} is compressed in another way than numpy does")
    there = os.path.getsize(archive.filename or "")
    if info.file_size > growth * min(info.compress_size, there):
        raise ValueError(f"key {key!r} announces {info.file_size:,} bytes, the file holds {info.compress_size:,} of it")
    return info


def _header(file: Any, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type from a file open for reading."""
    version = npy.read_magic(file)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"key {key!r} is of .npy version {version}, expected 1.0 or 2.0")
    shape, _, kind = read_header(file)
    return shape, kind


def _member(archive: zipfile.ZipFile, key: str, limit_bytes: int) -> np.ndarray:
    info = _info(archive, key)
    with archive.open(info) as file:
        shape, kind = _header(file, key)
        if kind.hasobject:
            raise ValueError(f"key {key!r} holds Python objects, which are not read")
        size = math.prod(shape) * kind.itemsize
        if size > limit_bytes:
            raise ValueError(f"key {key!r} is {shape}, {size:,} bytes; at most {limit_bytes:,} are read")
        if size != info.file_size - file.tell():
            raise ValueError(f"key {key!r} is {shape}, {size:,} bytes; the file holds {info.file_size - file.tell():,}")
    with archive.open(info) as file:
        return npy.read_array(file, allow_pickle=False)
