# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Observation model: how keypoints of a detector's skeleton arise from the 17 inferred joints.

A keypoint is a linear combination of inferred joints plus a Gaussian offset:
the two skeletons define "the hip" or "the ear" differently, and that
difference costs certainty. The offsets' standard deviations are judgements
from anatomy, not fits: a head is about 15 cm wide, and no joint says which way
it faces, so nose and eyes swing about its axis by most of their distance from
it while the ears stay near.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diffpose_core.skeleton import COCO17, H36M17, Skeleton

OBSERVED, INFERRED, MISSING = 0, 1, 2
VISIBLE = 0.5
"""Visibility from which a keypoint counts as seen for the status of a joint."""

# COCO keypoint: (weights over H36M17 joints, offset standard deviation in metres).
# Weights of a keypoint sum to 1, so that a translation of the body moves it likewise.
_COCO_FROM_H36M: dict[str, tuple[dict[str, float], float]] = {
    "nose": ({"Nose": 1.0}, 0.08),
    "left_eye": ({"Nose": 0.8, "HeadTop": 0.2, "LShoulder": 0.09, "RShoulder": -0.09}, 0.07),
    "right_eye": ({"Nose": 0.8, "HeadTop": 0.2, "LShoulder": -0.09, "RShoulder": 0.09}, 0.07),
    "left_ear": ({"Nose": 0.7, "HeadTop": 0.3, "LShoulder": 0.2, "RShoulder": -0.2}, 0.04),
    "right_ear": ({"Nose": 0.7, "HeadTop": 0.3, "LShoulder": -0.2, "RShoulder": 0.2}, 0.04),
    "left_shoulder": ({"LShoulder": 1.0}, 0.03),
    "right_shoulder": ({"RShoulder": 1.0}, 0.03),
    "left_elbow": ({"LElbow": 1.0}, 0.02),
    "right_elbow": ({"RElbow": 1.0}, 0.02),
    "left_wrist": ({"LWrist": 1.0}, 0.02),
    "right_wrist": ({"RWrist": 1.0}, 0.02),
    "left_hip": ({"LHip": 1.0}, 0.04),
    "right_hip": ({"RHip": 1.0}, 0.04),
    "left_knee": ({"LKnee": 1.0}, 0.02),
    "right_knee": ({"RKnee": 1.0}, 0.02),
    "left_ankle": ({"LAnkle": 1.0}, 0.025),
    "right_ankle": ({"RAnkle": 1.0}, 0.025),
}
# A joint counts as observed when all keypoints of its entry are seen. The top of the head has none in COCO.
_SUPPORT: dict[str, tuple[str, ...]] = {
    "Pelvis": ("left_hip", "right_hip"),
    "Spine": ("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
    "Thorax": ("left_shoulder", "right_shoulder"),
    "Nose": ("nose",),
} | {
    s[0].upper() + j: (f"{s}_{j.lower()}",)
    for s in ("left", "right")
    for j in ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist")
}


@dataclass(frozen=True)
class ObservationModel:
    """Keypoints = weights @ joints + offsets.

    Attributes:
        weights: [K, 17].
        offset_sd_m: [K] metres, per axis.
        support: [17, K]; True where joint i needs keypoint k to count as observed.
    """

    weights: Float[Tensor, "K 17"]
    offset_sd_m: Float[Tensor, "K"]
    support: Bool[Tensor, "17 K"]

    @classmethod
    def of(cls, skeleton: Skeleton) -> ObservationModel:
        """Return the model of a detector skeleton (COCO17 or H36M17)."""
        if skeleton == H36M17:
            return cls(torch.eye(len(H36M17)), torch.zeros(len(H36M17)), torch.eye(len(H36M17)).bool())
        if skeleton != COCO17:
            raise ValueError(f"no observation model for skeleton {skeleton.name!r}; use COCO17 or H36M17")
        weights, sd = torch.zeros(len(COCO17), len(H36M17)), torch.zeros(len(COCO17))
        support = torch.zeros(len(H36M17), len(COCO17), dtype=torch.bool)
        for k, name in enumerate(COCO17.joints):
            mixture, sd[k] = _COCO_FROM_H36M[name]
            for joint, weight in mixture.items():
                weights[k, H36M17.index(joint)] = weight
        for joint, keypoints in _SUPPORT.items():
            for name in keypoints:
                support[H36M17.index(joint), COCO17.index(name)] = True
        return cls(weights, sd, support)

    def status(self, visibility: Float[Tensor, "P K"]) -> Int[Tensor, "P 17"]:
        """OBSERVED, INFERRED or MISSING for every joint; MISSING when under two keypoints are known at all."""
        seen = visibility >= VISIBLE
        support = self.support.to(visibility.device)
        enough = (seen[:, None] | ~support).all(-1) & support.any(-1)
        status = torch.where(enough, OBSERVED, INFERRED)
        missing = (visibility > 0).sum(-1) < 2
        return torch.where(missing[:, None], MISSING, status)
