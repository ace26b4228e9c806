# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""One variable out of a CDF file (NASA's Common Data Format), as Human3.6M publishes its poses.

The number of the file's bytes bounds every loop and every array, which the package cdflib does not do. The layout is
that of NASA's "CDF Internal Format Description", versions 2.6 to 3.9. Read are numbers in IEEE format, rows or columns
first, in one file (not one per variable), compressed as a whole or by variable with gzip, or not.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.files import read_regular

LIMIT_BYTES = 1 << 28
"""Largest file, and largest variable, that is read."""
_MOST_DIMENSIONS = 10
_MOST_VARIABLES = 1000
_MOST_ENTRIES = 1 << 18
"""Most records of a variable's index and entries in them, used or not."""
_GZIP_FRAME = 1024
"""More than gzip puts around data, which it makes hardly larger."""
_WIDE, _NARROW, _PLAIN = bytes.fromhex("cdf30001"), bytes.fromhex("cdf26002"), bytes.fromhex("0000ffff")
_BYTE_ORDER = dict.fromkeys((1, 2, 5, 7, 9, 11, 12, 18), ">") | dict.fromkeys((4, 6, 13, 16, 17), "<")
_NUMBERS = {21: "f4", 44: "f4", 22: "f8", 45: "f8"}
_CDR, _GDR, _R_VARIABLE, _VXR, _VVR, _Z_VARIABLE, _CCR, _CPR, _CVVR = 1, 2, 3, 6, 7, 8, 10, 11, 13
_GZIP = 5
_ROWS_FIRST, _SINGLE_FILE = 1, 2
_VARIES, _COMPRESSED = 1, 4


@dataclass(frozen=True)
class _Cdf:
    """The file's bytes; ``wide`` where offsets have eight bytes, as since version 3, and not four."""

    data: bytes
    wide: bool

    def record(self, at: int, kinds: tuple[int, ...], layout: str) -> tuple[Any, ...]:
        """Return (kind, fields..., where they end) of the record at an offset; ``@`` in the layout is an offset."""
        if not 0 < at < len(self.data):
            raise ValueError(f"a record is said to begin at byte {at:,} of {len(self.data):,}")
        whole = ">" + ("@i" + layout).replace("@", "q" if self.wide else "i")
        _, kind, *fields = struct.unpack_from(whole, self.data, at)
        if kind not in kinds:
            raise ValueError(f"the record at byte {at:,} is of kind {kind}, expected {kinds}")
        return kind, *fields, at + struct.calcsize(whole)

    def numbers(self, at: int, count: int) -> list[int]:
        """Return ``count`` four-byte numbers, one for each dimension."""
        if not 0 <= count <= _MOST_DIMENSIONS:
            raise ValueError(f"{count:,} dimensions are announced; at most {_MOST_DIMENSIONS} are read")
        return list(struct.unpack_from(f">{count}i", self.data, at))


def read_cdf(path: str | Path, variable: str) -> np.ndarray:
    """Read all records of a variable of floating-point numbers: [records, *dimensions].

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a CDF, damaged, no such variable, or larger than ``LIMIT_BYTES`` or than the file.
    """
    data = read_regular(path, LIMIT_BYTES, "motion data file")
    try:
        return _variable(_open(data), variable)
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path}: not read as a CDF: {error}") from error


def _open(data: bytes) -> _Cdf:
    if data[:4] not in (_WIDE, _NARROW):
        raise ValueError("it does not begin as one of version 2.6 or later")
    cdf = _Cdf(data, data[:4] == _WIDE)
    if data[4:8] == _PLAIN:
        return cdf
    _, parameters, size, _, begin = cdf.record(8, (_CCR,), "@@i")
    _check_gzip(cdf, parameters)
    return _Cdf(data[:8] + _inflate(data[begin:], size), cdf.wide)


def _check_gzip(cdf: _Cdf, at: int) -> None:
    _, method, _ = cdf.record(at, (_CPR,), "i")
    if method != _GZIP:
        raise ValueError(f"it is compressed by method {method}; gzip, {_GZIP}, is read")


def _inflate(data: bytes, size: int) -> bytes:
    """Undo gzip, whose result must have the announced size."""
    if not 0 < size <= LIMIT_BYTES:
        raise ValueError(f"{size:,} bytes are announced; at most {LIMIT_BYTES:,} are read")
    found = zlib.decompressobj(wbits=31).decompress(data, size + 1)
    if len(found) != size:
        raise ValueError(f"{size:,} bytes are announced, {'fewer' if len(found) < size else 'more'} are there")
    return found


def _variable(cdf: _Cdf, wanted: str) -> np.ndarray:
    _, globals_at, _, _, encoding, flags, _ = cdf.record(8, (_CDR,), "@iiii")
    if encoding not in _BYTE_ORDER or not flags & _SINGLE_FILE:
        raise ValueError(f"encoding {encoding} or one file per variable is not supported")
    _, r_head, z_head, _, _, _, _, _, r_dimensions, _, _, _, _, _, at = cdf.record(globals_at, (_GDR,), "@@@@iiiii@iii")
    shared = cdf.numbers(at, r_dimensions)
    there = []
    for head in (r_head, z_head):
        for kind, fields, name, at in _variables(cdf, head):
            if name == wanted:
                return _values(cdf, fields, _shape(cdf, kind, at, shared), _BYTE_ORDER[encoding], flags)
            there.append(name)
    raise ValueError(f"variable {wanted!r} is missing; there are {', '.join(there)[:300] or 'none'}")


def _variables(cdf: _Cdf, at: int) -> Iterator[tuple[int, tuple[Any, ...], str, int]]:
    """Yield kind, fields, name and where the dimensions follow, of each variable in a chain."""
    left = _MOST_VARIABLES
    while at:
        left -= 1
        if left < 0:
            raise ValueError(f"its variables are more than {_MOST_VARIABLES:,}, or follow each other in a circle")
        layout = f"@ii@@iiiiiii@i{256 if cdf.wide else 64}s"
        kind, following, *fields, name, end = cdf.record(at, (_R_VARIABLE, _Z_VARIABLE), layout)
        yield kind, tuple(fields), name.rstrip(b"\0 ").decode("latin-1"), end
        at = following


def _shape(cdf: _Cdf, kind: int, at: int, shared: list[int]) -> list[int]:
    """Return the dimensions in which a record varies."""
    sizes = shared
    if kind == _Z_VARIABLE:
        (count,) = cdf.numbers(at, 1)
        sizes, at = cdf.numbers(at + 4, count), at + 4 + 4 * count
    return [size for size, varies in zip(sizes, cdf.numbers(at, len(sizes)), strict=True) if varies]


def _values(cdf: _Cdf, fields: tuple[Any, ...], shape: list[int], order: str, flags: int) -> np.ndarray:
    number, last, index, _, about, sparse, _, _, _, _, _, compression, _ = fields
    if number not in _NUMBERS or sparse:
        raise ValueError(f"the variable is of type {number} or sparse, expected numbers in full")
    kind = np.dtype(order + _NUMBERS[number])
    records = last + 1 if about & _VARIES else 1
    if min([records, *shape]) < 1:
        raise ValueError(f"the variable holds {records} records of {shape}")
    size = math.prod(shape) * kind.itemsize
    if records * size > (LIMIT_BYTES if about & _COMPRESSED else len(cdf.data)):
        raise ValueError(
            f"{records:,} records of {shape} are announced, {records * size:,} bytes: more than there can be"
        )
    if about & _COMPRESSED:
        _check_gzip(cdf, compression)
    parts, filled = [], 0
    for first, end, at in _blocks(cdf, index):
        if first != filled or end < first:
            raise ValueError(f"records {first} to {end} follow after {filled} of {records}")
        parts.append(_block(cdf, at, (end + 1 - first) * size, (records - first) * size))
        filled = end + 1
        if filled >= records:
            break
    if filled < records:
        raise ValueError(f"{records} records are announced, {filled} are there")
    found = np.frombuffer(b"".join(parts), kind)
    if flags & _ROWS_FIRST:
        return found.reshape(records, *shape)
    return found.reshape(records, *shape[::-1]).transpose(0, *range(len(shape), 0, -1))


def _blocks(cdf: _Cdf, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield first record, last record and offset of each block that an index names, in their order."""
    following, left = [at], _MOST_ENTRIES
    while following:
        at = following.pop()
        _, after, entries, used, begin = cdf.record(at, (_VXR,), "@ii")
        if after:
            following.append(after)
        if not 0 <= used <= entries:
            raise ValueError(f"an index of {entries} entries uses {used}")
        left -= 1 + entries
        if left < 0:
            raise ValueError(f"its index has more than {_MOST_ENTRIES:,} entries, or leads in a circle")
        columns = ((">i4", 0), (">i4", 4 * entries), (">i8" if cdf.wide else ">i4", 8 * entries))
        named = (np.frombuffer(cdf.data, layout, used, begin + skipped).tolist() for layout, skipped in columns)
        inner = []
        for first, last, offset in zip(*named, strict=True):
            kind, _ = cdf.record(offset, (_VXR, _VVR, _CVVR), "")
            if kind == _VXR:
                inner.append(offset)
            elif inner:
                raise ValueError("an index names both blocks and further indices")
            else:
                yield first, last, offset
        following.extend(reversed(inner))


def _block(cdf: _Cdf, at: int, size: int, wanted: int) -> bytes:
    """Return a block's bytes, those wanted at most: it may have room for records that were not written."""
    kind, begin = cdf.record(at, (_VVR, _CVVR), "")
    if kind == _CVVR:
        _, _, length, begin = cdf.record(at, (_CVVR,), "i@")
        length = min(max(0, length), 2 * size + _GZIP_FRAME)  # or each block could claim the rest of the file
        return _inflate(cdf.data[begin : begin + length], size)[:wanted]
    size = min(size, wanted)
    found = cdf.data[begin : begin + size]
    if len(found) != size:
        raise ValueError(f"a block of {size:,} bytes ends after {len(found):,}")
    return found
