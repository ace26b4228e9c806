# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Numbers out of HDF5 files, of which only what lies in the file itself is read, in bounded memory."""

from __future__ import annotations

import math
from typing import Any

import h5py

_DEFLATE = 1032
"""Deflate makes data at most so many times smaller."""


def member(group: h5py.Group, path: str) -> Any:
    """Return what lies at a path; None where there is nothing, or a link that could lead to another file."""
    found: Any = group
    for name in path.split("/"):
        if not isinstance(found, h5py.Group) or not isinstance(found.get(name, getlink=True), h5py.HardLink):
            return None
        found = found[name]
    return found


def stored_dataset(found: Any, name: str, limit_bytes: int) -> h5py.Dataset:
    """Return a dataset once its numbers lie in this file, and it announces no more than is stored or may be read.

    Raises:
        ValueError: it is no such dataset; the error calls it by the name.
    """
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise ValueError(f"{name} is a structure, an object or empty; only real numbers are read")
    if found.is_virtual or found.external:
        raise ValueError(f"{name} lies in another file")
    announced = max(found.nbytes, math.prod(found.chunks or (1,)) * found.dtype.itemsize)
    if announced > limit_bytes:
        raise ValueError(f"{name} announces {announced:,} bytes; at most {limit_bytes:,} are read")
    stored = found.id.get_storage_size()
    if found.nbytes > stored * (1 if found.compression is None else _DEFLATE):
        raise ValueError(f"{name} announces {found.nbytes:,} bytes, the file holds {stored:,}")
    return found
