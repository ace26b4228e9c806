# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""ONNX files: whatever names another file is refused, wherever in the network it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core.onnx_file import check_onnx


def varint(value):
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def message(number, *parts):
    """A field that holds a message, text or bytes."""
    data = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field, value):
    return varint(field << 3) + varint(value)


# Field numbers of onnx.proto: TensorProto dims 1, data_type 2, name 8, raw_data 9, external_data 13, data_location 14.
INSIDE = number(1, 4) + number(2, 1) + message(8, b"w") + message(9, bytes(16))
OUTSIDE = number(1, 4) + number(2, 1) + message(8, b"w") + number(14, 1)
PATH = INSIDE + message(13, message(1, b"location"), message(2, b"../secret"))
# ModelProto ir_version 1, producer_name 2, graph 7, opset_import 8.
HEAD = number(1, 8) + message(2, b"writer")


def model(graph, *more):
    return HEAD + message(7, graph) + message(8, message(1), number(2, 17)) + b"".join(more)


PLACES = {
    "initializer": lambda t: model(message(5, t)),
    "sparse values": lambda t: model(message(15, message(1, t))),
    "sparse indices": lambda t: model(message(15, message(1, INSIDE), message(2, t))),
    "attribute": lambda t: model(message(1, message(5, message(5, t)))),
    "attribute list": lambda t: model(message(1, message(5, message(10, INSIDE), message(10, t)))),
    "sparse attribute": lambda t: model(message(1, message(5, message(22, message(1, t))))),
    "sparse attributes": lambda t: model(message(1, message(5, message(23, message(2, t))))),
    "branch": lambda t: model(message(1, message(5, message(6, message(5, t))))),
    "branches": lambda t: model(message(1, message(5, message(11, message(5, t))))),
    "function": lambda t: model(b"", message(25, message(7, message(5, message(5, t))))),
    "function attribute": lambda t: model(b"", message(25, message(11, message(5, t)))),
    "training": lambda t: model(b"", message(20, message(1, message(5, t)))),
    "training step": lambda t: model(b"", message(20, message(2, message(5, t)))),
    "second graph field": lambda t: model(b"", message(7, message(5, t))),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_in_another_file_is_refused_wherever_it_stands(place):
    check_onnx(PLACES[place](INSIDE), "f.onnx")
    for tensor in (OUTSIDE, PATH):
        with pytest.raises(ValueError, match=r"f\.onnx stores a tensor in another file"):
            check_onnx(PLACES[place](tensor), "f.onnx")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no version and graph"),
        (b"PK\x03\x04", "pickle or zip archive"),
        (b"\x80\x05.", "pickle or zip archive"),
        (b"<html>404</html>", "is not an ONNX file"),
        (b"\x18\x00\x00\x00ORTM" + bytes(50), "is not an ONNX file"),
        (HEAD, "no version and graph"),
        (model(b"")[:-1], "announces"),
        (HEAD + varint(7 << 3 | 2) + varint(2**60), "announces"),
        (HEAD + number(7, 5), "no message"),
        (HEAD + bytes([7 << 3 | 3]), "wire type 3"),
        (HEAD + b"\xff" * 11, "more than ten bytes"),
        (HEAD + b"\xff", "cut off"),
    ],
)
def test_what_is_no_onnx_file_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        check_onnx(data, "f.onnx")


def test_endless_nesting_is_refused():
    graph = message(5, INSIDE)
    for _ in range(40):
        graph = message(1, message(5, message(6, graph)))
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        check_onnx(model(graph), "f.onnx")


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_refused_or_taken(data, at):
    whole = model(message(5, INSIDE))
    for text in (data, whole[:at] + data + whole[at:]):
        try:
            check_onnx(text, "f.onnx")
        except ValueError as error:
            assert str(error).startswith("f.onnx ")  # noqa: PT017 - most inputs raise, some need not
