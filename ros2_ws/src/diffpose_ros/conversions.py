# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Messages to and from the library's types. Everything a message claims is checked here, by name."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps as HeatmapsMessage
from diffpose.msg import Hypotheses, PersonHeatmaps, PersonHypotheses, SkeletonDefinition
from diffpose_core import Camera, Heatmaps, PosePosterior
from diffpose_core.detector import Detections
from diffpose_core.observation import MISSING
from diffpose_core.skeleton import SKELETONS, Skeleton
from diffpose_ros.parameters import MAX_PERSONS

MAX_TILE = 1024
"""Rows and columns of a heatmap tile: nobody's may announce gigabytes, least of all where there are no persons."""
SIDES = {
    "center": SkeletonDefinition.CENTER, "left": SkeletonDefinition.LEFT, "right": SkeletonDefinition.RIGHT,
}  # fmt: skip
DEPTH_TYPES = {"16UC1": (np.uint16, 1e-3), "32FC1": (np.float32, 1.0)}
"""Type of a depth image's values and their unit in metres (REP 118)."""
FARTHEST_M = 1e6
"""Joints that are farther away on any axis are no joints; their covariances would not be finite."""
UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Order of a covariance's six unique values: xx xy xz yy yz zz."""


def check_pair(image: Image | CompressedImage, info: CameraInfo) -> None:
    """Check that an image and a calibration are of one camera.

    Raises:
        ValueError: their frames differ.
    """
    if image.header.frame_id != info.header.frame_id:
        raise ValueError(
            f"image header.frame_id {image.header.frame_id!r} is not camera_info's {info.header.frame_id!r}: "
            "is the calibration another camera's?"
        )


def depth_from_message(message: Image) -> torch.Tensor:
    """Return [H, W] float32 metres along the optical axis; NaN where nothing was measured (0, NaN or infinite).

    Raises:
        ValueError: naming the field that is wrong.
    """
    if message.height == 0 or message.width == 0:
        raise ValueError(f"depth height and width must be positive, got {message.height} x {message.width}")
    if message.encoding not in DEPTH_TYPES:
        raise ValueError(f"depth encoding must be one of {', '.join(DEPTH_TYPES)}, got {message.encoding!r}")
    kind, unit_m = DEPTH_TYPES[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    if message.step < message.width * dtype.itemsize:
        raise ValueError(
            f"depth step must be at least width x {dtype.itemsize} = {message.width * dtype.itemsize}, "
            f"got {message.step}"
        )
    if len(message.data) != message.step * message.height:
        raise ValueError(
            f"depth data must hold step x height = {message.step * message.height} bytes, got {len(message.data)}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    values = np.ascontiguousarray(rows[:, : message.width * dtype.itemsize]).view(dtype).astype(np.float32)
    if (values[np.isfinite(values)] < 0).any():
        raise ValueError(f"depth data must not be negative, got {values[np.isfinite(values)].min():g}")
    return torch.from_numpy(np.where(np.isfinite(values) & (values > 0), values * np.float32(unit_m), np.nan))


def aligned_depth(message: Image, source: HeatmapsMessage) -> torch.Tensor:
    """Return the depth image, [H, W] metres, of the camera that the heatmaps are of.

    Raises:
        ValueError: it is another camera's, or as :func:`depth_from_message`.
    """
    info = source.camera_info
    if (message.width, message.height) != (info.width, info.height):
        raise ValueError(
            f"depth is {message.width} x {message.height} px, camera_info is for {info.width} x {info.height}: "
            "the depth image must be aligned to the colour image"
        )
    if message.header.frame_id != source.header.frame_id:
        raise ValueError(
            f"depth frame_id must be that of the heatmaps, {source.header.frame_id!r}, "
            f"got {message.header.frame_id!r}: the depth image must be aligned to the colour image"
        )
    return depth_from_message(message)


def camera_from_info(info: CameraInfo, width: int, height: int) -> Camera:
    """Return the camera of an image of that size.

    Raises:
        ValueError: naming the field that is wrong, or that says the image is binned or a part of the camera's.
    """
    for name in ("binning_x", "binning_y"):
        if getattr(info, name) > 1:
            raise ValueError(f"camera_info {name} must be 0 or 1, got {getattr(info, name)}")
    if info.roi.x_offset or info.roi.y_offset:
        raise ValueError(f"camera_info roi must start at 0, 0, got {info.roi.x_offset}, {info.roi.y_offset}")
    for name in ("width", "height"):
        full, part = getattr(info, name), getattr(info.roi, name)
        if part not in (0, full):
            raise ValueError(f"camera_info roi.{name} must be 0 or {name} = {full}, got {part}")
    if (info.width, info.height) != (width, height):
        raise ValueError(f"camera_info is for {info.width} x {info.height} px, the image has {width} x {height}")
    model = info.distortion_model or "plumb_bob"
    try:
        return Camera.from_matrix(
            torch.tensor(list(info.k), dtype=torch.float64).reshape(3, 3), width, height, list(info.d), model
        )
    except ValueError as error:
        raise ValueError(f"camera_info: {error}") from error


def rectified_info(info: CameraInfo) -> CameraInfo:
    """Return the calibration of the rectified image: K is the left of P, and there is no distortion.

    Raises:
        ValueError: P is all zeros (uncalibrated), skewed, or that of the second camera of a stereo pair, which looks
            from elsewhere than ``frame_id`` says.
    """
    p = np.asarray(info.p, np.float64).reshape(3, 4)
    if not np.isfinite(p).all() or not p.any():
        raise ValueError(f"camera_info p must be finite and not all zeros, got {p.tolist()}: it is not rectified")
    if p[:, 3].any():
        raise ValueError(
            f"camera_info p must have no offset, got {p[:, 3].tolist()}: it is a second camera of a stereo pair, "
            "take the first"
        )
    return CameraInfo(
        header=info.header, width=info.width, height=info.height, binning_x=info.binning_x, binning_y=info.binning_y,
        roi=info.roi, distortion_model="plumb_bob", k=p[:, :3].reshape(-1), r=np.eye(3).reshape(-1), p=info.p,
    )  # fmt: skip


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """Return the message of a camera."""
    info = CameraInfo(header=header, width=camera.width, height=camera.height, distortion_model=camera.model)
    info.d = list(camera.distortion or (0.0,) * 5) if camera.model == "plumb_bob" else list(camera.distortion or ())
    info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def heatmaps_message(
    found: Detections, header: Header, info: CameraInfo, ids: Sequence[int] | None = None
) -> HeatmapsMessage:
    """Return the heatmaps of one image; without ids persons are numbered."""
    skeleton = found.heatmaps.skeleton
    height, width = found.log_density.shape[-2:]
    message = HeatmapsMessage(
        header=header, camera_info=info, skeleton=skeleton.name, joint_names=list(skeleton.joints),
        tile_height=height, tile_width=width,
    )  # fmt: skip
    for p in range(len(found)):
        person = PersonHeatmaps(id=p if ids is None else ids[p], score=float(found.scores[p]))
        person.box = found.boxes[p].numpy()
        person.tile_to_image = found.tile_to_image[p].reshape(-1).numpy()
        _fill(person.visibility, found.visibility[p])
        _fill(person.keypoints, found.keypoints[p])
        _fill(person.log_density, found.log_density[p])
        message.persons.append(person)
    return message


def heatmaps_from_message(message: HeatmapsMessage) -> tuple[Heatmaps, Camera]:
    """Return the heatmaps of all persons, in tile form, and their camera.

    Raises:
        ValueError: naming the field that is wrong.
    """
    skeleton = _skeleton(message.skeleton)
    if list(message.joint_names) != list(skeleton.joints):
        raise ValueError(f"joint_names must be those of {skeleton.name} in order, got {list(message.joint_names)}")
    info = message.camera_info
    camera = camera_from_info(info, info.width, info.height)
    count, joints, height, width = len(message.persons), len(skeleton), message.tile_height, message.tile_width
    if not 4 <= min(height, width) <= max(height, width) <= MAX_TILE:
        raise ValueError(f"tile_height and tile_width must lie in 4..{MAX_TILE}, got {height} x {width}")
    if count > MAX_PERSONS:
        raise ValueError(f"persons must be at most {MAX_PERSONS}, got {count}")
    _check_persons(message.persons)
    log_density = _read(message.persons, "log_density", (joints, height, width))
    visibility = _read(message.persons, "visibility", (joints,))
    tile_to_image = _read(message.persons, "tile_to_image", (2, 3))
    _read(message.persons, "keypoints", (joints, 2))
    assert len(log_density) == count
    return Heatmaps(log_density, tile_to_image, visibility, skeleton), camera


def hypotheses_message(
    posterior: PosePosterior, header: Header, ids: Sequence[int], scores: Sequence[float]
) -> tuple[Hypotheses, int]:
    """Return the hypotheses of one instant, and how many persons were left out because nothing is known of them."""
    count, samples, joints, _ = posterior.joints.shape
    message = Hypotheses(header=header, skeleton=posterior.skeleton.name, num_hypotheses=samples, num_joints=joints)
    weights, points, mean = posterior.weights.cpu(), posterior.joints.cpu(), posterior.mean.cpu()
    full = posterior.covariance
    covariance = torch.stack([full[..., a, b] for a, b in UPPER], -1).cpu()
    if posterior.log_evidence is None:
        raise ValueError("posterior holds no log_evidence")
    status, log_evidence = posterior.status.cpu(), posterior.log_evidence.tolist()
    for p in range(count):
        if bool((status[p] == MISSING).all()):
            continue
        person = PersonHypotheses(id=ids[p], score=scores[p], log_evidence=log_evidence[p])
        _fill(person.weights, weights[p])
        _fill(person.joints, points[p])
        _fill(person.mean, mean[p])
        _fill(person.covariance, covariance[p])
        person.status.frombytes(status[p].to(torch.uint8).numpy().tobytes())
        message.persons.append(person)
    return message, count - len(message.persons)


def posterior_from_message(message: Hypotheses) -> PosePosterior:
    """Return the posterior of all persons of a message.

    Raises:
        ValueError: naming the field that is wrong.
    """
    skeleton = _skeleton(message.skeleton)
    samples, joints = message.num_hypotheses, message.num_joints
    if joints != len(skeleton):
        raise ValueError(f"num_joints must be {len(skeleton)} for {skeleton.name}, got {joints}")
    if samples < 1:
        raise ValueError("num_hypotheses must be at least 1, got 0")
    _check_persons(message.persons)
    weights = _read(message.persons, "weights", (samples,))
    points = _read(message.persons, "joints", (samples, joints, 3))
    for name, size in (("mean", (joints, 3)), ("covariance", (joints, 6))):
        _read(message.persons, name, size)
    log_evidence = torch.tensor([p.log_evidence for p in message.persons])
    for name, value in (("weights", weights), ("joints", points), ("log_evidence", log_evidence)):
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} holds a value that is not finite")
    if len(weights) and (weights.min() < 0 or (weights.sum(-1) - 1).abs().max() > 1e-3):
        raise ValueError(f"weights must be non-negative and sum to 1, got sums {weights.sum(-1).tolist()}")
    if len(points) and points.abs().max() > FARTHEST_M:
        raise ValueError(f"joints must lie within {FARTHEST_M:g} m, got {points.abs().max():g}")
    status = _read(message.persons, "status", (joints,), np.uint8).long()
    return PosePosterior(points, torch.log(weights), status, skeleton, log_evidence)


def skeleton_message(skeleton: Skeleton) -> SkeletonDefinition:
    """Return the definition of a skeleton."""
    return SkeletonDefinition(
        name=skeleton.name, joint_names=list(skeleton.joints), parents=list(skeleton.parents),
        side=[SIDES[skeleton.side(j)] for j in range(len(skeleton))],
    )  # fmt: skip


def _skeleton(name: str) -> Skeleton:
    if name not in SKELETONS:
        raise ValueError(f"skeleton must be one of {', '.join(SKELETONS)}, got {name!r}")
    return SKELETONS[name]


def check_ids(persons: Sequence[Any]) -> None:
    """Check that the ids of a message's persons differ.

    Raises:
        ValueError: two are the same.
    """
    if len({person.id for person in persons}) < len(persons):
        raise ValueError(f"ids of persons must differ, got {[person.id for person in persons][:20]}")


def _check_persons(persons: list[Any]) -> None:
    check_ids(persons)
    for p, person in enumerate(persons):
        if not math.isfinite(person.score):
            raise ValueError(f"persons[{p}].score must be finite, got {person.score}")


def _fill(field: array.array[Any], values: torch.Tensor) -> None:
    # Appending bytes is 300 times faster than assigning a list, see rosidl's generated setters.
    field.frombytes(np.ascontiguousarray(values.numpy(), np.float32).tobytes())


def _read(persons: list[Any], name: str, shape: tuple[int, ...], dtype: type = np.float32) -> torch.Tensor:
    """Stack one flat field of all persons to [P, *shape]."""
    size = int(np.prod(shape))
    found: list[np.ndarray] = [np.frombuffer(getattr(person, name), dtype) for person in persons]
    for p, values in enumerate(found):  # all before memory is taken: shapes are announced by the message
        if len(values) != size:
            raise ValueError(
                f"persons[{p}].{name} must hold {' x '.join(map(str, shape))} = {size} values, got {len(values)}"
            )
    result: np.ndarray = np.array(found, dtype).reshape(len(persons), *shape)
    return torch.from_numpy(result)
