# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Persons as detections of ``vision_msgs`` (4.0 or newer: Humble, Jazzy and later have the same fields)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from diffpose.msg import Heatmaps
from diffpose_core import PosePosterior
from diffpose_core.body import JOINT_RADIUS_M
from diffpose_core.kinematics import body_rotation, facing_known
from diffpose_ros.markers import quaternion

CLASS_ID = "person"
ANGLE_FLOOR_RAD = 0.01
"""Standard deviation added to every orientation: its covariance is positive definite for any number of hypotheses."""


def detections2d(source: Heatmaps, ids: Sequence[str]) -> Any:
    """Return the ``vision_msgs/Detection2DArray`` of the detector's boxes, px of the image as in the heatmaps."""
    from vision_msgs.msg import Detection2D, Detection2DArray

    result = Detection2DArray(header=source.header)
    for person, body_id in zip(source.persons, ids, strict=True):
        detection = Detection2D(header=source.header, id=body_id, results=[_hypothesis(person.score)])
        x_min, y_min, x_max, y_max = (float(v) for v in person.box)
        box = detection.bbox
        box.center.position.x, box.center.position.y = (x_min + x_max) / 2, (y_min + y_max) / 2
        box.size_x, box.size_y = x_max - x_min, y_max - y_min
        result.detections.append(detection)
    return result


def detections3d(posterior: PosePosterior, header: Header, ids: Sequence[str], scores: Sequence[float]) -> Any:
    """Return the ``vision_msgs/Detection3DArray``: a box around each mean body, and its pose with covariance."""
    from vision_msgs.msg import Detection3D, Detection3DArray

    lows, highs = boxes(posterior)
    positions, rotations, covariances = body_poses(posterior)
    result = Detection3DArray(header=header)
    for p, (body_id, score) in enumerate(zip(ids, scores, strict=True)):
        detection = Detection3D(header=header, id=body_id)
        _fill(detection.bbox.center.position, (lows[p] + highs[p]) / 2)
        _fill(detection.bbox.size, highs[p] - lows[p])
        hypothesis = _hypothesis(score)
        pose = hypothesis.pose.pose
        _fill(pose.position, positions[p])
        q = pose.orientation
        q.x, q.y, q.z, q.w = quaternion(rotations[p])
        hypothesis.pose.covariance = covariances[p].reshape(-1)
        detection.results.append(hypothesis)
        result.detections.append(detection)
    return result


def boxes(posterior: PosePosterior) -> tuple[np.ndarray, np.ndarray]:
    """Return lowest and highest corner [P, 3], metres, along the axes of the frame: mean joints and flesh."""
    mean, radius = posterior.mean.double().numpy(), JOINT_RADIUS_M.double().numpy()[:, None]
    return (mean - radius).min(1), (mean + radius).max(1)


def body_poses(posterior: PosePosterior) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pelvis of the mean [P, 3] metres, the body's rotation [P, 3, 3] and their covariance [P, 6, 6].

    Order of the covariance as in ``geometry_msgs/PoseWithCovariance``: x, y, z, then turns about fixed x, y, z axes.
    That of the position is the pelvis's; that of the rotation is over the hypotheses; between them it is left at 0.
    Where nothing tells where the body faces, the rotation is none and its variance pi^2.
    """
    mean, known = posterior.mean, facing_known(posterior.mean).numpy()
    rotations = body_rotation(mean.double()).numpy()
    rotations[~known] = np.eye(3)
    covariances = np.zeros((len(mean), 6, 6))
    covariances[:, :3, :3] = posterior.covariance[:, 0].numpy()
    each, weights = body_rotation(posterior.joints.double()).numpy(), posterior.weights.double().numpy()
    # Of a hypothesis that faces nowhere, such as the zeros that pad a message, there is no rotation.
    faces = facing_known(posterior.joints).numpy() & (weights > 0)
    for p in range(len(mean)):
        if known[p] and faces[p].any():
            off = Rotation.from_matrix(each[p, faces[p]] @ rotations[p].T).as_rotvec()
            share = weights[p, faces[p]] / weights[p, faces[p]].sum()
            covariances[p, 3:, 3:] = np.einsum("s,sa,sb->ab", share, off, off) + ANGLE_FLOOR_RAD**2 * np.eye(3)
        else:
            covariances[p, 3:, 3:] = math.pi**2 * np.eye(3)
    return mean[:, 0].double().numpy(), rotations, covariances


def _hypothesis(score: float) -> Any:
    from vision_msgs.msg import ObjectHypothesisWithPose

    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = CLASS_ID, float(score)
    return result


def _fill(target: Any, xyz: np.ndarray) -> None:
    target.x, target.y, target.z = (float(v) for v in xyz)
