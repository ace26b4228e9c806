# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What readers of skeletal motion share: text files, rotations, thinning, the joints of H36M17 from a file's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from diffpose_core.files import read_regular
from diffpose_core.skeleton import H36M17

CMU_METRES = 0.0254 / 0.45
"""Metres per unit of the CMU database's files: inches, divided by 0.45 (mocap.cs.cmu.edu/faqs.php)."""
CMU_TEST = ("5", "8", "35", "39", "49", "131")
CMU_VALIDATION = ("6", "9", "16", "38", "43", "55", "135")
"""The packaged prior's split of the CMU database's subjects; all others are for training."""
CMU_LICENCE = (
    "CMU Graphics Lab Motion Capture Database: free for all uses, also in commercial products; not to be resold "
    "directly, even in converted form"
)
CMU_CITATION = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF "
    "EIA-0196217."
)
SLOWEST_HZ = 0.01
MOST_HZ = 30.0
"""Frames beyond this rate are nearly copies of their neighbours."""
LIMIT_BYTES = 1 << 28
"""Largest text file that is read: half an hour of 60 joints at 120 Hz."""
MOST_JOINTS = 1000
_FRAMES_AT_ONCE = 4096
JointTable = Mapping[str, Mapping[str, float]]
"""Per joint of H36M17, how much each of the file's joints has in it; the shares sum to 1."""


def axis_rotation(axis: str, angle_rad: np.ndarray) -> np.ndarray:
    """Return rotation matrices [..., 3, 3] about the axis ``x``, ``y`` or ``z`` by angles [...] in radians."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((*np.shape(angle_rad), 3, 3))
    matrix[...] = np.eye(3)
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    matrix[..., first, first] = matrix[..., second, second] = cos
    matrix[..., second, first], matrix[..., first, second] = sin, -sin
    return matrix


def z_up(points: np.ndarray) -> np.ndarray:
    """Turn points [..., 3] of a y-up world into a z-up one: x stays, y is up, z comes towards the viewer."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def h36m17(
    table: JointTable, names: list[str], values: np.ndarray, places: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the joints [N, 17, 3] of H36M17, so many frames at once that memory stays bounded.

    Args:
        table: where they come from.
        names: J joints of the file.
        values: [N, C] what the file holds of every frame.
        places: turns some frames' values [n, C] into the file's joints [n, J, 3].

    Raises:
        ValueError: the table asks for joints that the file lacks.
    """
    missing = sorted({n for mix in table.values() for n in mix} - set(names))
    if missing:
        raise ValueError(f"joints are missing: {', '.join(missing)}; there are {', '.join(names)}")
    shares = np.zeros((len(H36M17), len(names)))
    for joint, mix in table.items():
        for name, share in mix.items():
            shares[H36M17.index(joint), names.index(name)] = share
    parts = [values[i : i + _FRAMES_AT_ONCE] for i in range(0, len(values), _FRAMES_AT_ONCE)]
    return np.concatenate([shares @ places(part) for part in parts])


def files_below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files with one of the endings in a folder and those below it, also behind links, in order.

    Raises:
        FileNotFoundError: there are none.
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found, seen = list[Path](), set[str]()
    for where, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        if (real := os.path.realpath(where)) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        found += [Path(where) / name for name in names if name.endswith(endings)]
    if not found:
        raise FileNotFoundError(f"no {' or '.join('X' + ending for ending in endings)} in {folder}")
    return sorted(found)


def check_named(field: str, given: tuple[str, ...], default: tuple[str, ...], there: Collection[str]) -> None:
    """Refuse names, other than the default ones, that nothing was called; ``ValueError`` says which."""
    unknown = [name for name in given if name not in there and name not in default]
    if unknown:
        raise ValueError(f"{field} names {unknown[0]!r}; there are {', '.join(sorted(there))}")


def stride(frame_rate_hz: float, most_hz: float) -> int:
    """Return every how many frames to take for at most ``most_hz``; rates within 0.1 % of a multiple count as one.

    Raises:
        ValueError: a rate is not positive and finite.
    """
    for name, rate in (("the frame rate", frame_rate_hz), ("most_hz", most_hz)):
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"{name} must be positive and finite, got {rate}")
    if most_hz < SLOWEST_HZ:
        raise ValueError(f"most_hz must be at least {SLOWEST_HZ:g}, got {most_hz}")
    return max(1, math.ceil(frame_rate_hz / most_hz - 1e-3))


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not text, or larger than ``LIMIT_BYTES``.
    """
    data = read_regular(path, LIMIT_BYTES, "motion file")
    if b"\0" in data:
        raise ValueError(f"{path} is not a text file")
    return [line.decode("latin-1") for line in data.splitlines()]


def numbers(words: list[str], where: str) -> list[float]:
    """Read finite numbers; ``ValueError`` says where and what is none."""
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in word:  # Python takes 1_0 for 10
            raise ValueError(f"{where}: {word!r} is not a finite number")
        values.append(value)
    return values


def subject_of(stem: str) -> str:
    """Return who moves in a recording, by the name of its file.

    In the CMU database's ``05_11`` and ``131_04-dance`` it is 5 and 131, in LAFAN1's ``walk1_subject5`` it is subject5;
    of other names it is the part before the first underscore.
    """
    who, _, rest = stem.partition("_")
    if rest.startswith("subject"):
        return rest
    return str(int(who)) if who.isdecimal() else who


def split_of(subject: str, validation: tuple[str, ...], test: tuple[str, ...]) -> str:
    """Return the split of a subject; those that are not named are for training."""
    return "test" if subject in test else "validation" if subject in validation else "train"
