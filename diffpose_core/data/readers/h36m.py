# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M (Ionescu et al., TPAMI 2014) in the three layouts that researchers have, and the facts of its protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffpose_core.data.prepared import Description, Recording, View
from diffpose_core.data.readers.h36m_cameras import Cameras, load_cameras
from diffpose_core.data.readers.h36m_files import CDF, H5
from diffpose_core.data.readers.h36m_frames import read_frame_list as read_frame_list
from diffpose_core.data.readers.h36m_layout import CAMERAS, FRAME_RATE_HZ, SUBJECTS, Sequences, action_of
from diffpose_core.data.readers.h36m_videopose3d import LACKING, find_npz, load_keypoints, trim
from diffpose_core.data.readers.mocap import split_of, stride

TEST_SUBJECTS = ("S9", "S11")
S9_DRIFT = ("S9/Greeting/", "S9/SittingDown 1/", "S9/Waiting 1/")
"""Beginnings of the names of recordings whose poses are displaced in the world, so that they miss the images.

Learnable-triangulation-pytorch (Iskakov et al., ICCV 2019; ``mvn/datasets/human36m.py``) leaves them out where absolute
positions count, MotionBERT and its followers everywhere, VideoPose3D nowhere. They are called Greeting-2, SittingDown-2
and Waiting-1 there, or s_09_act_05_subact_02 and so on; ``metadata.xml`` says what files those are.
"""
NO_VIDEO = ("S11/Directions/54138969",)
"""A recording whose video is damaged or missing; it is left out. VideoPose3D leaves out all of ``S11/Directions``."""
_CAMERA_FILES = ("metadata.xml", "cameras.h5", "h36m_dataset.py", "../common/h36m_dataset.py")
_BEHIND = "the person is behind the camera; do the camera file and the poses belong together?"


@dataclass(frozen=True)
class H36M:
    """Human3.6M: the published CDF files, VideoPose3D's data_3d_h36m.npz, or 3d-pose-baseline's HDF5 files.

    Attributes:
        source: folder that holds S1 to S11, or the file data_3d_h36m.npz.
        cameras: metadata.xml, cameras.h5 or VideoPose3D's h36m_dataset.py; looked for beside the poses if left out.
        keypoints: 2D keypoints of VideoPose3D, e.g. data_2d_h36m_cpn_ft_h36m_dbb.npz. Its files lack S11's Directions,
            which is then left out.
        subjects: whose recordings are read.
        validation: subjects for validation; none of them for training on S1, S5, S6, S7 and S8.
        most_hz: training poses are thinned to at most so many a second.
    """

    source: Path
    cameras: Path | None = None
    keypoints: Path | None = None
    subjects: tuple[str, ...] = SUBJECTS
    validation: tuple[str, ...] = ("S8",)
    most_hz: float = 30.0

    def describe(self) -> Description:
        """Say what it is; no joint is made from others."""
        return Description(
            "Human3.6M",
            "Human3.6M licence: for academic use only, after registration, not to be passed on "
            "(vision.imar.ro/human3.6m/eula.php)",
            "Ionescu, Papava, Olaru, Sminchisescu: Human3.6M: Large Scale Datasets and Predictive Methods for 3D Human "
            "Sensing in Natural Environments. TPAMI 36(7), 2014; Ionescu, Li, Sminchisescu: Latent Structured Models "
            "for Human Pose Estimation. ICCV 2011",
        )

    def recordings(self) -> Iterator[Recording]:
        """Read the recordings: training without views, the others once for each camera and with every frame.

        Raises:
            FileNotFoundError: the source, a subject, a sequence or the camera file is missing.
            ValueError: a file is damaged or of another version, an option is unusable, or cameras and poses do not fit.
        """
        self._check_options()
        step = stride(FRAME_RATE_HZ, self.most_hz)
        splits = {s: split_of(s, self.validation, TEST_SUBJECTS) for s in self.subjects}
        viewed = [s for s, split in splits.items() if split != "train"]
        sequences = self._sequences()
        cameras = load_cameras(self._camera_file(), viewed) if viewed else {}
        keypoints = load_keypoints(self.keypoints, viewed) if self.keypoints else None
        for (subject, sequence), read in sequences.items():
            if keypoints is not None and f"{subject}/{sequence}" == LACKING:
                continue
            joints = read()
            if splits[subject] != "train":
                yield from self._views(subject, sequence, splits[subject], joints, cameras, keypoints)
                continue
            yield Recording(
                name=f"{subject}/{sequence}", subject=subject, split="train", frame_rate_hz=FRAME_RATE_HZ / step,
                frames=np.arange(len(joints))[::step], joints=joints[::step], action=action_of(sequence),
            )  # fmt: skip

    def _check_options(self) -> None:
        for name, given, allowed in (
            ("subjects", self.subjects, SUBJECTS),
            ("validation", self.validation, tuple(s for s in SUBJECTS if s not in TEST_SUBJECTS)),
        ):
            if not set(given) <= set(allowed) or len(set(given)) != len(given):
                raise ValueError(f"{name} must be different ones of {' '.join(allowed)}, got {' '.join(given)}")

    def _sequences(self) -> Sequences:
        """Return the sequences of the layout that is there, one subject after the other, by name."""
        if self.source.suffix == ".npz":
            found = find_npz(self.source, self.subjects)
        elif not self.source.is_dir():
            raise FileNotFoundError(f"Human3.6M: no such folder, and no .npz: {self.source}")
        else:
            layouts = [x for x in (CDF, H5) if any(x.folder(self.source, s) for s in self.subjects)]
            if not layouts:
                packed = " Unpack the archives first." if list(self.source.glob("*.tgz")) else ""
                looked = ", ".join(x.folders[0].format(s=self.subjects[0]) for x in (CDF, H5)) if self.subjects else ""
                raise FileNotFoundError(f"{self.source}: no poses; looked for the folders {looked}, and more.{packed}")
            found = layouts[0].find(self.source, self.subjects)
        return dict(sorted(found.items(), key=lambda item: (self.subjects.index(item[0][0]), item[0][1])))

    def _camera_file(self) -> Path:
        if self.cameras:
            return self.cameras
        folder = self.source if self.source.is_dir() else self.source.parent
        for name in _CAMERA_FILES:
            if (path := folder / name).is_file():
                return path
        raise FileNotFoundError(f"{folder}: no camera file, one of {', '.join(_CAMERA_FILES)}; name it with --cameras")

    def _views(
        self, subject: str, sequence: str, split: str, joints: np.ndarray, cameras: Cameras,
        keypoints: Mapping[tuple[str, str, str], np.ndarray] | None,
    ) -> Iterator[Recording]:  # fmt: skip
        for name in CAMERAS:
            where = f"{subject}/{sequence}/{name}"
            if where in NO_VIDEO:
                continue
            camera, camera_from_world = cameras[subject, name]
            if (joints @ camera_from_world[2, :3] + camera_from_world[2, 3] <= 0).any():
                raise ValueError(f"{where}: {_BEHIND}")
            points = None
            if keypoints is not None:
                points = trim(keypoints[subject, sequence, name], len(joints), where)
            yield Recording(
                name=where, subject=subject, split=split, frame_rate_hz=FRAME_RATE_HZ, frames=np.arange(len(joints)),
                joints=joints, action=action_of(sequence),
                view=View(camera, np.broadcast_to(camera_from_world, (len(joints), 3, 4)), points),
            )  # fmt: skip
