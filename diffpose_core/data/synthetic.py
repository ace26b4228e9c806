"""Synthetic perspective views of motion-capture poses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.data.augment import camera_rotation
from diffpose_core.heatmap import Heatmaps
from diffpose_core.skeleton import H36M17


@dataclass(frozen=True)
class SyntheticConfig:
    """Spread of the cameras and the noise of the heatmaps.

    Attributes:
        distance_m: nearest and farthest root depth.
        field_of_view_deg: smallest and largest horizontal field of view.
        pitch_sd_deg: camera pitch about a level camera.
        roll_sd_deg: camera roll.
        noise: standard deviation of a keypoint as a fraction of the person's box (its larger side).
        width, height: image size, px.
    """

    distance_m: tuple[float, float] = (2.5, 6.0)
    field_of_view_deg: tuple[float, float] = (45.0, 75.0)
    pitch_sd_deg: float = 6.0
    roll_sd_deg: float = 2.0
    noise: float = 0.025
    width: int = 1280
    height: int = 720


@dataclass(frozen=True)
class SyntheticScene:
    """Poses seen by one camera.

    Attributes:
        joints: [P, 17, 3] true absolute joints, metres, optical frame.
        camera: the camera.
        heatmaps: of P persons, skeleton H36M17, visibility 1.
        sigma_px: [P] noise of the keypoints.
    """

    joints: Float[Tensor, "P 17 3"]
    camera: Camera
    heatmaps: Heatmaps
    sigma_px: Float[Tensor, "P"]


def synthesize(world: Float[Tensor, "P 17 3"], config: SyntheticConfig, generator: torch.Generator) -> SyntheticScene:
    """Place every world pose (z up) before one random camera and make Gaussian heatmaps of what it sees.

    The heatmaps are honest: each is centred at a noisy keypoint and as wide as that noise.
    """
    n = len(world)

    def uniform(low: float, high: float, size: int) -> Tensor:
        return torch.rand(size, generator=generator) * (high - low) + low

    camera = Camera.from_field_of_view(config.width, config.height, float(uniform(*config.field_of_view_deg, 1)))
    rotation = camera_rotation(
        uniform(0, 2 * math.pi, n),
        torch.randn(n, generator=generator) * math.radians(config.pitch_sd_deg),
        torch.randn(n, generator=generator) * math.radians(config.roll_sd_deg),
    )
    joints = torch.einsum("nij,nkj->nki", rotation, world - world[:, :1])
    depth = uniform(*config.distance_m, n)
    side = 0.25 * torch.randn(n, 2, generator=generator) * depth[:, None] * 0.5 * config.width / camera.fx
    root = torch.stack([side[:, 0], 0.3 * side[:, 1], depth], -1)
    joints = joints + root[:, None]
    pixels = camera.project(joints)
    box = (pixels.amax(1) - pixels.amin(1)).amax(-1)
    sigma = config.noise * box
    noisy = pixels + sigma[:, None, None] * torch.randn(pixels.shape, generator=generator)
    covariance = (sigma**2)[:, None, None, None] * torch.eye(2).expand(n, len(H36M17), 2, 2)
    heatmaps = Heatmaps.from_keypoints(noisy, covariance, torch.ones(n, len(H36M17)), H36M17)
    return SyntheticScene(joints, camera, heatmaps, sigma)
