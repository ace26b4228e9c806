# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Arrays out of pickles, as some data sets are published: an unpickler that builds numpy arrays and nothing else."""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.files import read_regular

LIMIT_BYTES = 1 << 32
"""Largest pickle that is read."""
MOST_OPERATIONS = 1 << 20
"""Most operations of a pickle, objects in arrays counted too; the data sets' files have some ten thousand."""
_MOST_DIMENSIONS = 32
_KINDS = re.compile(r"[biufc]\d{1,2}|[SU]\d{1,9}|O8?")
_ESCAPE = re.compile(rb"""\\(?:[\\'"nrt]|x[0-9a-fA-F]{2})""")
_KEYS = (str, bytes, int)


class _Kind:
    """A numpy type while it is unpickled; numpy's own would take any state, however it contradicts itself."""

    __slots__ = ("dtype",)

    def __init__(self, code: object, *_flags: object) -> None:
        if isinstance(code, bytes):
            code = code.decode("ascii")
        if not isinstance(code, str) or not _KINDS.fullmatch(code):
            raise pickle.UnpicklingError(f"an array is of type {_short(code)}")
        self.dtype = np.dtype(code)

    def build(self, state: object) -> None:
        """Take the state of a plain type: the order of its bytes, and for text its size."""
        if not isinstance(state, tuple) or len(state) != 8:
            raise pickle.UnpicklingError("the state of a type is unknown")
        _, order, *parts, size, _, _ = state
        if order not in ("<", ">", "|", "=") or any(p is not None for p in parts):
            raise pickle.UnpicklingError("an array is of a type with parts")
        if size not in (-1, self.dtype.itemsize):
            raise pickle.UnpicklingError(f"an array is of type {self.dtype} with {_short(size)} bytes a number")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Function:
    """One of the few functions that a pickle of arrays calls."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


def _short(thing: object) -> str:
    """Name a value of any kind; that of containers could be endless."""
    return repr(thing)[:80] if isinstance(thing, (str, bytes, float)) else type(thing).__name__


def _empty_array(_kind: object, shape: object, _code: object) -> np.ndarray:
    """Make the empty array that its state then fills; any other shape would take memory before there are bytes."""
    if type(shape) is not tuple or shape != (0,):
        raise pickle.UnpicklingError("an array begins with a shape other than (0,)")
    return np.empty(0, dtype=np.int8)


def _fill(array: np.ndarray, state: object) -> None:
    """Give an array its state, once the announced size is that of the bytes or objects that are there."""
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Kind):
        raise pickle.UnpicklingError("the state of an array is unknown")
    _, shape, kind, fortran, data = state
    if type(shape) is tuple and len(shape) > _MOST_DIMENSIONS:
        raise pickle.UnpicklingError(
            f"the shape of an array has {len(shape):,} dimensions; at most {_MOST_DIMENSIONS} are read"
        )
    if type(shape) is not tuple or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
        raise pickle.UnpicklingError("the shape of an array is not made of whole numbers")
    if kind.dtype.hasobject:
        if type(data) is not list or any(type(d) is np.ndarray and d.dtype.hasobject for d in data):
            raise pickle.UnpicklingError("an array holds something other than a list of objects")
        there, announced = len(data), math.prod(shape)
    else:
        data = _bytes(data)
        there, announced = len(data), math.prod(shape) * kind.dtype.itemsize
    if there != announced:
        raise pickle.UnpicklingError(f"an array of {len(shape)} dimensions announces {announced}, there are {there}")
    array.__setstate__((1, shape, kind.dtype, bool(fortran), data))  # type: ignore[arg-type] # the stubs forbid bool


def _scalar(kind: object, data: object) -> Any:
    raw = _bytes(data)
    if not isinstance(kind, _Kind) or kind.dtype.hasobject or len(raw) != kind.dtype.itemsize:
        raise pickle.UnpicklingError(f"a number holds {len(raw)} bytes, which is not its size")
    return np.frombuffer(raw, dtype=kind.dtype)[0] if raw else kind.dtype.type()


def _bytes(data: object) -> bytes:
    """Return bytes, which Python 2 calls text."""
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError(f"{_short(data)} stands where bytes must")
    return data


def _to_bytes(text: str, encoding: str) -> bytes:
    """``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text is encoded as {_short(encoding)}")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """``bytes()``, by which Python 3 writes none of them for Python 2."""
    return b""


_KNOWN: Mapping[tuple[str, str], object] = {
    ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _Function(_Kind),
    ("_codecs", "encode"): _Function(_to_bytes),
    ("__builtin__", "bytes"): _Function(_no_bytes),
} | {
    (f"numpy.{core}.multiarray", name): _Function(function)
    for core in ("core", "_core")
    for name, function in (("_reconstruct", _empty_array), ("scalar", _scalar))
}


class _ArraysOnly(pickle._Unpickler):
    """The standard library's readable unpickler without the operations that make or change other objects.

    The compiled one is not used: it takes memory for any number of a memo that a pickle names, and hashes any key.
    """

    # What the standard library's stubs leave out.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    readline: Callable[[], bytes]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.dispatch = self.operations = _Operations(_DISPATCH)  # type: ignore[misc] # its own, as it counts
        self.bytes_left = 2 * len(data)

    def take(self, parts: Sequence[object]) -> None:
        """Count what is copied, as a memo could hand out the same again and again.

        Text becomes bytes, and bytes an array: what is used once is copied twice at most. Objects are operations.
        """
        self.bytes_left -= sum(len(part) for part in parts if isinstance(part, (str, bytes)))
        self.operations.left -= sum(len(part) for part in parts if isinstance(part, list))
        if self.bytes_left < 0 or self.operations.left < 0:
            raise pickle.UnpicklingError("its arrays hold more than the file does")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module[:80]}.{name[:80]}; only numpy arrays are read")
        return _KNOWN[module, name]

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if not isinstance(function, _Function) or type(arguments) is not tuple:
            raise pickle.UnpicklingError("it calls what is no function of numpy's arrays")
        self.take(arguments)
        self.stack[-1] = function.call(*arguments)

    def load_build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        if type(thing) is np.ndarray:
            self.take(state if type(state) is tuple else ())
            _fill(thing, state)
        elif isinstance(thing, _Kind):
            thing.build(state)
        else:
            raise pickle.UnpicklingError(f"it gives a state to {_short(thing)}")

    def load_string(self) -> None:
        text = self.readline()[:-1]
        if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1] or b"\\" in _ESCAPE.sub(b"", text):
            raise pickle.UnpicklingError("a text is not quoted as Python 2 does")
        self.append(text[1:-1].decode("unicode_escape"))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        found = self.stack[-1]
        if type(found) is not dict or len(items) % 2:
            raise pickle.UnpicklingError("keys and values do not go into a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise pickle.UnpicklingError(f"a key is {_short(key)}; only text and whole numbers are read")
            found[key] = value


class _Operations(dict[int, Any]):
    """What an unpickler can do, each time counted."""

    left = MOST_OPERATIONS

    def __getitem__(self, code: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError(f"it has more than {MOST_OPERATIONS:,} operations")
        if code not in self:
            raise pickle.UnpicklingError(f"operation {bytes([code])!r} is none that arrays need")
        return super().__getitem__(code)


_DISPATCH: Mapping[int, Any] = (
    {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
        for name in (
            "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT",
            "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
            "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
            "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
            "EMPTY_DICT", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL",
            "STACK_GLOBAL",
        )
    }
    | {
        pickle.REDUCE[0]: _ArraysOnly.load_reduce,
        pickle.BUILD[0]: _ArraysOnly.load_build,
        pickle.STRING[0]: _ArraysOnly.load_string,
        pickle.SETITEM[0]: _ArraysOnly.load_setitem,
        pickle.SETITEMS[0]: _ArraysOnly.load_setitems,
        pickle.DICT[0]: _ArraysOnly.load_dict,
    }
)  # fmt: skip


def loads_arrays(data: bytes, where: str) -> Any:
    """Build what a pickle holds: dictionaries, lists, tuples, text, numbers and numpy arrays.

    Args:
        data: the pickle, of protocols 0 to 4; those of Python 2 as well.
        where: its file, for the errors.

    Raises:
        ValueError: it names anything else, a callable above all, or is damaged.
    """
    try:
        return _ArraysOnly(data).load()
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError,
        MemoryError, struct.error, RecursionError,
    ) as error:  # fmt: skip
        raise ValueError(f"{where} is not a pickle of arrays: {str(error) or type(error).__name__}") from error


def load_arrays_pickle(path: str | Path) -> Any:
    """Read a ``.pkl`` file by :func:`loads_arrays`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: larger than ``LIMIT_BYTES``, or see :func:`loads_arrays`.
    """
    return loads_arrays(read_regular(path, LIMIT_BYTES, "motion data file"), str(path))
