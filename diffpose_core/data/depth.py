# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Synthetic depth images: people as bodies of capsules before a camera, and what a depth sensor makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.body import BONE_RADIUS_M, BONES
from diffpose_core.camera import MIN_DEPTH_M, Camera


def _entry(
    rays: Float[Tensor, "n 3"], start: Float[Tensor, "3"], end: Float[Tensor, "3"], radius: float
) -> Float[Tensor, "n"]:
    """Depth at which rays (x/z, y/z, 1) from the origin enter a capsule; infinite where they miss it."""
    square = (rays**2).sum(-1)

    def sphere(centre: Tensor) -> Tensor:
        along = rays @ centre
        root = along**2 - square * (centre @ centre - radius**2)
        return torch.where(root >= 0, (along - root.clamp_min(0).sqrt()) / square, torch.inf)

    depth = torch.minimum(sphere(start), sphere(end))
    axis = end - start
    length2 = axis @ axis
    if length2 < 1e-12:
        return depth
    # The cylinder between the spheres: |across(t ray - start)| = radius, across being square to the axis.
    ray_across = rays - (rays @ axis / length2)[:, None] * axis
    start_across = start - (start @ axis / length2) * axis
    square = (ray_across**2).sum(-1)
    along = ray_across @ start_across
    root = along**2 - square * (start_across @ start_across - radius**2)
    entry = (along - root.clamp_min(0).sqrt()) / square
    share = (entry[:, None] * rays - start) @ axis / length2
    side = (root >= 0) & (square > 0) & (share >= 0) & (share <= 1)
    return torch.where(side, torch.minimum(depth, entry), depth)


def pixel_rays(camera: Camera) -> Float[Tensor, "H W 3"]:
    """Return (x/z, y/z, 1) of every pixel's centre."""
    v, u = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    rays = camera.unproject(torch.stack([u, v], -1).float())
    return torch.nn.functional.pad(rays, (0, 1), value=1.0)


def render_depth(joints: Float[Tensor, "P 17 3"], camera: Camera, wall_m: float = torch.nan) -> Float[Tensor, "H W"]:
    """Draw the depth image of people whose bones are capsules of ``BONE_RADIUS_M``.

    ``joints`` are absolute, metres, in the camera's optical frame; depth is z there. What nobody hides has the depth
    ``wall_m``, NaN for none. Exact for every pixel's centre, lens included. A capsule that reaches behind the camera
    is not drawn.

    Raises:
        ValueError: a joint is not finite.
    """
    if not torch.isfinite(joints).all():
        raise ValueError("joints must be finite")
    rays = pixel_rays(camera).flatten(0, 1)
    square = (rays**2).sum(-1)
    depth = torch.full_like(square, torch.inf)
    for person in joints:
        for (parent, child), radius in zip(BONES, BONE_RADIUS_M.tolist(), strict=True):
            start, end = person[parent], person[child]
            if min(float(start[2]), float(end[2])) - radius < MIN_DEPTH_M:
                continue
            middle, reach = (start + end) / 2, (end - start).norm() / 2 + radius
            near = torch.nonzero((rays @ middle) ** 2 >= square * (middle @ middle - reach**2))[:, 0]
            depth[near] = torch.minimum(depth[near], _entry(rays[near], start, end, radius))
    wall = torch.tensor(wall_m)
    depth = torch.where(depth.isinf(), wall, depth.minimum(torch.where(wall.isnan(), torch.inf, wall)))
    return depth.reshape(camera.height, camera.width)


@dataclass(frozen=True)
class DepthNoise:
    """What a depth sensor adds and loses.

    Attributes:
        sd: standard deviation of a pixel's error as a share of its depth.
        hole_share: share of the image in holes.
        hole_px: how wide these are, about.
        silhouette_px: nothing is measured so near a step in depth.
        step_m: the least step that counts.
    """

    sd: float = 0.02
    hole_share: float = 0.1
    hole_px: int = 8
    silhouette_px: int = 1
    step_m: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.sd < 1 and 0 <= self.hole_share < 1):
            raise ValueError(f"sd and hole_share must lie in 0..1, got {self.sd} and {self.hole_share}")
        if self.hole_px < 1 or self.silhouette_px < 0 or not self.step_m > 0:
            raise ValueError(
                "hole_px must be at least 1, silhouette_px at least 0 and step_m positive, "
                f"got {self.hole_px}, {self.silhouette_px} and {self.step_m}"
            )


def _silhouette(depth: Float[Tensor, "H W"], step_m: float, reach_px: int) -> Tensor:
    """Where a step in depth is at most ``reach_px`` pixels away."""
    far = torch.where(torch.isnan(depth), 1e6, depth)
    edge = torch.zeros_like(far, dtype=torch.bool)
    for axis in (0, 1):
        step = far.diff(dim=axis).abs() > step_m
        length = step.shape[axis]
        edge.narrow(axis, 0, length).logical_or_(step)
        edge.narrow(axis, 1, length).logical_or_(step)
    window = 2 * reach_px - 1
    grown = torch.nn.functional.max_pool2d(edge[None, None].float(), window, stride=1, padding=reach_px - 1)
    return grown[0, 0] > 0


def measure_depth(depth: Float[Tensor, "H W"], noise: DepthNoise, generator: torch.Generator) -> Float[Tensor, "H W"]:
    """Return a depth image as a sensor gives it: noisy, NaN in holes and at silhouettes."""
    measured = depth * (1 + noise.sd * torch.randn(depth.shape, generator=generator))
    coarse = torch.randn(1, 1, *(-(-s // noise.hole_px) + 1 for s in depth.shape), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=tuple(depth.shape), mode="bilinear", align_corners=False)
    holes = torch.zeros_like(depth, dtype=torch.bool)
    if noise.hole_share:
        holes = smooth[0, 0] > smooth.quantile(1 - noise.hole_share)
    if noise.silhouette_px:
        holes = holes | _silhouette(depth, noise.step_m, noise.silhouette_px)
    return torch.where(holes, torch.nan, measured)
