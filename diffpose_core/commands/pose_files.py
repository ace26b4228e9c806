# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Files of poses, wholly or partly known, as JSON, CSV and npz: read with one error for what is wrong, and written.

One layout in three formats (docs/commands.md). Joints go by their names of H36M17, in metres; a joint that is not
known is ``null`` or left out (JSON), empty or left out (CSV), NaN (npz; the others take it too).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.body import MAX_BODY_M
from diffpose_core.data.readers.arrays import load_arrays
from diffpose_core.files import read_regular
from diffpose_core.skeleton import H36M17

SUFFIXES = (".json", ".csv", ".npz")
LIMIT_BYTES = 1 << 24
"""Largest file that is read."""
MAX_PERSONS = 10_000
MAX_POSITION_M = 1000.0
"""From the origin: nearer than that float32 tells tenths of a millimetre."""
COLUMNS = ("person", "joint", "x_m", "y_m", "z_m")
NOT_KNOWN = (math.nan,) * 3


def suffix_of(path: Path, among: Iterable[str]) -> str:
    """Return the path's suffix, in lower case.

    Raises:
        ValueError: it is none of these.
    """
    suffix = path.suffix.lower()
    if suffix not in among:
        raise ValueError(f"{path}: the name must end in {', '.join(among)}, got {path.suffix!r}")
    return suffix


def read_poses(path: str | Path) -> Float[Tensor, "P 17 3"]:
    """Read persons of whom at least one joint is known.

    Returns:
        Metres, in the axes of the file; NaN where a joint is not known.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, larger than the limit, damaged, or a value that makes no sense; the message names
            file, place and value.
    """
    path = Path(path)
    suffix = suffix_of(path, SUFFIXES)
    data = read_regular(path, LIMIT_BYTES, "file of poses")
    if suffix == ".npz":
        arrays = load_arrays(path, ("joints", "joint_names"), LIMIT_BYTES)
    try:
        if suffix == ".npz":
            joints = _from_arrays(arrays)
        else:
            joints = (_read_json if suffix == ".json" else _read_csv)(data.decode("utf-8-sig"))
        return torch.from_numpy(_checked(joints)).float()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _checked(joints: np.ndarray) -> np.ndarray:
    if not 1 <= len(joints) <= MAX_PERSONS:
        raise ValueError(f"the number of persons must lie in 1..{MAX_PERSONS:,}, got {len(joints):,}")
    known = np.isfinite(joints).all(-1)
    for person, joint in np.argwhere(~known & ~np.isnan(joints).all(-1))[:1]:
        at, got = f"person {person}, {H36M17.joints[joint]}", joints[person, joint].tolist()
        raise ValueError(f"{at}: three finite numbers are needed, got {got}")
    for person in np.flatnonzero(~known.any(1))[:1]:
        raise ValueError(f"person {person}: no joint is known")
    least = np.where(known[..., None], joints, np.inf).min(1)
    most = np.where(known[..., None], joints, -np.inf).max(1)
    for person in np.flatnonzero((most > MAX_POSITION_M).any(-1) | (least < -MAX_POSITION_M).any(-1))[:1]:
        raise ValueError(f"person {person}: joints lie more than {MAX_POSITION_M:g} m from the origin")
    size = (most - least).max(-1)
    for person in np.flatnonzero(size > MAX_BODY_M)[:1]:
        raise ValueError(f"person {person}: joints lie {size[person]:g} m apart; are the units metres?")
    return joints


def _place(at: str, joint: str) -> int:
    if joint not in H36M17.joints:
        raise ValueError(f"{at}: no joint {joint!r}; there are {', '.join(H36M17.joints)}")
    return H36M17.joints.index(joint)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:40]!r} stands twice in one object")
        found[key] = value
    return found


def _only(at: str, found: object, keys: tuple[str, ...]) -> list[Any]:
    """Return the values of an object with exactly these keys."""
    if not isinstance(found, dict) or set(found) != set(keys):
        got = f"the keys {sorted(found)}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise ValueError(f"{at}: an object with the keys {list(keys)} is needed, got {got}")
    return [found[key] for key in keys]


def _read_json(text: str) -> np.ndarray:
    try:
        root = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    (persons,) = _only("the file", root, ("persons",))
    if not isinstance(persons, list) or len(persons) > MAX_PERSONS:
        raise ValueError(f"persons: a list of at most {MAX_PERSONS:,} is needed")
    joints = np.full((len(persons), len(H36M17), 3), np.nan)
    for p, person in enumerate(persons):
        (found,) = _only(f"person {p}", person, ("joints",))
        if not isinstance(found, dict):
            raise ValueError(f"person {p}: joints must be an object of names and positions")
        for name, position in found.items():
            joints[p, _place(f"person {p}", name)] = _position(f"person {p}, {name}", position)
    return joints


def _position(at: str, found: object) -> tuple[float, ...]:
    if found is None:
        return NOT_KNOWN
    if not isinstance(found, list) or len(found) != 3 or not all(type(v) in (int, float) for v in found):
        raise ValueError(f"{at}: [x, y, z] or null is needed, got {json.dumps(found)[:80]}")
    try:
        return tuple(map(float, found))
    except OverflowError:
        raise ValueError(f"{at}: a number has too many digits") from None


def _number(at: str, text: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{at}: a number is needed, got {text[:40]!r}") from None


def _read_csv(text: str) -> np.ndarray:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    head = rows[0][1] if rows else []
    if sorted(head) != sorted(COLUMNS):
        raise ValueError(f"the first line must name the columns {','.join(COLUMNS)}, got {','.join(head)[:80]!r}")
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    for line, row in rows[1:]:
        at = f"line {line}"
        if len(row) != len(head):
            raise ValueError(f"{at}: {len(head)} values are needed, got {len(row)}")
        person, joint, *position = (row[head.index(name)] for name in COLUMNS)
        if not person.isascii() or not person.isdigit() or len(person) > 9 or int(person) >= MAX_PERSONS:
            raise ValueError(f"{at}: person must be a number in 0..{MAX_PERSONS - 1}, got {person[:40]!r}")
        key = int(person), _place(at, joint)
        if key in found:
            raise ValueError(f"{at}: {joint} of person {person} stands there twice")
        found[key] = tuple(_number(f"{at}, {name}", text) for name, text in zip(COLUMNS[2:], position, strict=True))
    joints = np.full((max((person for person, _ in found), default=-1) + 1, len(H36M17), 3), np.nan)
    for key, values in found.items():
        joints[key] = values
    return joints


def _from_arrays(found: dict[str, np.ndarray]) -> np.ndarray:
    joints, names = found["joints"], found["joint_names"]
    if joints.dtype.kind not in "fiu" or joints.ndim != 3 or joints.shape[1:] != (len(H36M17), 3):
        raise ValueError(f"joints must be numbers of shape [P, 17, 3], got {joints.dtype} {list(joints.shape)}")
    if names.shape != (len(H36M17),) or names.dtype.kind != "U" or tuple(names.tolist()) != H36M17.joints:
        raise ValueError(f"joint_names must be {' '.join(H36M17.joints)}, got {' '.join(map(str, names.flat))[:200]}")
    return joints.astype(np.float64)


def pose_bytes(joints: Float[Tensor, "P 17 3"], suffix: str) -> bytes:
    """Write poses, metres, NaN where a joint is not known, in the format of this suffix (.json, .csv or .npz)."""
    if suffix == ".npz":
        return npz_bytes(joints=joints.numpy(), joint_names=np.array(H36M17.joints))
    positions = [[None if math.isnan(x[0]) else x for x in person] for person in rounded(joints)]
    if suffix == ".json":
        return json_bytes([{"joints": dict(zip(H36M17.joints, person, strict=True))} for person in positions])
    rows = [
        (p, name, *(position or ("",) * 3))
        for p, person in enumerate(positions)
        for name, position in zip(H36M17.joints, person, strict=True)
    ]
    return csv_bytes(COLUMNS, rows)


def rounded(values: Tensor, decimals: int = 6) -> Any:
    """Return nested lists of numbers; six decimals of a metre are finer than float32 across a room."""
    return np.round(values.double().numpy(), decimals).tolist()


def json_bytes(persons: Iterable[dict[str, Any]], **settings: Any) -> bytes:
    """Return JSON: the settings, then a line for every person."""
    head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in settings.items())
    lines = ",\n".join(json.dumps(person) for person in persons)
    return f'{{{head}"persons": [\n{lines}\n]}}\n'.encode()


def csv_bytes(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """Return a table with a first line of names."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def npz_bytes(**arrays: Any) -> bytes:
    """Return an ``.npz``; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file; it appears whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
