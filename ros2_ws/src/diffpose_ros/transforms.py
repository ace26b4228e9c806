# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Mean skeletons as TF frames, named and oriented as REP 155 has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from diffpose_core import PosePosterior
from diffpose_core.kinematics import body_rotation, facing_known
from diffpose_core.skeleton import H36M17
from diffpose_ros.markers import quaternion

FRAMES = dict(
    zip(
        H36M17.joints,
        (
            "body", "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "spine", "torso", "nose", "head_top",
            "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist",
        ),
        strict=True,
    )
)  # fmt: skip
"""First part of the frame of each joint; ``_<id>`` follows. Links of REP 155's human model have their names from it;
spine, nose and head_top are not in it (its ``head`` is a pose of the head, which nobody estimates here)."""


def skeleton_transforms(
    posterior: PosePosterior, header: Header, ids: Sequence[str], joints: bool
) -> list[TransformStamped]:
    """Return the frames of the mean skeletons; of those of whom nothing tells where they face there are none.

    ``body_<id>`` lies between the hips, x forward, y left, z toward the head; its parent is the frame of the header.
    With ``joints``, the other joints are its children: at the mean's positions, with the axes of the body.
    """
    means, known = posterior.mean.double(), facing_known(posterior.mean).tolist()
    rotations = body_rotation(means)
    result = []
    for p, body_id in enumerate(ids):
        if not known[p]:
            continue
        mean, rotation = means[p].numpy(), rotations[p].numpy()
        body = f"{FRAMES['Pelvis']}_{body_id}"
        result.append(_transform(header, body, mean[0], quaternion(rotation)))
        if joints:
            inside = Header(stamp=header.stamp, frame_id=body)
            for name, offset in zip(H36M17.joints[1:], (mean[1:] - mean[0]) @ rotation, strict=True):
                result.append(_transform(inside, f"{FRAMES[name]}_{body_id}", offset, (0.0, 0.0, 0.0, 1.0)))
    return result


def _transform(
    header: Header, child: str, translation_m: np.ndarray, rotation: tuple[float, float, float, float]
) -> TransformStamped:
    message = TransformStamped(header=header, child_frame_id=child)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(v) for v in translation_m)
    q.x, q.y, q.z, q.w = rotation
    return message
