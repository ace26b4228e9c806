# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""MPI-INF-3DHP (Mehta et al., "Monocular 3D Human Pose Estimation In The Wild Using Improved CNN Supervision", 2017).

Layout, joints and units: the release's README and ``util/mpii_get_joint_set.m``, and the public code of
nkolot/SPIN, open-mmlab/mmpose and isarandi/posepile, which agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from diffpose_core.data.prepared import Description, Recording
from diffpose_core.data.readers.matlab import load_matlab
from diffpose_core.data.readers.mocap import MOST_HZ, check_named, split_of, stride
from diffpose_core.data.readers.mpi_inf_3dhp_cameras import PlacedCamera, camera_of_test, training_cameras

TEST_SET = "mpi_inf_3dhp_test_set"
JOINTS_28 = (
    "spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top", "left_clavicle", "left_shoulder",
    "left_elbow", "left_wrist", "left_hand", "right_clavicle", "right_shoulder", "right_elbow", "right_wrist",
    "right_hand", "left_hip", "left_knee", "left_ankle", "left_foot", "left_toe", "right_hip", "right_knee",
    "right_ankle", "right_foot", "right_toe",
)  # fmt: skip
"""Of the training set's annotations."""
JOINTS_17 = (
    "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head",
)  # fmt: skip
"""Of the test set's annotations."""
H36M17_NAMES = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "neck", "head",
    "head_top", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
"""H36M17 in the data set's words; its head stands for the nose."""
STUDIO = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8")
TRAINING_CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
"""Those that the field uses (``util/mpii_get_camera_set.m``, "vnect"); the others look down from the ceiling."""
ACTIVITIES = ("Stand-Walk", "Exercise", "Sit", "Crouch-Reach", "Floor", "Sports", "Misc")
"""Of the test set's ``activity_annotation``, which counts from 1."""
SCENES = {"TS1": "GS", "TS2": "GS", "TS3": "noGS", "TS4": "noGS", "TS5": "Outdoor", "TS6": "Outdoor"}
"""Studio with and without green screen, and outdoors, as the field reports them."""
FAST_HZ, SLOW_HZ = 50.0, 25.0
FAST = (("S1", 2), ("S3", 1), ("S3", 2), ("S5", 1), ("S5", 2))
"""Training sequences of 50 Hz (``util/mpii_get_sequence_info.m``); all others have 25 Hz."""
SIDES_SWAPPED = {("S4", 2): range(3759, 5853)}
"""Frames whose left and right are swapped, left out in training (vegesm/pose_refinement, ``mpii_3dhp.py``)."""
_FARTHEST_APART_M = 0.1
_FARTHEST_FROM_KEYPOINTS_PX = 20.0


@dataclass(frozen=True)
class MpiInf3dhp:
    """MPI-INF-3DHP: eight people in a studio with 14 cameras, and six test sequences, two of them outdoors.

    Attributes:
        source: folder that holds S1 to S8 and mpi_inf_3dhp_test_set.
        annotation: metric for people of their own size (annot3), universal for all of one size (univ_annot3).
        subjects: whom to read, of S1 to S8 and TS1 to TS6.
        validation: who of S1 to S8 is for validation.
        most_hz: training poses a second, at most.
    """

    source: Path
    annotation: Literal["metric", "universal"] = "metric"
    subjects: tuple[str, ...] = (*STUDIO, *SCENES)
    validation: tuple[str, ...] = ("S8",)
    most_hz: float = MOST_HZ

    def describe(self) -> Description:
        """Say where the poses come from."""
        return Description(
            f"MPI-INF-3DHP, {self.annotation} annotations",
            "MPI-INF-3DHP: for scientific research only, no commercial use, not to be passed on; see its license.txt",
            "Mehta et al., Monocular 3D Human Pose Estimation In The Wild Using Improved CNN Supervision, 3DV 2017",
            ("Nose",),
        )

    def recordings(self) -> Iterator[Recording]:
        """Read the recordings: poses of a training sequence, all cameras of one for validation, activities of a test.

        Frames count from 0; frame n of a test sequence is the image ``img_{n + 1:06d}.jpg``.

        Raises:
            FileNotFoundError: a file of a subject is missing.
            ValueError: an unknown subject, a file is damaged, or annotations and calibration contradict each other.
        """
        check_named("validation", self.validation, (), STUDIO)
        for who in self.subjects:
            if who in SCENES:
                yield from self._test(who)
            elif who in STUDIO:
                for sequence in (1, 2):
                    yield from self._studio(who, sequence)
            else:
                raise ValueError(f"subject {who!r} is none of S1 to S8 and TS1 to TS6")

    @property
    def _key(self) -> str:
        return {"metric": "annot3", "universal": "univ_annot3"}[self.annotation]

    def _studio(self, who: str, sequence: int) -> Iterator[Recording]:
        folder = self.source / who / f"Seq{sequence}"
        path, name = folder / "annot.mat", f"{who}/Seq{sequence}"
        cameras = training_cameras(folder / "camera.calibration")
        if missing := set(TRAINING_CAMERAS) - cameras.keys():
            raise ValueError(f"{folder / 'camera.calibration'}: cameras {sorted(missing)} are missing")
        joints = _cells(path, self._key, 3)
        worlds = {n: cameras[n].to_world(joints[n] / 1000) for n in TRAINING_CAMERAS}
        if self.annotation == "metric":
            _check_one_world(path, worlds)
        split = split_of(who, self.validation, ())
        rate = FAST_HZ if (who, sequence) in FAST else SLOW_HZ
        frames = np.arange(len(worlds[0]))
        if split == "train":
            step = stride(rate, self.most_hz)
            kept = frames[~np.isin(frames, SIDES_SWAPPED.get((who, sequence), ()))]
            kept = kept[kept % step == 0]
            yield Recording(name, who, split, rate / step, kept, worlds[0][kept])
            return
        keypoints = _cells(path, "annot2", 2)
        if len(keypoints) != len(joints) or len(keypoints[0]) != len(frames):
            raise ValueError(f"{path}: {self._key} and annot2 do not have as many cameras and frames")
        for n in TRAINING_CAMERAS:
            if self.annotation == "metric":
                _check_keypoints(path, cameras[n], joints[n] / 1000, keypoints[n])
            view = cameras[n].view(keypoints[n])
            yield Recording(f"{name}/{n}", who, split, rate, frames, worlds[n], view=view)

    def _test(self, who: str) -> Iterator[Recording]:
        folder = self.source / TEST_SET
        path = folder / who / "annot_data.mat"
        which = "TS1-4" if SCENES[who] != "Outdoor" else "TS5-6"
        placed = camera_of_test(folder / "test_util" / "camera_calibration", which)
        joints, keypoints = _test_joints(path, self._key, 3), _test_joints(path, "annot2", 2)
        if (count := len(joints)) != len(keypoints):
            raise ValueError(f"{path}: there are 3D joints of {count} frames and 2D joints of {len(keypoints)}")
        valid, activity = (_column(path, key, count) for key in ("valid_frame", "activity_annotation"))
        if self.annotation == "metric":
            _check_keypoints(path, placed, joints[valid != 0] / 1000, keypoints[valid != 0])
        if unknown := set(activity[valid != 0]) - set(range(1, len(ACTIVITIES) + 1)):
            raise ValueError(f"{path}: activity_annotation holds {min(unknown):g}, expected 1 to {len(ACTIVITIES)}")
        for number, action in enumerate(ACTIVITIES, 1):
            frames = np.flatnonzero((valid != 0) & (activity == number))
            if len(frames):
                yield Recording(
                    f"{who}/{action}", who, "test", SLOW_HZ, frames, placed.to_world(joints[frames] / 1000),
                    action, SCENES[who], placed.view(keypoints[frames]),
                )  # fmt: skip


def _cells(path: Path, key: str, size: int) -> list[np.ndarray]:
    """Read a training annotation: for every camera [N, 17, size] in the order of H36M17."""
    cells = load_matlab(path, key)
    if not isinstance(cells, list) or len(cells) <= max(TRAINING_CAMERAS):
        raise ValueError(f"{path}: {key} is not a cell of 14 cameras")
    order, found = [JOINTS_28.index(n) for n in H36M17_NAMES], []
    for n, cell in enumerate(cells):
        if cell.ndim != 2 or cell.shape != (len(cells[0]), len(JOINTS_28) * size):
            raise ValueError(f"{path}: {key} of camera {n} is {cell.shape}, expected (N, {len(JOINTS_28) * size})")
        found.append(cell.reshape(-1, len(JOINTS_28), size)[:, order])
    return found


def _test_joints(path: Path, key: str, size: int) -> np.ndarray:
    """Read a test annotation, in MATLAB [size, 17, 1, N]: [N, 17, size] in the order of H36M17."""
    array = load_matlab(path, key)
    if isinstance(array, list) or array.ndim != 4 or array.shape[:3] != (size, len(JOINTS_17), 1):
        shape = "a cell" if isinstance(array, list) else array.shape
        raise ValueError(f"{path}: {key} is {shape}, expected ({size}, {len(JOINTS_17)}, 1, N)")
    return array[:, [JOINTS_17.index(n) for n in H36M17_NAMES], 0].transpose(2, 1, 0)


def _column(path: Path, key: str, count: int) -> np.ndarray:
    column = load_matlab(path, key)
    if isinstance(column, list) or column.size != count:
        raise ValueError(f"{path}: {key} does not hold one number for each of {count} frames")
    return column.ravel()


def _check_one_world(path: Path, worlds: dict[int, np.ndarray]) -> None:
    """See that all cameras put the person at the same place, or the calibration is that of another sequence."""
    first = worlds[TRAINING_CAMERAS[0]]
    for n, other in worlds.items():
        apart = float(np.median(np.linalg.norm(other - first, axis=-1))) if len(first) else 0.0
        if apart > _FARTHEST_APART_M:
            raise ValueError(f"{path}: cameras {TRAINING_CAMERAS[0]} and {n} see the person {apart:.3g} m apart")


def _check_keypoints(path: Path, placed: PlacedCamera, joints_m: np.ndarray, keypoints: np.ndarray) -> None:
    """See that joints [N, 17, 3] of the optical frame lie on the keypoints [N, 17, 2]; ``ValueError`` says how far not.

    Those of TS2 are some 4 px away throughout; all others coincide.
    """
    projected = placed.camera.project(torch.from_numpy(np.ascontiguousarray(joints_m, np.float64))).numpy()
    away = float(np.median(np.linalg.norm(projected - keypoints, axis=-1))) if len(joints_m) else 0.0
    if away > _FARTHEST_FROM_KEYPOINTS_PX:
        raise ValueError(f"{path}: the 3D joints are {away:.3g} px from the 2D joints; is the calibration another's?")
