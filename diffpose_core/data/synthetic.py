# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Synthetic perspective views of motion-capture poses, and the scenarios of the benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.data.augment import camera_rotation
from diffpose_core.heatmap import Heatmaps
from diffpose_core.skeleton import H36M17

HIDDEN = ("nothing", "limb", "legs")
SECOND_PEAKS = ("none", "elsewhere", "swapped")
_J = H36M17.index
_LIMBS = torch.tensor([[_J(s + a), _J(s + b)] for a, b in (("Elbow", "Wrist"), ("Knee", "Ankle")) for s in "LR"])
OUTLIER = 0.02
"""Share of a heatmap's mass that may be anywhere, as in ``Heatmaps.from_keypoints``."""


@dataclass(frozen=True)
class SyntheticConfig:
    """Spread of the cameras, what they see, and the noise of the heatmaps.

    Attributes:
        distance_m: nearest and farthest root depth.
        field_of_view_deg: smallest and largest horizontal field of view.
        pitch_sd_deg: camera pitch about a level camera.
        roll_sd_deg: camera roll.
        distortion: largest first radial coefficient of the lens, of either sign.
        body_scale_sd: spread of the logarithm of a factor on the whole body.
        noise: standard deviation of a keypoint as a fraction of the person's box (its larger side).
        exact: whether the keypoints are right although their heatmaps are as wide as ``noise`` says.
        height_px: the person's box is made so large by distance; None leaves the distance as drawn.
        behind: whether the people turn their backs, give or take 30 degrees.
        focal_error: focal length the estimator is told over the true one.
        hidden: ``limb`` hides the ends of one arm or leg of each person, ``legs`` both knees and ankles.
        second_peak: what two-peaked heatmaps there are: of two joints of the limbs at a place up to 0.3 boxes away
            (``elsewhere``), or of an arm or leg pair at the other side's place (``swapped``). A peak weighs as
            much as it is likely to be the true one, 0.3 to 0.7.
        width, height: image size, px.

    Raises:
        ValueError: ``hidden`` or ``second_peak`` is unknown.
    """

    distance_m: tuple[float, float] = (2.5, 6.0)
    field_of_view_deg: tuple[float, float] = (45.0, 75.0)
    pitch_sd_deg: float = 6.0
    roll_sd_deg: float = 2.0
    distortion: float = 0.0
    body_scale_sd: float = 0.0
    noise: float = 0.025
    exact: bool = False
    height_px: float | None = None
    behind: bool = False
    focal_error: float = 1.0
    hidden: str = "nothing"
    second_peak: str = "none"
    width: int = 1280
    height: int = 720

    def __post_init__(self) -> None:
        for name, value, known in (
            ("hidden", self.hidden, HIDDEN),
            ("second_peak", self.second_peak, SECOND_PEAKS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}")


SCENARIOS: dict[str, SyntheticConfig] = {
    "clean": SyntheticConfig(noise=0.005, exact=True),
    "noise 0.5 %": SyntheticConfig(noise=0.005),
    "noise 2.5 %": SyntheticConfig(),
    "noise 5 %": SyntheticConfig(noise=0.05),
    "hidden limb": SyntheticConfig(hidden="limb"),
    "cut legs": SyntheticConfig(hidden="legs"),
    "two peaks": SyntheticConfig(second_peak="elsewhere"),
    "swapped limbs": SyntheticConfig(second_peak="swapped"),
    "from behind": SyntheticConfig(behind=True),
    "far": SyntheticConfig(height_px=40.0),
    "focal length 10 % wrong": SyntheticConfig(focal_error=1.1),
    "many cameras": SyntheticConfig(
        distance_m=(2.0, 8.0), pitch_sd_deg=12.0, roll_sd_deg=4.0, distortion=0.1, body_scale_sd=0.05
    ),
}
"""What a benchmark runs through; all but what a name says is as in ``noise 2.5 %``."""


@dataclass(frozen=True)
class SyntheticScene:
    """Poses seen by one camera.

    Attributes:
        joints: [P, 17, 3] true absolute joints, metres, optical frame.
        camera: the camera as the estimator is told it is.
        heatmaps: of P persons, skeleton H36M17; visibility 1, or 0 where hidden. Of two peaks the true one is first.
        sigma_px: [P] noise of the keypoints.
        camera_from_world: [P, 3, 4] of each person, whose world body the configuration may have scaled; metres.
    """

    joints: Float[Tensor, "P 17 3"]
    camera: Camera
    heatmaps: Heatmaps
    sigma_px: Float[Tensor, "P"]
    camera_from_world: Float[Tensor, "P 3 4"]


def uniform(low: float, high: float, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw numbers between two bounds."""
    return torch.rand(size, generator=generator) * (high - low) + low


def _heading(world: Float[Tensor, "P 17 3"]) -> Float[Tensor, "P"]:
    """Angle of the direction from the right to the left hip about the vertical, radians."""
    lateral = world[:, _J("LHip")] - world[:, _J("RHip")]
    return torch.atan2(lateral[:, 1], lateral[:, 0])


def _second_peaks(
    pixels: Float[Tensor, "P 17 2"], box: Float[Tensor, "P"], kind: str, generator: torch.Generator
) -> tuple[Float[Tensor, "P 17 2"], Float[Tensor, "P 17"]]:
    """Return where the wrong peaks lie and how much the true ones weigh; the true place and 1 where there is none."""
    n = len(pixels)
    people = torch.arange(n)[:, None]
    wrong, weight = pixels.clone(), torch.ones(n, len(H36M17))
    # The true peak is the heavier one as often as its weight says.
    likely = uniform(0.3, 0.7, (n, 2), generator)
    weights = torch.where(torch.rand(n, 2, generator=generator) < likely, likely, 1 - likely)
    if kind == "swapped":
        pairs = _LIMBS.reshape(2, 4)[torch.randint(2, (n,), generator=generator)]
        others = torch.tensor(H36M17.mirror)[pairs]
        wrong[people, pairs] = pixels[people, others]
        weight[people, pairs] = weights[:, :1]
        return wrong, weight
    ends = _LIMBS.flatten()[torch.rand(n, 8, generator=generator).argsort(-1)[:, :2]]
    angle = uniform(0, 2 * math.pi, (n, 2), generator)
    length = uniform(0.15, 0.3, (n, 2), generator) * box[:, None]
    wrong[people, ends] += length[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    weight[people, ends] = weights
    return wrong, weight


def _visibility(n: int, hidden: str, generator: torch.Generator) -> Float[Tensor, "P 17"]:
    visibility = torch.ones(n, len(H36M17))
    if hidden == "limb":
        limbs = _LIMBS[torch.randint(len(_LIMBS), (n,), generator=generator)]
        visibility[torch.arange(n)[:, None], limbs] = 0
    elif hidden == "legs":
        visibility[:, _LIMBS[2:].flatten()] = 0
    return visibility


def random_camera(config: SyntheticConfig, generator: torch.Generator) -> Camera:
    """Draw the intrinsics and the lens of a camera."""
    fov_deg = float(uniform(*config.field_of_view_deg, (1,), generator))
    camera = Camera.from_field_of_view(config.width, config.height, fov_deg)
    if config.distortion:
        k1 = float(uniform(-config.distortion, config.distortion, (1,), generator))
        camera = replace(camera, distortion=(k1, 0.0, 0.0, 0.0))
    return camera


def aside(depth: Float[Tensor, "n"], camera: Camera, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    """Draw positions at these depths about the middle of the image, metres, optical frame."""
    side = 0.25 * torch.randn(len(depth), 2, generator=generator) * depth[:, None] * 0.5 * camera.width / camera.fx
    return torch.stack([side[:, 0], 0.3 * side[:, 1], depth], -1)


def observe(
    joints: Float[Tensor, "P 17 3"], camera: Camera, config: SyntheticConfig, generator: torch.Generator
) -> tuple[Heatmaps, Float[Tensor, "P"]]:
    """Return the heatmaps that a camera makes of absolute joints (its optical frame), and their noise in px."""
    n = len(joints)
    pixels = camera.project(joints)
    box = (pixels.amax(1) - pixels.amin(1)).amax(-1)
    sigma = config.noise * box
    spread = 0.0 * sigma if config.exact else sigma
    true = pixels + spread[:, None, None] * torch.randn(pixels.shape, generator=generator)
    weight, peaks = torch.ones(n, len(H36M17), 1), true[:, :, None]
    if config.second_peak != "none":
        wrong, weight = _second_peaks(pixels, box, config.second_peak, generator)
        wrong = wrong + spread[:, None, None] * torch.randn(pixels.shape, generator=generator)
        wrong = torch.where((weight == 1)[..., None], true, wrong)
        weight, peaks = torch.stack([weight, 1 - weight], -1), torch.stack([true, wrong], 2)
    visibility = _visibility(n, config.hidden, generator)
    low, high = peaks.flatten(1, 2).amin(1), peaks.flatten(1, 2).amax(1)
    margin = 0.1 * (high - low).amax(-1, keepdim=True) + 1.0
    covariance = (sigma**2)[:, None, None, None, None] * torch.eye(2).expand(*weight.shape, 2, 2)
    heatmaps = Heatmaps.from_mixture(
        peaks, covariance, weight, visibility,
        OUTLIER + 0.5 * (1 - visibility), torch.cat([low - margin, high + margin], -1), H36M17,
    )  # fmt: skip
    return heatmaps, sigma


def synthesize(world: Float[Tensor, "P 17 3"], config: SyntheticConfig, generator: torch.Generator) -> SyntheticScene:
    """Place every world pose (z up) before one random camera and make heatmaps of what it sees.

    The heatmaps are honest unless the configuration says otherwise: each peak is centred at a noisy keypoint, as
    wide as that noise, and as heavy as it is likely.
    """
    n = len(world)
    camera = random_camera(config, generator)
    yaw = uniform(0, 2 * math.pi, (n,), generator)
    if config.behind:  # with the left hip to the camera's left the person looks the way the camera does
        yaw = math.pi - _heading(world) + math.radians(30) * (yaw / math.pi - 1)
    rotation = camera_rotation(
        yaw,
        torch.randn(n, generator=generator) * math.radians(config.pitch_sd_deg),
        torch.randn(n, generator=generator) * math.radians(config.roll_sd_deg),
    )
    joints = torch.einsum("nij,nkj->nki", rotation, world - world[:, :1])
    scale = torch.ones(n, 1, 1)
    if config.body_scale_sd:
        scale = torch.exp(config.body_scale_sd * torch.randn(n, 1, 1, generator=generator))
        joints = joints * scale
    depth = uniform(*config.distance_m, (n,), generator)
    if config.height_px is not None:
        extent = (joints.amax(1) - joints.amin(1))[:, :2].amax(-1)
        depth = camera.fx * extent / config.height_px
    root = aside(depth, camera, generator)
    joints = joints + root[:, None]
    heatmaps, sigma = observe(joints, camera, config, generator)
    told = replace(camera, fx=config.focal_error * camera.fx, fy=config.focal_error * camera.fy)
    origin = root - torch.einsum("nij,nj->ni", rotation, (scale * world)[:, 0])
    return SyntheticScene(joints, told, heatmaps, sigma, torch.cat([rotation, origin[..., None]], -1))
