# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The cameras of MPI-INF-3DHP, which stand in a world with y up and millimetres; here z is up, and metres.

Sources: ``camera.calibration`` of a training sequence and ``test_util/camera_calibration/*.calib`` of the test set, as
read by the public code of isarandi/posepile and vegesm/pose_refinement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffpose_core.camera import Camera
from diffpose_core.data.prepared import View
from diffpose_core.data.readers.mocap import numbers, text_lines, z_up

HEADER = "Skeletool Camera Calibration File V1.0"
TEST_FILES = {"TS1-4": "ts1-4cameras.calib", "TS5-6": "ts5-6cameras.calib"}
TEST_SIZES = {"TS1-4": (2048, 2048), "TS5-6": (1920, 1080)}
TEST_VALUES: dict[str, dict[str, list[float]]] = {
    "TS1-4": {
        "sensorSize": [10, 10], "focalLength": [7.32506], "pixelAspect": [1.00044],
        "centerOffset": [-0.0322884, 0.0929296], "origin": [3427.28, 1387.86, 309.42],
        "up": [-0.208215, 0.976233, 0.06014], "right": [0.000575281, 0.0616098, -0.9981],
    },
    "TS5-6": {
        "sensorSize": [10, 5.625], "focalLength": [8.770747185], "pixelAspect": [0.993236423],
        "centerOffset": [-0.104908645, 0.104899704], "origin": [-2104.3074, 1038.6707, -4596.6367],
        "up": [0.025272345, 0.995038509, 0.096227370], "right": [-0.939647257, -0.009210289, 0.342020929],
    },
}  # fmt: skip
"""What the test set's files say, from posepile, for a test set without them."""
_NOT_A_ROTATION = 1e-3


@dataclass(frozen=True)
class PlacedCamera:
    """A camera that stands still.

    Attributes:
        camera: intrinsics; the data set's annotations know no lens distortion.
        rotation: [3, 3] from the world into the optical frame.
        translation_m: [3] of the same.
    """

    camera: Camera
    rotation: np.ndarray
    translation_m: np.ndarray

    @classmethod
    def in_y_up(cls, camera: Camera, rotation: np.ndarray, translation_mm: np.ndarray, where: str) -> PlacedCamera:
        """Turn the world of the files, y up and millimetres, into ours.

        The rotation, rounded in the files, is replaced by the nearest exact one, so that its transpose undoes it.

        Raises:
            ValueError: the rotation is none.
        """
        left, _, right = np.linalg.svd(rotation)
        exact = left @ right
        if np.abs(exact - rotation).max() > _NOT_A_ROTATION or np.linalg.det(exact) < 0:
            raise ValueError(f"{where}: {rotation.round(4).tolist()} is not a rotation")
        return cls(camera, exact @ z_up(np.eye(3)), translation_mm / 1000)

    def to_world(self, points_m: np.ndarray) -> np.ndarray:
        """Return points [..., 3] of the optical frame in the world, metres."""
        return (points_m - self.translation_m) @ self.rotation

    def view(self, keypoints: np.ndarray) -> View:
        """Return the view of N frames with keypoints [N, 17, 2] px."""
        pose = np.concatenate([self.rotation, self.translation_m[:, None]], 1)
        return View(self.camera, np.broadcast_to(pose, (len(keypoints), 3, 4)), keypoints)


def training_cameras(path: Path) -> dict[int, PlacedCamera]:
    """Read ``camera.calibration`` of a training sequence: its cameras by number.

    Raises:
        FileNotFoundError: no such file.
        ValueError: of another format, damaged, or a camera moves or has a lens distortion.
    """
    lines = [line.split() for line in text_lines(path) if line.strip()]
    if not lines or " ".join(lines[0]) != HEADER:
        raise ValueError(f"{path} does not begin with {HEADER!r}")
    blocks: dict[int, dict[str, list[float]]] = {}
    block: dict[str, list[float]] = {}
    for key, *words in lines[1:]:
        values = numbers(words, f"{path}: {key}")
        if key == "name":
            (number,) = _sized({key: values}, key, 1, str(path))
            if number in blocks:
                raise ValueError(f"{path}: camera {number:g} is there twice")
            block = blocks[int(number)] = {}
        else:
            block[key] = values
    return {number: _training_camera(block, f"{path}: camera {number}") for number, block in blocks.items()}


def _training_camera(block: dict[str, list[float]], where: str) -> PlacedCamera:
    for key in ("animated", "radial"):
        if _sized(block, key, 1, where) != [0.0]:
            raise ValueError(f"{where}: {key} is {block[key][0]:g}, only 0 is read")
    width, height = _sized(block, "size", 2, where)
    intrinsic = np.reshape(_sized(block, "intrinsic", 16, where), (4, 4))
    extrinsic = np.reshape(_sized(block, "extrinsic", 16, where), (4, 4))
    try:
        camera = Camera.from_matrix(intrinsic[:3, :3].tolist(), int(width), int(height))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return PlacedCamera.in_y_up(camera, extrinsic[:3, :3], extrinsic[:3, 3], where)


def camera_of_test(folder: Path, which: str) -> PlacedCamera:
    """Return the camera of the test sequences ``TS1-4`` or ``TS5-6``.

    Its lens distortion, which the file of the second has, is left out: the annotated 2D points are those of a pinhole.

    Args:
        folder: ``test_util/camera_calibration`` of the test set; without it, ``TEST_VALUES`` are taken.
        which: the sequences.

    Raises:
        FileNotFoundError: the folder is there, but not its file.
        ValueError: the file is damaged.
    """
    values, where = TEST_VALUES[which], f"test camera of {which}"
    if folder.is_dir():
        path = folder / TEST_FILES[which]
        where = str(path)
        lines = [line.partition("#")[0].split() for line in text_lines(path)]
        # Of several cameras in a file, the first counts.
        values = {
            words[0]: numbers(words[1:], f"{where}: {words[0]}")
            for words in reversed(lines)
            if words and words[0] in values
        }
    width, height = TEST_SIZES[which]
    sensor, offset = (np.array(_sized(values, key, 2, where)) for key in ("sensorSize", "centerOffset"))
    (focal,), (aspect,) = (_sized(values, key, 1, where) for key in ("focalLength", "pixelAspect"))
    origin, up, right = (np.array(_sized(values, key, 3, where)) for key in ("origin", "up", "right"))
    px_per_mm = np.array([width, height]) / sensor
    cx, cy = np.array([width, height]) / 2 + offset * px_per_mm
    try:
        fx, fy = (float(focal * s) for s in px_per_mm * [1, aspect])
        camera = Camera(fx, fy, float(cx), float(cy), width, height)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    rotation = np.stack([right, -up, np.cross(up, right)])
    return PlacedCamera.in_y_up(camera, rotation, -rotation @ origin, where)


def _sized(values: dict[str, list[float]], key: str, count: int, where: str) -> list[float]:
    if len(found := values.get(key, [])) != count:
        raise ValueError(f"{where}: {key} has {len(found)} numbers, expected {count}")
    return found
