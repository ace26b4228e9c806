# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""3DPW (von Marcard et al., "Recovering Accurate 3D Human Pose in The Wild Using IMUs and a Moving Camera", 2018).

Layout, units and the camera's direction: the release's readme and the public code of nkolot/SPIN, mkocabas/VIBE and
isarandi/posepile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.camera import Camera
from diffpose_core.data.prepared import SPLITS, Description, Recording, View
from diffpose_core.data.readers import smpl
from diffpose_core.data.readers.mocap import MOST_HZ, stride, z_up
from diffpose_core.data.readers.pickles import load_arrays_pickle
from diffpose_core.skeleton import H36M17

FRAME_RATE_HZ = 30.0
KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
"""Of ``poses2d``: those of OpenPose for COCO."""
MADE_CONFIDENCE = 0.5
"""Share of confidence left to what is made from others: the middle of the hips, and OpenPose's neck as the thorax."""
_FROM_KEYPOINTS: dict[str, tuple[tuple[str, ...], float]] = {
    "Pelvis": (("left_hip", "right_hip"), MADE_CONFIDENCE),
    "Thorax": (("neck",), MADE_CONFIDENCE),
    "Nose": (("nose",), 1.0),
} | {
    f"{side[0].upper()}{joint.capitalize()}": ((f"{side}_{joint}",), 1.0)
    for side in ("left", "right")
    for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
}
LONG_SIDE_PX, SHORT_SIDE_PX = 1920, 1080
NOSE_M, HEAD_TOP_M = (0.0, 0.04, 0.13), (0.0, 0.17, 0.02)
"""From SMPL's head joint, which lies between the ears: to the left, up and forward in the head. Judged by eye after an
adult's head, which is 13 cm high above the ear's opening; not measured on the model."""
MODEL_FILES = {"m": ("SMPL_MALE.npz", "SMPL_MALE.pkl"), "f": ("SMPL_FEMALE.npz", "SMPL_FEMALE.pkl")}
_SMPL_JOINTS = 24
_TO_THE_HEAD = (0, 3, 6, 9, 12, 15)
_OFF_CENTRE = 0.1
_NOT_A_ROTATION = 1e-3


@dataclass(frozen=True)
class ThreeDpw:
    """3DPW: people outdoors, seen by a hand-held camera that is known in every frame.

    Attributes:
        source: folder that holds sequenceFiles.
        models: folder of SMPL_MALE.npz and SMPL_FEMALE.npz; without it, the joints are those stored with the data set.
        regressor: J_regressor_h36m.npy, which gives Human3.6M's joints as the field evaluates them; needs the models.
        splits: which of train, validation and test to read.
        most_hz: training poses a second, at most.
    """

    source: Path
    models: Path | None = None
    regressor: Path | None = None
    splits: tuple[str, ...] = SPLITS
    most_hz: float = MOST_HZ

    def describe(self) -> Description:
        """Name the terms, and the joints that are approximate."""
        return Description(
            "3DPW",
            "3DPW and the SMPL model: for non-commercial scientific research, not to be passed on",
            "von Marcard, Henschel, Black, Rosenhahn, Pons-Moll: Recovering Accurate 3D Human Pose in The Wild Using "
            "IMUs and a Moving Camera, ECCV 2018",
            smpl.APPROXIMATE if self.regressor is None else (),
        )

    def recordings(self) -> Iterator[Recording]:
        """Read every person of every sequence, as ``sequence/person``, in the frames whose camera is known.

        Frame n, counted from 0, is ``image_{n:05d}.jpg`` of the sequence.

        Raises:
            FileNotFoundError: a split has no sequences, or a file of the body model is missing.
            ValueError: an unknown split, a regressor without models, or a file is damaged.
        """
        if self.regressor is not None and self.models is None:
            raise ValueError("the regressor takes the surface of a body model; give --models too")
        bodies = self._bodies()
        for split in self.splits:
            if split not in SPLITS:
                raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
            files = sorted((self.source / "sequenceFiles" / split).glob("*.pkl"))
            if not files:
                raise FileNotFoundError(f"no sequences in {self.source / 'sequenceFiles' / split}")
            for path in files:
                yield from self._sequence(path, split, bodies)

    def _bodies(self) -> dict[str, tuple[smpl.BodyModel, np.ndarray | None]]:
        if self.models is None:
            return {}
        found = {}
        for gender, names in MODEL_FILES.items():
            paths = [self.models / n for n in names if (self.models / n).is_file()]
            if not paths:
                raise FileNotFoundError(f"{self.models} must hold {' or '.join(names)}")
            model = smpl.BodyModel.load(paths[0])
            found[gender] = model, None if self.regressor is None else smpl.load_h36m_regressor(self.regressor, model)
        return found

    def _sequence(
        self, path: Path, split: str, bodies: Mapping[str, tuple[smpl.BodyModel, np.ndarray | None]]
    ) -> Iterator[Recording]:
        data = load_arrays_pickle(path)
        if not isinstance(data, dict):
            raise ValueError(f"{path} holds no dictionary")
        poses = _array(path, data, "cam_poses", (None, 4, 4))
        camera = _camera(path, _array(path, data, "cam_intrinsics", (3, 3)))
        name = _text(path, _field(path, data, "sequence"))
        people = _field(path, data, "campose_valid")
        if not isinstance(people, list):
            raise ValueError(f"{path}: campose_valid is no list of people")
        for person in range(len(people)):
            valid = np.flatnonzero(_array(path, data, "campose_valid", (len(poses),), person))
            if split == "train":
                valid = valid[valid % stride(FRAME_RATE_HZ, self.most_hz) == 0]
            if not len(valid):
                continue
            joints = _joints(path, data, person, len(poses), valid, bodies)
            view = None
            if split != "train":
                keypoints, confidence = _keypoints(_array(path, data, "poses2d", (len(poses), 3, 18), person)[valid])
                view = View(camera, _camera_from_world(path, poses[valid]), keypoints, confidence)
            rate = FRAME_RATE_HZ / (stride(FRAME_RATE_HZ, self.most_hz) if split == "train" else 1)
            yield Recording(f"{name}/{person}", f"{name}/{person}", split, rate, valid, z_up(joints), view=view)


def _field(path: Path, data: dict[Any, Any], key: str) -> Any:
    if key not in data:
        raise ValueError(f"{path}: key {key!r} is missing; there are {', '.join(map(str, data))[:300]}")
    return data[key]


def _array(
    path: Path, data: dict[Any, Any], key: str, shape: tuple[int | None, ...], person: int | None = None
) -> np.ndarray:
    """Return numbers of a shape, None for any length; of one person, from a list of people's."""
    found, where = _field(path, data, key), key
    if person is not None:
        where = f"{key} of person {person}"
        found = found[person] if isinstance(found, list) and person < len(found) else None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {where} is no array of numbers")
    if len(found.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found.shape, strict=True)):
        expected = str(shape).replace("None", "N")
        raise ValueError(f"{path}: {where} has shape {found.shape}, expected {expected}")
    return found


def _text(path: Path, value: Any) -> str:
    """Return text, which is stored as such or as an array of one."""
    text = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if not isinstance(text, str):
        raise ValueError(f"{path}: a name is no text")
    return text


def _camera(path: Path, matrix: np.ndarray) -> Camera:
    """Return the camera; its images stand or lie as the principal point says, which is in their middle."""
    cx, cy = matrix[0, 2], matrix[1, 2]
    size = (SHORT_SIDE_PX, LONG_SIDE_PX) if cx < cy else (LONG_SIDE_PX, SHORT_SIDE_PX)
    if not all(abs(c - n / 2) <= _OFF_CENTRE * n for c, n in zip((cx, cy), size, strict=True)):
        raise ValueError(f"{path}: cam_intrinsics have their centre at ({cx:g}, {cy:g}), not that of 1920 by 1080")
    try:
        return Camera.from_matrix(matrix.tolist(), *size)
    except ValueError as error:
        raise ValueError(f"{path}: cam_intrinsics: {error}") from error


def _camera_from_world(path: Path, poses: np.ndarray) -> np.ndarray:
    """Return [N, 3, 4] from our z-up world, of ``cam_poses`` [N, 4, 4], which start from a y-up one."""
    turns = poses[:, :3, :3]
    off = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0)
    if not off <= _NOT_A_ROTATION or (np.linalg.det(turns) < 0).any():
        raise ValueError(f"{path}: cam_poses hold what is no rotation")
    return np.concatenate([turns @ z_up(np.eye(3)), poses[:, :3, 3:]], axis=2)


def _joints(
    path: Path, data: dict[Any, Any], person: int, frames: int, valid: np.ndarray,
    bodies: Mapping[str, tuple[smpl.BodyModel, np.ndarray | None]],
) -> np.ndarray:  # fmt: skip
    """Return the joints [N, 17, 3] of H36M17 in the frames ``valid`` [N], metres, y up."""
    poses = _array(path, data, "poses", (frames, 3 * _SMPL_JOINTS), person)[valid]
    if not bodies:
        stored = _array(path, data, "jointPositions", (frames, 3 * _SMPL_JOINTS), person)[valid]
        joints = stored.reshape(-1, _SMPL_JOINTS, 3)
        head = np.eye(3)
        for joint in _TO_THE_HEAD:
            head = head @ smpl.rotations(poses[:, 3 * joint : 3 * joint + 3])
        face = joints[:, None, smpl.JOINTS.index("head")] + np.array([NOSE_M, HEAD_TOP_M]) @ head.transpose(0, 2, 1)
        return smpl.h36m17_from_joints(joints, face)
    betas = _array(path, data, "betas", (None,), person)[:10]
    trans = _array(path, data, "trans", (frames, 3), person)[valid]
    genders = _field(path, data, "genders")
    gender = _text(path, genders[person]) if isinstance(genders, list) and person < len(genders) else ""
    if gender not in bodies:
        raise ValueError(f"{path}: gender of person {person} is {gender!r}, expected m or f")
    model, regressor = bodies[gender]
    try:
        if regressor is None:
            return smpl.h36m17(model, poses, betas, trans)
        return smpl.h36m17_regressed(model, regressor, poses, betas, trans)
    except ValueError as error:
        raise ValueError(f"{path}: person {person}: {error}") from error


def _keypoints(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return [N, 17, 2] px and confidence [N, 17] of H36M17 from OpenPose's [N, 3, 18].

    The pelvis and the thorax are made from others; the spine and the top of the head are not seen.
    """
    pixels, seen = np.zeros((len(stored), len(H36M17), 2)), np.zeros((len(stored), len(H36M17)))
    for joint, (names, share) in _FROM_KEYPOINTS.items():
        columns = [KEYPOINTS.index(n) for n in names]
        at, confidence = H36M17.index(joint), stored[:, 2, columns].min(1)
        pixels[:, at] = np.where(confidence[:, None] > 0, stored[:, :2, columns].mean(2), 0.0)
        seen[:, at] = share * np.clip(confidence, 0, 1)
    return pixels, seen
