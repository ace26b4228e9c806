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

JOINT_RADIUS_M = torch.stack(
    [BONE_RADIUS_M[[joint in bone for bone in BONES]].max() for joint in range(len(H36M17))]
)  # fmt: skip
"""[17] how far before a joint's centre its surface is expected, metres: the thickest capsule that ends there."""

ANKLE_M = 0.08
"""Height of an ankle joint above the ground on which its foot stands, metres."""
