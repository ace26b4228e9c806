# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Bodies as REP 155 ("ROS for human-robot interaction") has them, in the messages of ``hri_msgs``.

The numbers are computed without ``hri_msgs``; only what makes its messages imports it. Order of the points and meaning
of the fields: ``Skeleton2D``, ``NormalizedRegionOfInterest2D`` and ``IdsList`` of hri_msgs 2.3.2, the same since 2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, PersonHeatmaps
from diffpose_core.kinematics import ANGLES
from diffpose_core.skeleton import COCO17
from diffpose_ros.conversions import check_ids

POINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "left_eye", "right_eye", "left_ear", "right_ear",
)  # fmt: skip
"""Order of the points of a Skeleton2D, as the constants of its definition say."""
_NECK = POINTS.index("neck")
_SOURCES = [COCO17.index(name) for name in POINTS if name != "neck"]
_SHOULDERS = [COCO17.index("left_shoulder"), COCO17.index("right_shoulder")]


def body_prefix(namespace: str) -> str:
    """Return what bodies' ids begin with: a letter, as topics need one, and the camera's namespace, if it has one."""
    return "_".join([*namespace.strip("/").split("/"), "p"]).lstrip("_")


def body_ids(prefix: str, persons: Sequence[Any]) -> list[str]:
    """Return the names of the bodies of a message's persons.

    Raises:
        ValueError: an id is negative, or two are the same.
    """
    numbers = [person.id for person in persons]
    for p, number in enumerate(numbers):
        if number < 0:
            raise ValueError(f"persons[{p}].id must not be negative, got {number}")
    check_ids(persons)
    return [f"{prefix}{number}" for number in numbers]


def check_points(source: Heatmaps) -> None:
    """Check what of a detector's message :func:`skeleton2d`, :func:`region` and detections in the image are made of.

    Raises:
        ValueError: naming the field that is wrong.
    """
    info = source.camera_info
    if not (info.width and info.height):
        raise ValueError(f"camera_info width and height must be positive, got {info.width} x {info.height}")
    if source.skeleton != COCO17.name:
        raise ValueError(f"skeleton must be {COCO17.name}, got {source.skeleton!r}")
    for p, person in enumerate(source.persons):
        for name, size in (("keypoints", 2 * len(COCO17)), ("visibility", len(COCO17)), ("box", 4)):
            values = np.asarray(getattr(person, name))
            if len(values) != size:
                raise ValueError(f"persons[{p}].{name} must hold {size} values, got {len(values)}")
            if not np.isfinite(values).all():
                raise ValueError(f"persons[{p}].{name} holds a value that is not finite")


def normalised(points_px: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 2] in 0..1 of the image, and which [N] of them lie in it; the others are moved to its border.

    Integer pixel coordinates are pixel centres, so 0 is half a pixel from the image's left border.
    """
    points = (np.asarray(points_px, np.float64) + 0.5) / (width, height)
    inside: np.ndarray = np.all((points >= 0) & (points <= 1), axis=-1)
    return points.clip(0.0, 1.0), inside


def skeleton_points(keypoints_px: np.ndarray, visibility: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return [18, 3], x y confidence in the order of ``POINTS``, of COCO17 keypoints [17, 2] and visibility [17].

    The neck is the middle of the shoulders, as sure as the less sure of them. Points outside the image have
    confidence 0.
    """
    neck = keypoints_px[_SHOULDERS].mean(0, keepdims=True)
    points_px = np.insert(keypoints_px[_SOURCES], _NECK, neck, 0)
    confidence = np.insert(visibility[_SOURCES], _NECK, visibility[_SHOULDERS].min())
    points, inside = normalised(points_px, width, height)
    return np.concatenate([points, np.where(inside, confidence, 0.0)[:, None]], -1)


def skeleton2d(person: PersonHeatmaps, source: Heatmaps) -> Any:
    """Return the ``hri_msgs/Skeleton2D`` of a person of a message that :func:`check_points` lets pass."""
    from hri_msgs.msg import NormalizedPointOfInterest2D, Skeleton2D

    keypoints = np.asarray(person.keypoints, np.float64).reshape(len(COCO17), 2)
    info = source.camera_info
    values = skeleton_points(keypoints, np.asarray(person.visibility, np.float64), info.width, info.height)
    points = [NormalizedPointOfInterest2D(x=x, y=y, c=c) for x, y, c in values.tolist()]
    return Skeleton2D(header=source.header, skeleton=points)


def region(person: PersonHeatmaps, source: Heatmaps) -> Any:
    """Return the ``hri_msgs/NormalizedRegionOfInterest2D`` of a person: the part of its box that is in the image."""
    from hri_msgs.msg import NormalizedRegionOfInterest2D

    info = source.camera_info
    corners = normalised(np.asarray(person.box, np.float64).reshape(2, 2), info.width, info.height)[0]
    (x_min, y_min), (x_max, y_max) = corners.tolist()
    return NormalizedRegionOfInterest2D(
        header=source.header, xmin=x_min, ymin=y_min, xmax=x_max, ymax=y_max, c=person.score
    )


def tracked(header: Header, ids: Sequence[str]) -> Any:
    """Return the ``hri_msgs/IdsList`` of the bodies seen at one instant."""
    from hri_msgs.msg import IdsList

    return IdsList(header=header, ids=list(ids))


def joint_state(header: Header, body_id: str, angles_rad: Sequence[float]) -> JointState:
    """Return the angles of :data:`diffpose_core.kinematics.ANGLES` under the names of the body's own URDF."""
    return JointState(header=header, name=[f"{name}_{body_id}" for name in ANGLES], position=list(angles_rad))
