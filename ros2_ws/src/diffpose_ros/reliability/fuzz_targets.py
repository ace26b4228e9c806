# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What is fuzzed: every conversion of what others send, and files. ValueError refuses; nothing else may come."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses, PersonHypotheses
from diffpose.srv import Complete
from diffpose_core import COCO17, H36M17, Camera
from diffpose_core import Heatmaps as CoreHeatmaps
from diffpose_core.detector import Detections, DetectorConfig, tiles_for
from diffpose_core.onnx_file import check_onnx
from diffpose_core.prior import Denoiser, DenoiserConfig, load_checkpoint, save_checkpoint
from diffpose_ros import parameters
from diffpose_ros.completion import MAX_SKELETONS, completion_from_request
from diffpose_ros.conversions import (
    camera_from_info,
    camera_info,
    depth_from_message,
    heatmaps_from_message,
    heatmaps_message,
    posterior_from_message,
)
from diffpose_ros.images import ENCODINGS, decode_compressed, decode_image
from diffpose_ros.ros_parameters import changed

WIDTH, HEIGHT = 8, 6
CAMERA = Camera(10.0, 10.0, 3.5, 2.5, WIDTH, HEIGHT, (0.1, -0.05, 0.001, 0.002, 0.01))


@dataclass(frozen=True)
class Target:
    """One thing that takes input from outside.

    Attributes:
        use: takes a message, or bytes where ``kind`` is None; ``ValueError`` refuses; ``AssertionError``: it took what
            it must not have taken.
        kind: message type.
        seeds: good inputs.
    """

    use: Callable[[Any], None]
    kind: Any
    seeds: Callable[[], list[Any]]


def _good(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(f"taken, though {what}")


def use_image(message: Image) -> None:
    """Decode a raw image."""
    pixels = decode_image(message)
    _good(pixels.shape == (message.height, message.width, 3) and pixels.dtype == np.uint8, "the pixels are not bgr8")


def use_compressed(message: CompressedImage) -> None:
    """Decode a compressed image."""
    pixels = decode_compressed(message)
    _good(pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8, "the pixels are not bgr8")


def use_info(message: CameraInfo) -> None:
    """Make a camera of a calibration."""
    camera = camera_from_info(message, message.width, message.height)
    pixels = camera.project(torch.tensor([[0.1, 0.2, 3.0], [-0.5, 0.0, 4.0]]))
    _good(camera.fx > 0 and camera.fy > 0 and pixels.shape == (2, 2), "the camera is none")


def use_depth(message: Image) -> None:
    """Decode a depth image."""
    depth = depth_from_message(message)
    _good(not bool((depth < 0).any()) and not bool(torch.isinf(depth).any()), "a depth is negative or infinite")
    _good(tuple(depth.shape) == (message.height, message.width), "its shape is another")


def use_heatmaps(message: Heatmaps) -> None:
    """Read heatmaps."""
    found, _ = heatmaps_from_message(message)
    _good(len(found) == len(message.persons), "persons were lost")
    values = (found.means, found.covariances, found.weights, found.outlier, found.area)
    _good(all(bool(torch.isfinite(v).all()) for v in values), "a value of the mixture is not finite")


def use_hypotheses(message: Hypotheses) -> None:
    """Read hypotheses."""
    found = posterior_from_message(message)
    _good(bool(torch.isfinite(found.mean).all()), "the mean is not finite")
    _good(bool(torch.isfinite(found.covariance).all()), "the covariance is not finite")


def use_completion(message: Any) -> None:
    """Read a request for completion."""
    wanted = completion_from_request(message, 50)
    _good(wanted.num_hypotheses * len(wanted.joints) <= MAX_SKELETONS, "it asks for too much")


def use_checkpoint(data: bytes) -> None:
    """Load a checkpoint; its digest lets nothing but the good one through."""
    path = _folder() / "fuzzed.safetensors"
    path.write_bytes(data)
    load_checkpoint(path)
    _good(data == _checkpoint(), "it is not the one that was written")


def use_onnx(data: bytes) -> None:
    """Check an ONNX file."""
    check_onnx(data, "fuzzed.onnx")


def use_parameters(data: bytes) -> None:
    """Change parameters to values that the bytes choose, of any type."""
    rng = random.Random(data)
    kind = rng.choice(parameters.ALL)
    items = rng.sample(fields(kind), rng.choice((1, 1, 2)))
    values = {item.name: some_value(rng, item.default) for item in items}
    try:
        new = changed(kind(), values, rng.random() < 0.5)
    except TypeError as error:  # ROS refuses another type before
        if all(type(values[i.name]) is type(i.default) for i in items):
            raise AssertionError(f"{values}: {error}") from error
        raise ValueError(str(error)) from error
    for item in fields(new):
        value, low, high = getattr(new, item.name), item.metadata["low"], item.metadata["high"]
        _good(low is None or low <= value <= high, f"{item.name} is {value}")


def some_value(rng: random.Random, default: Any) -> Any:
    """Return a value of the type of a parameter, seldom of another."""
    kind = type(default) if rng.random() < 0.9 else rng.choice((str, int, float, bool, tuple))
    if kind is bool:
        return rng.random() < 0.5
    if kind is int:
        return rng.choice((0, 1, -1, 10**6, 2**31, 2**63 - 1, -(2**63), rng.randint(-100, 1000)))
    if kind is float:
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, rng.uniform(-10, 100)))
    if kind is tuple:
        return tuple(rng.choice(("", "left", "right", "a b", "/x", "left")) for _ in range(rng.randrange(4)))
    return rng.choice(("", "x", "auto", "cpu", "best_effort", "reliable", "kalman", "\0", "a" * 5000, "/dev", "\u4eba"))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="diffpose_fuzz_"))


@cache
def _checkpoint() -> bytes:
    path = _folder() / "good.safetensors"
    torch.manual_seed(0)
    model = Denoiser(DenoiserConfig(width=4, blocks=1, noise_channels=2))
    save_checkpoint(path, model, torch.tensor([1.0, 0.1]), torch.eye(51).repeat(2, 1, 1), "note", {})
    return path.read_bytes()


def images() -> list[Image]:
    """Return a good image of every encoding."""
    result = []
    for name, encoding in ENCODINGS.items():
        step = WIDTH * encoding.channels * encoding.bits // 8
        message = Image(height=HEIGHT, width=WIDTH, encoding=name, step=step)
        message.data.frombytes(bytes(i % 256 for i in range(step * HEIGHT * encoding.planes // 2)))
        result.append(message)
    return result


def compressed() -> list[CompressedImage]:
    """Return good compressed images."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    result = []
    for suffix, text in ((".jpg", "bgr8; jpeg compressed bgr8"), (".png", "png")):
        message = CompressedImage(format=text)
        message.data.frombytes(cv2.imencode(suffix, pixels)[1].tobytes())
        result.append(message)
    return result


def infos() -> list[CameraInfo]:
    """Return good calibrations."""
    models = (("plumb_bob", 5), ("plumb_bob", 0), ("rational_polynomial", 8), ("equidistant", 4), ("", 0))
    result = []
    for model, count in models:
        info = camera_info(CAMERA, Header(frame_id="camera"))
        info.distortion_model, info.d = model, [0.01] * count
        result.append(info)
    return result


def depths() -> list[Image]:
    """Return good depth images."""
    result = []
    for name, kind in (("16UC1", "<u2"), ("32FC1", "<f4"), ("16UC1", ">u2")):
        values = np.arange(WIDTH * HEIGHT).astype(kind)
        message = Image(height=HEIGHT, width=WIDTH, encoding=name, step=WIDTH * values.itemsize)
        message.is_bigendian = int(kind[0] == ">")
        message.data.frombytes(values.tobytes())
        result.append(message)
    return result


def heatmaps() -> list[Heatmaps]:
    """Return good heatmaps of one person and of nobody, with small tiles."""
    header = Header(frame_id="camera")
    info = camera_info(CAMERA, header)
    points = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(0)) * 6
    seen = torch.full((1, 17), 0.8)
    boxes = torch.tensor([[0.0, 0.0, 7.0, 5.0]])
    heat = CoreHeatmaps.from_keypoints(points, torch.eye(2).expand(1, 17, 2, 2), seen, COCO17)
    config = DetectorConfig(tile_height=6, tile_width=5)
    grid = tiles_for(boxes, points, config)
    found = Detections(boxes, torch.tensor([0.9]), points, seen, heat, grid, heat.render_tiles(grid, 6, 5))
    nobody = heatmaps_message(found, header, info)
    nobody.persons = []
    return [heatmaps_message(found, header, info), nobody]


def hypotheses() -> list[Hypotheses]:
    """Return good hypotheses of two persons."""
    message = Hypotheses(header=Header(frame_id="camera"), skeleton="H36M17", num_hypotheses=2, num_joints=17)
    rng = np.random.default_rng(0)
    for p in range(2):
        person = PersonHypotheses(id=p, score=0.5)
        for name, size in (("weights", 2), ("joints", 102), ("mean", 51), ("covariance", 102)):
            values = np.full(2, 0.5) if name == "weights" else rng.normal(size=size)
            getattr(person, name).frombytes(values.astype(np.float32).tobytes())
        person.status.frombytes(bytes(17))
        message.persons.append(person)
    return [message]


def requests() -> list[Any]:
    """Return good requests for completion."""
    request = Complete.Request(skeleton=H36M17.name, num_hypotheses=2)
    request.joints.frombytes(np.random.default_rng(0).normal(size=51).astype(np.float32).tobytes())
    request.known, request.std = [True] * 8 + [False] * 9, [0.01]
    return [request]


ONNX = bytes.fromhex("08083a0f2a0d0a01041001420177ca02026f6b4200")
TARGETS: dict[str, Target] = {
    "image": Target(use_image, Image, images),
    "compressed image": Target(use_compressed, CompressedImage, compressed),
    "camera info": Target(use_info, CameraInfo, infos),
    "depth image": Target(use_depth, Image, depths),
    "heatmaps": Target(use_heatmaps, Heatmaps, heatmaps),
    "hypotheses": Target(use_hypotheses, Hypotheses, hypotheses),
    "completion request": Target(use_completion, Complete.Request, requests),
    "parameters": Target(use_parameters, None, lambda: [b"seed"]),
    "checkpoint": Target(use_checkpoint, None, lambda: [_checkpoint()]),
    "onnx": Target(use_onnx, None, lambda: [ONNX]),
}
