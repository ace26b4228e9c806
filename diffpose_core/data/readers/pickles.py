"""Arrays out of pickles, as some data sets are published: an unpickler that builds numpy arrays and nothing else."""

from __future__ import annotations

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_BYTES = 1 << 32
"""Largest pickle that is read."""
_DTYPE_CHARACTERS = 32
_KINDS = "biufcSUO"


class _ArrayClass:
    """Stands for ``numpy.ndarray`` where a pickle names it; calling it would take memory of any announced size."""


class _Dtype:
    """Stands for ``numpy.dtype``, whose own state may announce fields that lie outside of an array's memory."""

    def __init__(self, code: object, *_flags: object) -> None:
        if not isinstance(code, (str, bytes)) or len(code) > _DTYPE_CHARACTERS:
            raise pickle.UnpicklingError(f"an array is of type {code!r}")
        self.kind = np.dtype(code.decode("ascii") if isinstance(code, bytes) else code)
        if self.kind.kind not in _KINDS:
            raise pickle.UnpicklingError(f"an array is of type {self.kind}; only plain ones are read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if tuple(state[2:5]) != (None, None, None):
            raise pickle.UnpicklingError("an array has fields; only plain ones are read")
        if state[1] in ("<", ">"):
            self.kind = self.kind.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array that looks at its state first: numpy itself reads as many items of a list as the shape announces."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, stand_in, fortran, data = state
        kind = stand_in.kind
        items, wanted = (list, 1) if kind.hasobject else ((bytes, str), kind.itemsize)
        if not isinstance(data, items) or min(shape, default=0) < 0 or len(data) != math.prod(shape) * wanted:
            raise pickle.UnpicklingError(f"an array of shape {shape} and type {kind} does not hold that much")
        super().__setstate__((version, shape, kind, fortran, data))  # type: ignore[arg-type]


def _empty_array(_kind: object, shape: object, _code: object) -> _Array:
    """Make the empty array that its state then fills; any other shape would take memory before there are bytes."""
    if shape != (0,):
        raise pickle.UnpicklingError(f"an array begins with shape {shape}")
    return _Array(0, dtype=np.int8)


def _scalar(stand_in: _Dtype, data: bytes | str) -> Any:
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if stand_in.kind.hasobject or len(raw) != stand_in.kind.itemsize:
        raise pickle.UnpicklingError(f"a number of type {stand_in.kind} holds {len(raw)} bytes")
    return np.frombuffer(raw, dtype=stand_in.kind)[0]


def _to_bytes(text: str, encoding: str) -> bytes:
    """``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text is encoded as {encoding!r}")
    return text.encode("latin-1")


_KNOWN = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _to_bytes,
} | {
    (f"numpy.{core}.multiarray", name): function
    for core in ("core", "_core")
    for name, function in (("_reconstruct", _empty_array), ("scalar", _scalar))
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only numpy arrays are read")
        return _KNOWN[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError(f"it refers to {pid!r} outside of itself")


def loads_arrays(data: bytes, where: str) -> Any:
    """Build what a pickle holds: dictionaries, lists, tuples, text, numbers and numpy arrays.

    Args:
        data: the pickle; those of Python 2 as well.
        where: its file, for the errors.

    Raises:
        ValueError: it names anything else, a callable above all, or is damaged.
    """
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError,
        MemoryError, struct.error, RecursionError,
    ) as error:  # fmt: skip
        raise ValueError(f"{where} is not a pickle of arrays: {error or type(error).__name__}") from error


def load_arrays_pickle(path: str | Path) -> Any:
    """Read a ``.pkl`` file by :func:`loads_arrays`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: larger than ``LIMIT_BYTES``, or see :func:`loads_arrays`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    if (size := path.stat().st_size) > LIMIT_BYTES:
        raise ValueError(f"{path} holds {size:,} bytes; at most {LIMIT_BYTES:,} are read")
    return loads_arrays(path.read_bytes(), str(path))
