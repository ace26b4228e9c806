# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one table of skeletons: joint names, order, parents, sides.

Two skeletons exist. ``H36M17`` is what the library infers: the 17 joints of
Human3.6M in the order of Martinez et al. (2017). ``COCO17`` is what a
COCO-trained keypoint detector such as YOLO-pose sees.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """Names, tree and sides of a set of joints.

    Attributes:
        name: identifier used in messages and checkpoints.
        joints: joint names, in storage order.
        parents: index of each joint's parent; -1 for a root. A joint may
            precede its parent in the order.
        mirror: index of each joint's left/right counterpart (itself when central).
        edges: pairs (a, b) to draw as bones.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Return the index of a joint by name; ``ValueError`` names an unknown one."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ValueError(f"{self.name} has no joint {joint!r}; it has {', '.join(self.joints)}") from None

    def side(self, joint: int) -> str:
        """Return ``"left"``, ``"right"`` or ``"center"`` (the person's own left and right)."""
        name = self.joints[joint].lower()
        if self.mirror[joint] == joint:
            return "center"
        return "left" if name.startswith("l") else "right"


def _build(
    name: str, joints: tuple[str, ...], parents: dict[str, str], extra_edges: tuple[tuple[str, str], ...]
) -> Skeleton:
    index = {joint: i for i, joint in enumerate(joints)}

    def counterpart(joint: str) -> str:
        for a, b in (("left_", "right_"), ("right_", "left_")):
            if joint.startswith(a):
                return b + joint[len(a) :]
        for a, b in (("L", "R"), ("R", "L")):
            if joint[0] == a and b + joint[1:] in index:
                return b + joint[1:]
        return joint

    parent_ids = tuple(index[parents[j]] if j in parents else -1 for j in joints)
    bones = tuple((p, i) for i, p in enumerate(parent_ids) if p >= 0)
    return Skeleton(
        name=name,
        joints=joints,
        parents=parent_ids,
        mirror=tuple(index[counterpart(j)] for j in joints),
        edges=bones + tuple((index[a], index[b]) for a, b in extra_edges),
    )


H36M17 = _build(
    "H36M17",
    (
        "Pelvis", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "Spine", "Thorax", "Nose", "HeadTop",
        "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
    ),
    {
        "RHip": "Pelvis", "RKnee": "RHip", "RAnkle": "RKnee",
        "LHip": "Pelvis", "LKnee": "LHip", "LAnkle": "LKnee",
        "Spine": "Pelvis", "Thorax": "Spine", "Nose": "Thorax", "HeadTop": "Nose",
        "LShoulder": "Thorax", "LElbow": "LShoulder", "LWrist": "LElbow",
        "RShoulder": "Thorax", "RElbow": "RShoulder", "RWrist": "RElbow",
    },
    (),
)  # fmt: skip
"""The 17 joints of Human3.6M: what the library infers. Root joint: Pelvis (index 0)."""

COCO17 = _build(
    "COCO17",
    (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    {
        "left_eye": "nose", "right_eye": "nose", "left_ear": "left_eye", "right_ear": "right_eye",
        "left_elbow": "left_shoulder", "right_elbow": "right_shoulder",
        "left_wrist": "left_elbow", "right_wrist": "right_elbow",
        "left_knee": "left_hip", "right_knee": "right_hip",
        "left_ankle": "left_knee", "right_ankle": "right_knee",
    },
    (
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ),
)  # fmt: skip
"""The 17 keypoints of COCO: what YOLO-pose detects."""

SKELETONS: dict[str, Skeleton] = {s.name: s for s in (H36M17, COCO17)}
