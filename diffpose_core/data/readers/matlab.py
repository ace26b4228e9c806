# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Numbers out of MATLAB files, version 5 and 7.3: arrays and cells of arrays, nothing else, in bounded memory.

Version 5: "MAT-File Format" of MathWorks, a sequence of tagged elements, most of them deflated. Version 7.3: HDF5.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from diffpose_core.data.readers.hdf5 import member, stored_dataset

LIMIT_BYTES = 1 << 29
"""Most that is read of one variable."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATRIX, _DEFLATED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL = 1
_OTHER_CLASSES = {2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_COMPLEX = 0x0800
_MOST_DIMENSIONS = 32
_MOST_CELLS = 1000
_LONGEST_NAME = 256
_LONGEST_HEAD = 1024
_CHUNK = 1 << 16


def load_matlab(path: str | Path, name: str) -> np.ndarray | list[np.ndarray]:
    """Read one variable: an array, or the arrays of a cell array in MATLAB's order.

    Both versions give the indices MATLAB has, so that the last one of what it calls [3, 17, 1, N] counts the frames.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no MATLAB file, damaged, without that variable, or it is larger than ``LIMIT_BYTES`` or than the
            file, or made of anything but real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
            if _HDF5 in (head[:8], head[512:520]):
                return _load_hdf5(path, name)
            return _load_v5(file, head, name)
    except (OSError, KeyError, RuntimeError, TypeError, OverflowError, struct.error, zlib.error) as error:
        raise ValueError(f"{path}: {name} cannot be read: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass
class _Stream:
    """The bytes of one element, inflated as far as they are asked for."""

    file: io.BufferedIOBase
    left: int
    inflate: Any = None
    ready: bytes = field(default=b"", init=False)

    def read(self, size: int) -> bytearray:
        found = bytearray()
        while len(found) < size:
            part = self._some(size - len(found))
            if not part:
                raise ValueError(f"the file ends {size - len(found):,} bytes too early")
            found += part
        return found

    def finish(self) -> None:
        """Make sure that there is no more, which compares the checksum of what was deflated."""
        if self._some(1) or (self.inflate is not None and not self.inflate.eof):
            raise ValueError("the file holds more than an element announces, or less")

    def _some(self, most: int) -> bytes:
        if self.inflate is None:
            part = self.file.read(min(most, self.left, _CHUNK))
            self.left -= len(part)
            return part
        while not self.inflate.eof:
            if not self.ready:
                self.ready = self.file.read(min(self.left, _CHUNK))
                self.left -= len(self.ready)
            exhausted = not self.ready
            part = self.inflate.decompress(self.ready, min(most, _CHUNK))
            self.ready = self.inflate.unconsumed_tail
            if part or exhausted:
                return part
        return b""


def _load_v5(file: io.BufferedIOBase, head: bytes, name: str) -> np.ndarray | list[np.ndarray]:
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if order is None or struct.unpack(f"{order}H", head[124:126]) != (0x0100,):
        raise ValueError("this is not a MATLAB file of version 5 or 7.3")
    end, at, seen = file.seek(0, 2), 128, list[str]()
    while at < end:
        file.seek(at)
        kind, size = struct.unpack(f"{order}II", file.read(8))
        if size > end - at - 8:
            raise ValueError(f"an element announces {size:,} bytes, the file holds {end - at - 8:,}; is it whole?")
        at += 8 + size + (0 if kind == _DEFLATED else -size % 8)
        stream = _Stream(file, size)
        if kind == _DEFLATED:
            stream.inflate = zlib.decompressobj()
            kind, size = struct.unpack(f"{order}II", stream.read(8))
        if kind != _MATRIX:
            continue
        header = _Header(stream, order)
        if header.name == name:
            if size > LIMIT_BYTES:
                raise ValueError(f"{name} announces {size:,} bytes; at most {LIMIT_BYTES:,} are read")
            data = stream.read(size - header.size)
            stream.finish()
            return _content(header, memoryview(data), order, name)
        seen.append(header.name)
    raise _missing(name, seen)


def _missing(name: str, seen: Iterable[str]) -> ValueError:
    return ValueError(f"variable {name!r} is missing; there are {', '.join(map(repr, seen))[:300] or 'none'}")


class _Header:
    """What comes before a matrix's content: class and flags, dimensions, name."""

    def __init__(self, stream: _Stream, order: str) -> None:
        self.size = 0
        flags = self._element(stream, order, 8)
        if len(flags) != 8:
            raise ValueError("a matrix has no class")
        (word,) = struct.unpack(f"{order}I", flags[:4])
        self.kind, self.complex = word & 0xFF, bool(word & _COMPLEX)
        dimensions = self._element(stream, order, 4 * _MOST_DIMENSIONS)
        self.shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
        if not self.shape or min(self.shape) < 0:
            raise ValueError(f"a matrix has dimensions {self.shape}")
        self.name = self._element(stream, order, _LONGEST_NAME).decode("latin-1")

    def _element(self, stream: _Stream, order: str, most: int) -> bytearray:
        tag = stream.read(8)
        _, size, short = _tag(tag, order)
        if size > most:
            raise ValueError(f"the head of a matrix announces {size:,} bytes; at most {most} are read")
        padded = 0 if short else size + -size % 8
        self.size += 8 + padded
        return tag[4 : 4 + size] if short else stream.read(padded)[:size]


def _tag(data: bytearray | memoryview, order: str) -> tuple[int, int, bool]:
    """Return an element's type, its number of bytes, and whether these stand within the tag's eight."""
    first, second = struct.unpack(f"{order}II", data[:8])
    if first >> 16:
        if first >> 16 > 4:
            raise ValueError(f"a short element announces {first >> 16} bytes")
        return first & 0xFFFF, first >> 16, True
    return first, second, False


def _content(header: _Header, data: memoryview, order: str, name: str) -> np.ndarray | list[np.ndarray]:
    if header.kind != _CELL:
        return _numbers(header, data, order, name)
    count = math.prod(header.shape)
    if count > _MOST_CELLS:
        raise ValueError(f"{name} announces {count:,} cells; at most {_MOST_CELLS:,} are read")
    found: list[np.ndarray] = []
    for _ in range(count):
        kind, size, short = _tag(data, order) if len(data) >= 8 else (0, 0, True)
        if kind != _MATRIX or short or size > len(data) - 8:
            raise ValueError(f"{name}: cell {len(found)} is damaged")
        cell = _Header(_Stream(io.BytesIO(data[8 : 8 + min(size, _LONGEST_HEAD)]), _LONGEST_HEAD), order)
        found.append(_numbers(cell, data[8 + cell.size : 8 + size], order, f"{name}{{{len(found) + 1}}}"))
        data = data[8 + size + -size % 8 :]
    return found


def _numbers(header: _Header, data: memoryview, order: str, name: str) -> np.ndarray:
    if header.kind in _OTHER_CLASSES or header.kind == _CELL or header.complex:
        found = "complex" if header.complex else _OTHER_CLASSES.get(header.kind, "a cell within a cell")
        raise ValueError(f"{name} is {found}; only real numbers are read")
    kind, size, short = _tag(data, order) if len(data) >= 8 else (0, 0, True)
    if kind not in _NUMBERS:
        raise ValueError(f"{name} is stored as type {kind}; only numbers are read")
    dtype = np.dtype(order + _NUMBERS[kind])
    content = data[4 : 4 + size] if short else data[8 : 8 + size]
    if math.prod(header.shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} announces {header.shape} numbers, there are {len(content):,} bytes of them")
    return np.frombuffer(content, dtype).reshape(header.shape, order="F")


def _load_hdf5(path: Path, name: str) -> np.ndarray | list[np.ndarray]:
    with h5py.File(path, "r") as file:
        if (whole := member(file, name)) is None:
            raise _missing(name, file)
        found = stored_dataset(whole, name, LIMIT_BYTES)
        if h5py.check_ref_dtype(found.dtype) is not h5py.Reference:
            return _read(found, name)
        if found.size > _MOST_CELLS:
            raise ValueError(f"{name} announces {found.size:,} cells; at most {_MOST_CELLS:,} are read")
        references = enumerate(found[()].T.ravel(order="F"), 1)
        cells = [stored_dataset(file[r], f"{name}{{{i}}}", LIMIT_BYTES) for i, r in references]
        if sum(c.nbytes for c in cells) > LIMIT_BYTES:
            raise ValueError(
                f"{name} announces {sum(c.nbytes for c in cells):,} bytes; at most {LIMIT_BYTES:,} are read"
            )
        return [_read(c, f"{name}{{{i}}}") for i, c in enumerate(cells, 1)]


def _read(found: Any, name: str) -> np.ndarray:
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{name} is of type {found.dtype}; only real numbers are read")
    if "MATLAB_empty" in found.attrs:  # it holds the dimensions instead of the numbers
        raise ValueError(f"{name} is empty")
    return np.asarray(found[()]).T
