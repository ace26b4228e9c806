# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What an ONNX file names outside itself, found without the ``onnx`` package.

An ONNX file is a protocol buffer (onnx/onnx.proto of the ONNX project). A tensor may be stored in another file, named
by a path that onnxruntime opens when it loads the network. Only the fields on the way to tensors are followed.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# By message: the fields that hold messages on the way to a tensor.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
MAX_DEPTH = 64


def check_onnx(data: bytes, where: str) -> None:
    """Check that a file is one ONNX model that needs no other file.

    Raises:
        ValueError: another kind of file, a damaged one, or a tensor is stored in another file.
    """
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ValueError(f"{where} is called .onnx but is a pickle or zip archive")
    try:
        fields = {number for number, _, _ in _fields(memoryview(data))}
        # 1 is ir_version, 7 the graph; onnxruntime would take its own format under this name too.
        if not {1, 7} <= fields or data[4:8] == b"ORTM":
            raise ValueError("it holds no version and graph")
        _check(memoryview(data), "model", 0)
    except _External as error:
        raise ValueError(f"{where} stores a tensor in another file: export it as one file") from error
    except ValueError as error:
        raise ValueError(f"{where} is not an ONNX file: {error}") from error


class _External(Exception):
    """A tensor lies outside the file."""


def _check(data: memoryview, kind: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    for number, wire, value in _fields(data):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
            raise _External
        inner = _PATHS[kind].get(number)
        if inner is not None:
            if wire != _BYTES:
                raise ValueError(f"field {number} of a {kind} is no message")
            assert isinstance(value, memoryview)
            _check(value, inner, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield number, wire type and value of every field of a message (protobuf.dev, "Encoding")."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if number == 0 or size > len(data) - at:
            raise ValueError(f"field {number} announces {size:,} bytes, {len(data) - at:,} are there")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than ten bytes")
