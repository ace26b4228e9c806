# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Measured depth: of joints, or a depth image aligned with the camera's."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.body import JOINT_RADIUS_M
from diffpose_core.camera import Camera
from diffpose_core.checks import checked, checked_std
from diffpose_core.likelihood.base import Linearised, RootGuess, checked_pose, in_camera, joint_blocks
from diffpose_core.observation import MISSING
from diffpose_core.skeleton import H36M17

MIN_DEPTH_M, MAX_DEPTH_M = 0.1, 65.535
"""Readings beyond these are holes: 65.535 m is the last value of 16 bits of millimetres."""
MAX_JOINT_DEPTH_M = 200.0
"""No sensor sees people's joints further off: other units than metres are refused."""
SPAN_M = 8.0
"""Depths over which an outlier's reading is uniform: a room."""
GUESS_SD_M = 0.15
"""How far a joint's depth is from the root's, less what the pose says, while the pose is not known yet."""

GATE = 0.3
"""Readings further off where the other observations place the person are not of it: a share of the distance."""
PATCH = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
"""[25, 2] pixels about a joint's that are read with it: a single one's noise would be all that is known of it."""
ALIKE_SDS = 3.0
"""Readings of a patch that differ more are of something else."""


class _Readings(NamedTuple):
    """Depths of the joints' centres as measured for every hypothesis."""

    depth_m: Float[Tensor, "P S 17"]
    variance: Float[Tensor, "P S 17"]
    known: Tensor


class _Depth:
    """Robust depth readings of joints: Gaussian about the joint's depth, or anything (something else was measured)."""

    camera_from_reference: Tensor | None
    outlier: float
    device: torch.device

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        raise NotImplementedError

    def _readings(self, points: Tensor) -> _Readings:
        """Readings for joints [P, S, 17, 3] in the camera's frame."""
        raise NotImplementedError

    def _axis(self) -> Tensor:
        """The optical axis in the reference frame."""
        if self.camera_from_reference is None:
            return torch.tensor([0.0, 0.0, 1.0], device=self.device)
        return self.camera_from_reference[2, :3]

    def _logs(self, depth: Tensor, readings: _Readings, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities (per metre) of a reading that is of the joint, and of an outlier."""
        axis = self._axis()
        blocks = joint_blocks(covariance).diagonal(dim1=0, dim2=2)
        variance = readings.variance + torch.einsum("a,abj,b->j", axis, blocks, axis)
        gauss = -0.5 * ((readings.depth_m - depth) ** 2 / variance + torch.log(2 * math.pi * variance))
        inlier = gauss + math.log1p(-self.outlier)
        return inlier, torch.full_like(inlier, math.log(self.outlier / SPAN_M))

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linear in the joints; whether a reading is an outlier is drawn by its responsibility."""
        persons, samples = joints.shape[:2]
        points = in_camera(joints + root[:, :, None], self.camera_from_reference)
        readings = self._readings(points)
        depth = points[..., 2]
        inlier, outlier = self._logs(depth, readings, covariance)
        both = torch.logaddexp(inlier, outlier)
        uniform = torch.rand(inlier.shape, generator=generator, device=inlier.device)
        wrong = uniform < (outlier - both).exp()
        drawn = torch.where(wrong, outlier, inlier) - both
        whitener = (readings.known & ~wrong) * readings.variance.rsqrt()
        rows = (whitener[..., None, None] * torch.eye(17, device=depth.device)[..., None]) * self._axis()
        # Relative to the density of a reading that is just the joint's depth.
        exact = math.log1p(-self.outlier) - 0.5 * torch.log(2 * math.pi * readings.variance)
        scale = torch.where(wrong, outlier, exact) - torch.logaddexp(exact, outlier) - drawn
        return Linearised(
            whitener * (readings.depth_m - depth), rows.flatten(-2),
            (whitener[..., None] * self._axis()).expand(persons, samples, 17, 3),
            torch.where(readings.known, scale, 0.0).sum(-1),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of the readings' log densities, per metre."""
        points = in_camera(joints, self.camera_from_reference)
        readings = self._readings(points.detach())
        inlier, outlier = self._logs(points[..., 2], readings, covariance)
        return torch.where(readings.known, torch.logaddexp(inlier, outlier), 0.0).sum(-1)

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root

    def status(self) -> Int[Tensor, "P 17"]:
        """MISSING: a depth alone places no joint."""
        return torch.full((self.persons, len(H36M17)), MISSING, device=self.device)

    def _guess(self, offset: Tensor, variance: Tensor, known: Tensor) -> RootGuess:
        """The root's depth by readings less the joints' own depths [P, S, 17]; across the axis nothing is said."""
        # A median: outliers are many while the pose is not known.
        middle = offset.masked_fill(~known, torch.nan).nanmedian(-1).values.nan_to_num()
        count = known.sum(-1)
        sd2 = GUESS_SD_M**2 + torch.where(known, variance, 0.0).sum(-1) / count.clamp_min(1)
        axis = self._axis()
        position = middle[..., None] * axis
        if self.camera_from_reference is not None:
            position = position - self.camera_from_reference[2, 3] * axis
        return RootGuess(position, ((count > 0) / sd2)[..., None, None] * torch.outer(axis, axis))


class JointDepth(_Depth):
    """Depths of joints' centres along the optical axis.

    Args:
        depth_m: [P, 17] metres; NaN where not measured.
        std_m: standard deviation, one number or [P, 17].
        camera_from_reference: [3, 4] metres, as in :class:`HeatmapLikelihood`.
        outlier: probability that a reading is of something else.

    Raises:
        ValueError: naming the field that has a wrong shape or range.
    """

    def __init__(
        self, depth_m: Tensor, std_m: float | Tensor, camera_from_reference: Tensor | None = None, outlier: float = 0.02
    ) -> None:
        depth = checked("depth_m", depth_m, (None, len(H36M17)), allow_nan=True)
        self.known = ~torch.isnan(depth)
        wrong = depth[(depth <= 0) | (depth > MAX_JOINT_DEPTH_M)]
        if len(wrong):
            raise ValueError(f"depth_m must be metres above 0, at most {MAX_JOINT_DEPTH_M:g}, got {float(wrong[0]):g}")
        self.std_m = checked_std("std_m", std_m, tuple(depth.shape), self.known).to(depth.device)
        self.depth_m = torch.where(self.known, depth, 0.0)
        self.outlier = _probability("outlier", outlier)
        self.device = depth.device
        self.camera_from_reference = checked_pose(camera_from_reference, self.device)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.depth_m)

    def to(self, device: torch.device) -> JointDepth:
        """Return a copy on ``device``."""
        depth = torch.where(self.known, self.depth_m, torch.nan)
        return JointDepth(depth.to(device), self.std_m.to(device), self.camera_from_reference, self.outlier)

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        sd_mm = 1000 * float(self.std_m[self.known].median()) if self.known.any() else float("nan")
        return f"depths of {int(self.known.sum())} joints of {self.persons} persons, std {sd_mm:.0f} mm"

    def _readings(self, points: Tensor) -> _Readings:
        shape = points.shape[:-1]
        return _Readings(*(v[:, None].expand(shape) for v in (self.depth_m, self.std_m**2, self.known)))

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """The root's depth, from the readings and the joints' depths relative to it."""
        readings = self._readings(joints)
        return self._guess(readings.depth_m - joints @ self._axis(), readings.variance, readings.known)


class DepthImage(_Depth):
    """A depth image aligned with the camera: what every hypothesis' joints would measure at their own pixels.

    The sensor sees the body's surface, about the joint's radius (``diffpose_core.body``) before its centre. Read is the
    mean of up to 5 x 5 pixels, no further off than that radius and of like depth. Readings of something else (an
    occluder, the wall behind, the person's own arm) are outliers.

    Args:
        depth_m: [H, W] metres along the optical axis; 0 or NaN is a hole.
        camera: of the depth image; its size is the image's.
        persons: P, who share the image.
        noise: standard deviation of a pixel, as a share of its depth.
        surface_std_m: of the surface's distance from the joint.
        outlier: probability that a reading is of something else.
        camera_from_reference: [3, 4] metres, as in :class:`HeatmapLikelihood`.
        noise_width_px: of the patches in which pixels err alike, as after stereo matching; 1 if each errs by itself.

    Raises:
        ValueError: naming the field that has a wrong shape or range.
    """

    def __init__(
        self, depth_m: Tensor, camera: Camera, persons: int, noise: float = 0.02, surface_std_m: float = 0.04,
        outlier: float = 0.2, camera_from_reference: Tensor | None = None, noise_width_px: float = 5.0,
    ) -> None:  # fmt: skip
        depth = checked("depth_m", depth_m, (camera.height, camera.width), allow_nan=True)
        if (depth < 0).any():
            raise ValueError(f"depth_m must not be negative, got {float(depth.nan_to_num().min())}")
        if persons < 0:
            raise ValueError(f"persons must not be negative, got {persons}")
        for name, value in (("noise", noise), ("surface_std_m", surface_std_m)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not (math.isfinite(noise_width_px) and noise_width_px >= 1):
            raise ValueError(f"noise_width_px must be finite and at least 1, got {noise_width_px}")
        hole = torch.isnan(depth) | (depth < MIN_DEPTH_M) | (depth > MAX_DEPTH_M)
        beyond = depth[depth > MAX_DEPTH_M]
        if hole.all() and len(beyond):  # millimetres would be one large hole
            raise ValueError(f"depth_m must be metres, but its least reading is {float(beyond.min()):g}")
        self.depth_m = torch.where(hole, 0.0, depth)
        self.camera, self.noise, self.surface_std_m = camera, noise, surface_std_m
        self.outlier, self.noise_width_px = _probability("outlier", outlier), noise_width_px
        self._persons = persons
        self.device = depth.device
        self.camera_from_reference = checked_pose(camera_from_reference, self.device)
        self._radius_m = JOINT_RADIUS_M.to(self.device)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return self._persons

    def to(self, device: torch.device) -> DepthImage:
        """Return a copy on ``device``."""
        return DepthImage(
            self.depth_m.to(device), self.camera, self.persons, self.noise, self.surface_std_m, self.outlier,
            self.camera_from_reference, self.noise_width_px,
        )  # fmt: skip

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        filled = 100 * float((self.depth_m > 0).float().mean())
        size = f"{self.camera.width}x{self.camera.height}"
        return (
            f"depth image of {size} px, {filled:.0f} % filled, noise {100 * self.noise:g} %, of {self.persons} persons"
        )

    def _readings(self, points: Tensor) -> _Readings:
        pixels = self.camera.project(points).round()
        limit = pixels.new_tensor([self.camera.width - 1, self.camera.height - 1])
        inside = ((pixels >= 0) & (pixels <= limit)).all(-1) & (points[..., 2] > MIN_DEPTH_M)
        at = torch.minimum(pixels.clamp_min(0), limit).long()
        middle = self.depth_m[at[..., 1], at[..., 0]]
        known = inside & (middle > 0)
        patch = PATCH.to(at.device)
        near = at[..., None, :] + patch
        within = ((near >= 0) & (near <= limit)).all(-1)
        near = torch.minimum(near.clamp_min(0), limit.long())
        depth, middle = self.depth_m[near[..., 1], near[..., 0]], middle[..., None]
        reach_m = patch.float().norm(dim=-1) * middle / min(self.camera.fx, self.camera.fy)
        step_m = ALIKE_SDS * (2 * (self.noise * middle) ** 2 + self.surface_std_m**2).sqrt()
        one = within & (depth > 0) & (reach_m <= self._radius_m[:, None]) & ((depth - middle).abs() <= step_m)
        count = one.sum(-1).clamp_min(1)
        surface = torch.where(one, depth, 0.0).sum(-1) / count
        fresh = (count / self.noise_width_px**2).clamp_min(1.0)
        variance = (self.noise * surface) ** 2 / fresh + self.surface_std_m**2
        return _Readings(surface + self._radius_m, variance, known)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """The root's depth, from the readings where the observations before this one guess the joints to be."""
        if so_far is None:
            return None
        points = in_camera(joints + so_far[:, :, None], self.camera_from_reference)
        readings = self._readings(points)
        # The wall that most joints of a pose not yet known may see is too far off to be the person.
        near = (readings.depth_m - points[..., 2]).abs() < GATE * points[..., 2]
        return self._guess(readings.depth_m - joints @ self._axis(), readings.variance, readings.known & near)


def _probability(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")
    return value
