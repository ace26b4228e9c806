# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Messages and their bytes made wrong by chance: any field of any message, nested ones too."""

from __future__ import annotations

import array
import math
import random
from typing import Any

import numpy as np

INTEGERS = {
    "int8": (-(2**7), 2**7 - 1), "uint8": (0, 2**8 - 1), "int16": (-(2**15), 2**15 - 1), "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1), "octet": (0, 2**8 - 1),
}  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 1e-30, 1e30, -1e30, 3e38, -3e38, 0.5, 640.0)
TEXTS = (
    "", "x", "H36M17", "COCO17", "bgr8", "mono16", "nv12", "bayer_rggb8", "16UC1", "32FC1", "jpeg", "png",
    "plumb_bob", "rational_polynomial", "equidistant", "\u00e4\u4eba", "a" * 10_000, "%s%n", "../../etc", "map",
)  # fmt: skip
ARRAY_LIMIT = 2000


def malform(rng: random.Random, message: Any, changes: int = 0) -> None:
    """Change one to three fields of a message; most results are wrong, some are not."""
    for _ in range(changes or rng.choice((1, 1, 1, 2, 3))):
        _change(rng, message)


def malform_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change a serialized message: bytes, lengths, its end."""
    result = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(result)) if result else 0
        kind = rng.randrange(6)
        if kind == 0:
            return rng.randbytes(rng.randrange(200))
        if kind == 1:
            result[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            del result[at:]
        elif kind == 3:  # where a length may stand
            at -= at % 4
            value = rng.choice((0, 1, 2**8, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1))
            result[at : at + 4] = value.to_bytes(4, "little")
        elif kind == 4:
            result += rng.randbytes(rng.randrange(1, 100))
        else:
            del result[at : at + rng.randrange(1, 16)]
    return bytes(result)


def _change(rng: random.Random, message: Any) -> None:
    types = message.get_fields_and_field_types()
    name = rng.choice(sorted(types))
    value = getattr(message, name)
    if hasattr(value, "get_fields_and_field_types"):
        _change(rng, value)
    elif isinstance(value, list) and value and hasattr(value[0], "get_fields_and_field_types"):
        kind = rng.randrange(8)
        if kind == 0:
            value.clear()
        elif kind == 1:
            value.append(value[0])
        else:
            _change(rng, rng.choice(value))
    elif isinstance(value, list) and types[name].startswith("sequence") and "/" in types[name]:
        return  # an empty list of messages stays so: what would be in it is other messages' affair
    else:
        setattr(message, name, _changed(rng, value, types[name]))


def _changed(rng: random.Random, value: Any, kind: str) -> Any:
    """Return another value of the same type."""
    if kind == "boolean":
        return not value
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        near = value + rng.choice((-1, 1, 2, 7))
        return max(low, min(high, rng.choice((0, 1, near, near, 2 * value, low, high, rng.randint(low, high)))))
    if kind in ("float", "double"):
        return _fits(kind, rng.choice((*FLOATS, rng.uniform(-1e3, 1e3), rng.gauss(0, 1) * 10 ** rng.uniform(-30, 30))))
    if kind.startswith("string"):
        return rng.choice(TEXTS)
    return _changed_array(rng, value, kind)


def _fits(kind: str, value: float) -> float:
    return float(array.array("f", [value])[0]) if kind == "float" else value


def _changed_array(rng: random.Random, value: Any, kind: str) -> Any:
    fixed = kind.endswith("]")
    element = kind.partition("[")[0] if fixed else kind.removeprefix("sequence<").split(",")[0].rstrip(">")
    values = list(value)
    if fixed or rng.random() < 0.5:
        if values:
            for _ in range(rng.choice((1, 1, 2, len(values)))):
                at = rng.randrange(len(values))
                values[at] = _changed(rng, values[at], element)
    else:
        zero: Any = "x" if element == "string" else False if element == "boolean" else 0
        size = rng.choice((0, 1, len(values) - 1, len(values) + 1, 2 * len(values), rng.randrange(ARRAY_LIMIT)))
        values = (values + [zero] * max(0, size))[: max(0, size)]
    if isinstance(value, np.ndarray):
        return np.array(values, value.dtype)
    return array.array(value.typecode, values) if isinstance(value, array.array) else values
