# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Two people in a room with two cameras, as messages."""

import numpy as np
import torch
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose_core import H36M17, Camera, Heatmaps, PosePrior
from diffpose_core.data.depth import render_depth
from diffpose_core.detector import Detections, DetectorConfig, tiles_for
from diffpose_ros import conversions
from diffpose_ros.extrinsics import transform

CAMERA = Camera(500.0, 500.0, 319.5, 239.5, 640, 480)
# 1.2 m above the floor, 4 m from the first person; left looks along x of the map, right along y.
POSES = {
    "left": ((-2.0, 0.0, 1.2), (-0.5, 0.5, -0.5, 0.5)),
    "right": ((2.0, -4.0, 1.2), (-0.70710678, 0.0, 0.0, 0.70710678)),
}
PELVISES_M = ((2.0, 0.0, 0.9), (2.8, 1.2, 0.9))
NOISE_PX = 3.0


def extrinsics(target_frame="map", **changes):
    """The text of an extrinsics file."""
    lines = [f"target_frame: {target_frame}", "cameras:"]
    for name, (translation, quaternion) in POSES.items():
        lines += [f"  {name}:", f"    frame_id: {name}_optical_frame"]
        lines += [f"    translation: {list(translation)}", f"    quaternion: {list(changes.get(name, quaternion))}"]
    return "\n".join(lines)


def people():
    """[2, 17, 3] metres in the map's frame (z up): poses of the prior."""
    poses = PosePrior.from_pretrained().sample(2, generator=torch.Generator().manual_seed(5))
    x, y, z = poses.unbind(-1)
    return torch.stack([z, -x, -y], -1) + torch.tensor(PELVISES_M)[:, None]


def seen_by(name, points):
    """Points of the map in a camera's optical frame."""
    pose = transform(*POSES[name])
    return (points - pose[:, 3]) @ pose[:, :3]


def heatmaps(name, points, stamp, order=(0, 1), scores=(0.9, 0.8)):
    """The heatmaps of a camera; ``order`` is that of the persons in the message, and their ids."""
    pixels = CAMERA.project(seen_by(name, points[list(order)]))
    generator = torch.Generator().manual_seed(sum(name.encode()))
    pixels = pixels + NOISE_PX * torch.randn(pixels.shape, generator=generator)
    ones = torch.ones(pixels.shape[:2])
    heat = Heatmaps.from_keypoints(pixels, NOISE_PX**2 * torch.eye(2).expand(*pixels.shape, 2), ones, H36M17)
    boxes = torch.cat([pixels.amin(1) - 20, pixels.amax(1) + 20], -1)
    config = DetectorConfig()
    grid = tiles_for(boxes, pixels, config)
    tiles = heat.render_tiles(grid, config.tile_height, config.tile_width)
    score = torch.tensor(scores)[: len(order)]
    header = Header(stamp=stamp, frame_id=f"{name}_optical_frame")
    found = Detections(boxes, score, pixels, ones, heat, grid, tiles)
    return conversions.heatmaps_message(found, header, conversions.camera_info(CAMERA, header), order)


def depth(name, points, stamp, encoding="16UC1"):
    """What a depth sensor aligned to the camera sees; a wall 6 m away, holes at the left border."""
    metres = render_depth(seen_by(name, points), CAMERA, wall_m=6.0).numpy()
    metres[:, :40] = np.nan
    message = Image(height=480, width=640, encoding=encoding)
    values = np.nan_to_num(metres * 1000).round().astype("<u2") if encoding == "16UC1" else metres.astype("<f4")
    message.header = Header(stamp=stamp, frame_id=f"{name}_optical_frame")
    message.step = 640 * values.itemsize
    message.data.frombytes(values.tobytes())
    return message


def error_m(person, truth):
    """Median distance of the published mean's joints from the truth, metres."""
    mean = torch.tensor(person.mean).reshape(17, 3)
    return float((mean - truth).norm(dim=-1).median())
