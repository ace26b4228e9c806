# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Named protocols: how a data set is scored, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diffpose_core.data.readers.h36m import S9_DRIFT
from diffpose_core.skeleton import H36M17

ALL = H36M17.joints
LIMBS_AND_HEAD = (
    "RAnkle", "RKnee", "RHip", "LHip", "LKnee", "LAnkle", "RWrist", "RElbow", "RShoulder", "LShoulder", "LElbow",
    "LWrist", "Thorax", "HeadTop",
)  # fmt: skip
"""The 14 joints of the Leeds Sports Pose data set; its neck is H36M17's Thorax."""


@dataclass(frozen=True)
class Protocol:
    """How a data set is scored.

    Attributes:
        title: what the tables call it.
        defined_in: who scores so.
        joints: those whose errors count in MPJPE and PA-MPJPE.
        pck_joints: those that count in PCK and AUC.
        root: joints whose mean is moved to the origin before errors are taken.
        stride: frames taken, those whose number is a multiple of it; with synthetic views every n-th pose of each
            recording, since motion is prepared already thinned and its numbers have steps.
        exclude: beginnings of names of recordings that are left out.
        by_action: whether figures are means over actions of the means over frames, else over frames.
        views: ``recorded`` cameras, or ``synthetic`` ones for motion without any.
        table: whose published rows are shown beside ours.
        listed: whether only frames of a list are scored, which must then be given.
        image: where a frame's image lies below the folder of images
            (:func:`diffpose_core.evaluation.inputs.image_path`); empty where the data set is published as videos.

    Raises:
        ValueError: a joint is unknown, the stride is below 1 or the kind of views is unknown.
    """

    title: str
    defined_in: str
    joints: tuple[str, ...] = ALL
    pck_joints: tuple[str, ...] = LIMBS_AND_HEAD
    root: tuple[str, ...] = ("Pelvis",)
    stride: int = 1
    exclude: tuple[str, ...] = ()
    by_action: bool = False
    views: str = "recorded"
    table: str = ""
    listed: bool = False
    image: str = ""

    def __post_init__(self) -> None:
        for joint in (*self.joints, *self.pck_joints, *self.root):
            H36M17.index(joint)
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}")
        if self.views not in ("recorded", "synthetic"):
            raise ValueError(f"views must be 'recorded' or 'synthetic', got {self.views!r}")

    @property
    def moving(self) -> tuple[str, ...]:
        """The joints that say something once the root has been moved: all but a root that is one joint."""
        return tuple(joint for joint in self.joints if (joint,) != self.root)

    def takes(self, recording: str) -> bool:
        """Whether a recording of this name is scored."""
        return not recording.startswith(self.exclude) if self.exclude else True


_LIFTING = Protocol(
    "Human3.6M, every 64th frame", "Wehrbein et al. (2107.13788), DiffPose (2211.16487)", stride=64, by_action=True,
    table="h36m",
)  # fmt: skip
_MPI = Protocol(
    "MPI-INF-3DHP", "the data set's own evaluation code", table="3dhp", image="{0}/imageSequence/img_{number:06d}.jpg"
)
_PW3D = Protocol(
    "3DPW, 14 joints", "SPIN (1909.12828)", joints=LIMBS_AND_HEAD, table="3dpw-14",
    image="imageFiles/{0}/image_{frame:05d}.jpg",
)  # fmt: skip
PROTOCOLS: dict[str, Protocol] = {
    "h36m-64": _LIFTING,
    "h36m-64-clean": replace(
        _LIFTING, title="Human3.6M, every 64th frame, without drifted recordings", exclude=S9_DRIFT,
        defined_in="as h36m-64, less what Iskakov et al. (1905.05754) leave out",
    ),
    "h36m-640": replace(
        _LIFTING, title="Human3.6M, every 640th frame", stride=640, defined_in="ZeDO (2307.03833), GFPose (2212.08641)"
    ),
    "h36m-5": replace(
        _LIFTING, title="Human3.6M, every 5th frame, 14 joints", stride=5, joints=LIMBS_AND_HEAD, by_action=False,
        defined_in="SPIN (1909.12828)", table="",
    ),
    "h36ma": replace(
        _LIFTING, title="Human3.6M, ambiguous frames", stride=1, by_action=False, table="h36ma", listed=True,
        defined_in="Wehrbein et al. (2107.13788); give their frames with --frame-list",
    ),
    "3dhp": _MPI,
    "3dhp-17": replace(
        _MPI, title="MPI-INF-3DHP, PCK of 17 joints", pck_joints=ALL, by_action=True,
        defined_in="ZeDO (2307.03833), which takes every 3rd frame",
    ),
    "3dpw-14": _PW3D,
    "3dpw-17": replace(_PW3D, title="3DPW, 17 joints", joints=ALL, defined_in="ZeDO (2307.03833)", table="3dpw-17"),
    "mocap": Protocol(
        "Motion capture, synthetic cameras", "this project", stride=30, views="synthetic"
    ),
}  # fmt: skip
"""By the names that ``training/evaluate.py`` takes.

2307.03833 and 2212.08641 allow reflections in PA-MPJPE, and count every 640th image through all videos together; here
reflections are not allowed and the frames of each video are counted.
"""
