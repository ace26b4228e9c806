# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How thick bodies are: the radii of a body of capsules around the bones, and of its surface about the joints."""

from __future__ import annotations

import torch

from diffpose_core.skeleton import H36M17

BONES: tuple[tuple[int, int], ...] = tuple(
    (parent, child) for child, parent in enumerate(H36M17.parents) if parent >= 0
)
"""(parent, child) in the order of the children, as in :func:`diffpose_core.metrics.bone_lengths`."""

# Judgement, near half the depth of adults' trunks and girth / (2 pi) of their limbs, in light clothes.
_RADIUS_M = {
    "RHip": 0.095, "RKnee": 0.075, "RAnkle": 0.05, "LHip": 0.095, "LKnee": 0.075, "LAnkle": 0.05,
    "Spine": 0.115, "Thorax": 0.12, "Nose": 0.06, "HeadTop": 0.085,
    "LShoulder": 0.06, "LElbow": 0.047, "LWrist": 0.035, "RShoulder": 0.06, "RElbow": 0.047, "RWrist": 0.035,
}  # fmt: skip

BONE_RADIUS_M = torch.tensor([_RADIUS_M[H36M17.joints[child]] for _, child in BONES])
"""[16] radius of the capsule around each bone of ``BONES``, metres."""

_OFFSET_M = {
    "Pelvis": 0.14, "RHip": 0.12, "RKnee": 0.08, "RAnkle": 0.055, "LHip": 0.12, "LKnee": 0.08, "LAnkle": 0.055,
    "Spine": 0.125, "Thorax": 0.135, "Nose": 0.095, "HeadTop": 0.09, "LShoulder": 0.08, "LElbow": 0.055,
    "LWrist": 0.05, "RShoulder": 0.08, "RElbow": 0.055, "RWrist": 0.05,
}  # fmt: skip
JOINT_RADIUS_M = torch.tensor([_OFFSET_M[joint] for joint in H36M17.joints])
"""[17] how far before a joint's centre, along the view, the surface that hides it lies, metres: of the capsules above,
the mean over motion-captured poses of several people before random cameras, occluders further than 0.25 m left out."""

ANKLE_M = 0.08
"""Height of an ankle joint above the ground on which its foot stands, metres."""

MAX_BODY_M = 5.0
"""No two joints of a person lie farther apart: other units than metres are refused."""
