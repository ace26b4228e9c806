# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where the cameras are: from a file, or from TF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import Header
from torch import Tensor

from diffpose_ros.clocks import BACKWARDS
from diffpose_ros.managed import ManagedNode
from diffpose_ros.parameters import EstimatorParameters
from diffpose_ros.yaml_files import entry, read_mapping

Extrinsics = Callable[[str, Header], Tensor]
"""Name of a camera and header of its heatmaps to target_from_camera, [3, 4] = [R|t], metres; ValueError if unknown."""


def transform(translation_m: Sequence[float], quaternion: Sequence[float]) -> Tensor:
    """Return [3, 4] = [R|t] of a translation in metres and a quaternion x, y, z, w.

    Raises:
        ValueError: naming what is not finite, or a quaternion whose length is not 1 within 1 %.
    """
    t = torch.tensor(list(translation_m), dtype=torch.float64)
    q = torch.tensor(list(quaternion), dtype=torch.float64)
    for name, value, size in (("translation", t, 3), ("quaternion", q, 4)):
        if value.shape != (size,) or not torch.isfinite(value).all():
            raise ValueError(f"{name} must hold {size} finite numbers, got {value.tolist()}")
    if abs(float(q.norm()) - 1) > 0.01:
        raise ValueError(f"quaternion (x, y, z, w) must have length 1, got {q.tolist()} of length {float(q.norm()):g}")
    x, y, z, w = (q / q.norm()).tolist()
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.cat([torch.tensor(rotation, dtype=torch.float64), t[:, None]], 1).float()


def relative(target_from_a: Tensor, target_from_b: Tensor) -> Tensor:
    """Return a_from_b, [3, 4] metres."""
    a, b = target_from_a.double(), target_from_b.double()
    inverse = a[:, :3].T
    return torch.cat([inverse @ b[:, :3], (inverse @ (b[:, 3] - a[:, 3]))[:, None]], 1).float()


class FileExtrinsics:
    """Fixed cameras, from a YAML file (docs/fusion.md).

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the file and the entry that is missing or wrong.
    """

    def __init__(self, path: str, target_frame: str, cameras: Sequence[str]) -> None:
        data = read_mapping(path, "extrinsics")
        try:
            named = entry(data, "target_frame", str)
            if named != target_frame:
                raise ValueError(f"target_frame is {named!r}, the parameter target_frame is {target_frame!r}")
            entries = entry(data, "cameras", dict)
            self._known = {name: _camera(entry(entries, name, dict, "cameras."), name) for name in cameras}
        except (ValueError, OverflowError) as error:
            raise ValueError(f"extrinsics file {path}: {error}") from error

    def __call__(self, camera: str, header: Header) -> Tensor:
        """Return target_from_camera."""
        frame_id, target_from_camera = self._known[camera]
        if header.frame_id != frame_id:
            raise ValueError(f"frame_id must be {frame_id!r} as in the extrinsics file, got {header.frame_id!r}")
        return target_from_camera


class TfExtrinsics:
    """Cameras that may move, from TF at the stamp of their heatmaps.

    Args:
        node: hears of the transforms; its ``tf_wait_s`` is how long that of a new stamp is waited for.
        target_frame: the frame to transform to.
        why: the parameter that asks for TF, for the message when there is none.

    Raises:
        ValueError: tf2_ros is not installed.
    """

    def __init__(self, node: ManagedNode[EstimatorParameters], target_frame: str, why: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(f"parameter {why}, and there is no TF to ask: {error}") from error
        self._node, self._target_frame, self._no_transform = node, target_frame, tf2_ros.TransformException
        # Not of this node: of such a buffer Jazzy leaves a callback with the node's clock that outlives it, and
        # Humble's knows nothing of a clock that is set back.
        self._buffer = tf2_ros.Buffer()
        self._jumps = node.get_clock().create_jump_callback(BACKWARDS, post_callback=lambda _: self._buffer.clear())
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Listen no more."""
        self._listener.unregister()
        self._jumps.unregister()

    def __call__(self, camera: str, header: Header) -> Tensor:
        """Return target_from_camera."""
        stamp, wait = Time.from_msg(header.stamp), Duration(seconds=self._node.parameters.tf_wait_s)
        try:
            found = self._buffer.lookup_transform(self._target_frame, header.frame_id, stamp, wait).transform
        except self._no_transform as error:
            raise ValueError(f"no transform from {header.frame_id!r} to {self._target_frame!r}: {error}") from error
        t, q = found.translation, found.rotation
        return transform((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def _camera(data: dict[str, Any], name: str) -> tuple[str, Tensor]:
    where = f"cameras.{name}."
    translation, quaternion = (_numbers(data, key, where) for key in ("translation", "quaternion"))
    try:
        return entry(data, "frame_id", str, where), transform(translation, quaternion)
    except ValueError as error:
        raise ValueError(f"cameras.{name}: {error}") from error


def _numbers(data: dict[str, Any], name: str, where: str) -> list[float]:
    values = entry(data, name, list, where)
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise ValueError(f"{where}{name} must hold numbers, got {values!r}")
    return [float(v) for v in values]
