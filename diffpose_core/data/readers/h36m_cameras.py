# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M's cameras, from a file that the user has: ``metadata.xml``, ``cameras.h5`` or ``h36m_dataset.py``.

The three hold the same numbers in different forms:

==================  =======================================  ============================  ==========================
file                rotation                                 place                         tangential distortion
==================  =======================================  ============================  ==========================
metadata.xml        angles a: Rx(a0) Ry(a1) Rz(a2), into     camera in the world, mm       p1, p2 as in OpenCV
                    the camera
cameras.h5          matrix into the camera, transposed       camera in the world, mm       p1, p2 as in OpenCV
h36m_dataset.py     quaternion w x y z out of the camera     camera in the world, mm       p2, p1: the other way round
==================  =======================================  ============================  ==========================

A point X of the world is R (X - T) in the optical frame. The radial distortion is k1, k2, k3 everywhere; OpenCV's order
is k1, k2, p1, p2, k3. Sources: ``cameras.py`` of 3d-pose-baseline (metadata.xml, and cameras.h5 in its first version),
``common/h36m_dataset.py`` and ``common/camera.py`` of VideoPose3D.

These two projects multiply a point by 1 + k1 r² + k2 r⁴ + k3 r⁶ + t and add r² (p2, p1), where t is p1 y + p2 x; OpenCV
and this library have 2 t. In the images the two differ by 0.1 px on average and by less than one in the corners.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from diffpose_core.camera import Camera
from diffpose_core.data.readers.h36m_files import h5_numbers
from diffpose_core.data.readers.h36m_layout import CAMERAS
from diffpose_core.files import read_regular

LIMIT_BYTES = 1 << 22
"""Largest camera file that is read; the published ones are smaller than 200 kB."""
_XML_SUBJECTS = 11
_XML_NUMBERS = len(CAMERAS) * (6 * _XML_SUBJECTS + 9)
_INTRINSICS, _EXTRINSICS = "h36m_cameras_intrinsic_params", "h36m_cameras_extrinsic_params"
_ROUNDING = 1e-3

Cameras = dict[tuple[str, str], tuple[Camera, np.ndarray]]
"""By subject and camera: the camera and camera_from_world [3, 4], metres."""


def load_cameras(path: Path, subjects: Collection[str]) -> Cameras:
    """Read the four cameras of some subjects; what kind of file it is, its name's ending says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, damaged, or without a camera of a subject.
    """
    read = {".xml": _read_xml, ".h5": _read_h5, ".py": _read_python}.get(path.suffix)
    if read is None:
        raise ValueError(f"{path}: cameras are read from metadata.xml, cameras.h5 or h36m_dataset.py")
    data = read_regular(path, LIMIT_BYTES, "camera file")
    try:
        camera = read(data)
        return {(subject, name): camera(subject, name) for subject in subjects for name in CAMERAS}
    except (
        ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RuntimeError, SyntaxError, MemoryError,
        OverflowError,
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: unusable cameras: {str(error) or type(error).__name__}") from error


def _camera(
    name: str, rotation: np.ndarray, place_mm: np.ndarray, focal: np.ndarray, centre: np.ndarray, radial: np.ndarray,
    tangential: np.ndarray,
) -> tuple[Camera, np.ndarray]:  # fmt: skip
    """Build from R and T of R (X - T), and distortion k1 k2 k3 and p1 p2 of OpenCV."""
    if not (np.abs(rotation @ rotation.T - np.eye(3)).max() < _ROUNDING and np.linalg.det(rotation) > 0):
        raise ValueError(f"camera {name}: {rotation.tolist()} is no rotation")
    k1, k2, k3 = map(float, radial)
    p1, p2 = map(float, tangential)
    (fx, fy), (cx, cy) = map(float, focal), map(float, centre)
    camera = Camera(fx, fy, cx, cy, *CAMERAS[name], (k1, k2, p1, p2, k3))
    return camera, np.column_stack([rotation, -rotation @ place_mm / 1000.0])


def _read_xml(data: bytes) -> Callable[[str, str], tuple[Camera, np.ndarray]]:
    """Read ``w0``: 6 numbers by camera and subject S1 to S11, then f, c, k, p by camera."""
    found = re.search(r"<w0>\s*\[([^\]<]*)\]\s*</w0>", data.decode("utf-8"))
    if not found:
        raise ValueError("there is no <w0>[...]</w0>")
    numbers = np.array(list(map(float, found[1].split())))
    if numbers.shape != (_XML_NUMBERS,):
        raise ValueError(f"w0 holds {len(numbers)} numbers, expected {_XML_NUMBERS}")
    outside = numbers[: 6 * _XML_SUBJECTS * len(CAMERAS)].reshape(len(CAMERAS), _XML_SUBJECTS, 6)
    inside = numbers[outside.size :].reshape(len(CAMERAS), 9)

    def camera(subject: str, name: str) -> tuple[Camera, np.ndarray]:
        index = list(CAMERAS).index(name)
        angles, place = np.split(outside[index, int(subject[1:]) - 1], 2)
        return _camera(name, _turns(angles), place, *np.split(inside[index], [2, 4, 7]))

    return camera


def _turns(angles: np.ndarray) -> np.ndarray:
    """Return Rx(a0) Ry(a1) Rz(a2)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _read_h5(data: bytes) -> Callable[[str, str], tuple[Camera, np.ndarray]]:
    """Read ``subject9/camera1``: R [3, 3] transposed, T [3, 1], f and c [2, 1], k [3, 1], p [2, 1], Name [8, 1]."""

    def camera(subject: str, name: str) -> tuple[Camera, np.ndarray]:
        with h5py.File(io.BytesIO(data), "r") as file:
            place = f"subject{subject[1:]}/camera{list(CAMERAS).index(name) + 1}"
            kept = "".join(map(chr, h5_numbers(file, f"{place}/Name", (len(name), 1), "ui").ravel()))
            if kept != name:
                raise ValueError(f"{place} is camera {kept!r}, expected {name}")
            parts = {
                key: h5_numbers(file, f"{place}/{key}", (rows, 1)).ravel()
                for key, rows in (("T", 3), ("f", 2), ("c", 2), ("k", 3), ("p", 2))
            }
            rotation = h5_numbers(file, f"{place}/R", (3, 3)).T
        return _camera(name, rotation, parts["T"], parts["f"], parts["c"], parts["k"], parts["p"])

    return camera


def _read_python(data: bytes) -> Callable[[str, str], tuple[Camera, np.ndarray]]:
    """Read the two tables of literals; the rest of the file is not looked at, and nothing is executed."""
    found: dict[str, Any] = {}
    for node in ast.parse(data.decode("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in (_INTRINSICS, _EXTRINSICS):
                found[name] = ast.literal_eval(node.value)
    if missing := {_INTRINSICS, _EXTRINSICS} - found.keys():
        raise ValueError(f"there is no {' nor '.join(sorted(missing))}")

    def camera(subject: str, name: str) -> tuple[Camera, np.ndarray]:
        if subject not in found[_EXTRINSICS]:
            raise ValueError(f"{_EXTRINSICS} has no {subject}")
        index = [c["id"] for c in found[_INTRINSICS]].index(name)
        inside, outside = found[_INTRINSICS][index], found[_EXTRINSICS][subject][index]
        if absent := {"orientation", "translation"} - outside.keys():
            raise ValueError(f"{subject}, {name} has no {' nor '.join(sorted(absent))}")
        lens = [inside[key] for key in ("focal_length", "center", "radial_distortion", "tangential_distortion")]
        focal, centre, radial, tangential = (np.array(values, dtype=float) for values in lens)
        place, turn = (np.array(outside[key], dtype=float) for key in ("translation", "orientation"))
        return _camera(name, _turned(turn).T, place, focal, centre, radial, tangential[::-1])

    return camera


def _turned(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotation of a unit quaternion w x y z."""
    if quaternion.shape != (4,) or abs(np.linalg.norm(quaternion) - 1) > _ROUNDING:
        raise ValueError(f"{quaternion.tolist()} is no unit quaternion")
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
