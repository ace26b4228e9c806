# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Further cameras around synthetic people."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.data.augment import camera_rotation
from diffpose_core.data.synthetic import SyntheticConfig, aside, observe, random_camera, uniform
from diffpose_core.heatmap import Heatmaps


@dataclass(frozen=True)
class SyntheticView:
    """What a further camera sees of people.

    Attributes:
        camera: its intrinsics.
        camera_from_reference: [3, 4] from the optical frame that the people are given in, metres.
        heatmaps: of the same people, skeleton H36M17.
        sigma_px: [P] noise of the keypoints.
    """

    camera: Camera
    camera_from_reference: Float[Tensor, "3 4"]
    heatmaps: Heatmaps
    sigma_px: Float[Tensor, "P"]


def see_from(
    angle_deg: float, joints: Float[Tensor, "P 17 3"], config: SyntheticConfig, generator: torch.Generator
) -> SyntheticView:
    """Look at people from another side: a camera turned by ``angle_deg`` about the vertical through their middle.

    ``joints`` are in metres in the optical frame of the reference camera, whose y axis counts as the vertical. The
    camera's distance from the middle, its pitch and its roll, its lens and the heatmaps are drawn as in
    :func:`synthesize`; heights in the image, hidden limbs and people from behind are not arranged.
    """
    camera = random_camera(config, generator)
    pitch_deg, roll_deg = torch.randn(2, generator=generator) * torch.tensor([config.pitch_sd_deg, config.roll_sd_deg])
    none = torch.zeros(1)
    turned = camera_rotation(
        torch.full((1,), math.radians(angle_deg)), torch.deg2rad(pitch_deg)[None], torch.deg2rad(roll_deg)[None]
    )
    rotation = (turned @ camera_rotation(none, none, none).mT)[0]
    middle = joints[:, 0].mean(0)
    seen_at = aside(uniform(*config.distance_m, (1,), generator), camera, generator)[0]
    transform = torch.cat([rotation, (seen_at - rotation @ middle)[:, None]], -1)
    heatmaps, sigma = observe(joints @ rotation.T + transform[:, 3], camera, config, generator)
    return SyntheticView(camera, transform, heatmaps, sigma)
