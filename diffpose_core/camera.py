# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one camera model: pinhole with the lens distortions of OpenCV and ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Number of coefficients each sensor_msgs/CameraInfo distortion_model carries.
DISTORTION_MODELS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
MAX_COEFFICIENT = 1e6
"""Of distortion: no lens is near it, and far beyond it pixels are no numbers any more."""
MIN_DEPTH_M = 0.05
MIN_SLOPE = 0.1
"""Image radius per angle, in focal lengths per radian, below which a fisheye polynomial is about to fold."""
MAX_ANGLE_RAD = math.radians(88)
"""Pixels further from the optical axis get the ray at this angle: at 90 degrees x/z is infinite."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels (integer coordinates are pixel centres) and lens distortion.

    Attributes:
        fx, fy: focal lengths, px.
        cx, cy: principal point, px.
        width, height: image size, px.
        distortion: coefficients in OpenCV's order; None, empty or all zeros for none, whatever the model (as
            image_geometry reads it): a fisheye lens with no term above the first is not expressible.
        model: name of the distortion model as in sensor_msgs/CameraInfo. ``equidistant`` is the fisheye of Kannala and
            Brandt (PAMI 2006) with OpenCV's four coefficients.

    Raises:
        ValueError: a field is not finite, not positive where it must be, the principal point lies far outside the
            image, or the model is unknown or has another number of coefficients.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: Sequence[float] | None = None
    model: str = "plumb_bob"

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "width", "height"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"camera {name} must be positive and finite, got {value}")
        for name, size in (("cx", self.width), ("cy", self.height)):
            value = getattr(self, name)
            if not (math.isfinite(value) and -size <= value <= 2 * size):
                raise ValueError(
                    f"camera {name} must lie within one image size of the image, got {value} for size {size}"
                )
        if self.model not in DISTORTION_MODELS:
            raise ValueError(f"camera distortion model must be one of {sorted(DISTORTION_MODELS)}, got {self.model!r}")
        coefficients = () if self.distortion is None else tuple(float(d) for d in self.distortion)
        if not all(abs(d) <= MAX_COEFFICIENT for d in coefficients):
            raise ValueError(f"camera distortion must be finite and at most {MAX_COEFFICIENT:g}, got {coefficients}")
        if coefficients and len(coefficients) not in DISTORTION_MODELS[self.model]:
            raise ValueError(
                f"camera distortion of {self.model} takes {DISTORTION_MODELS[self.model]} coefficients, "
                f"got {len(coefficients)}"
            )
        object.__setattr__(self, "distortion", coefficients if any(coefficients) else None)

    @classmethod
    def from_matrix(
        cls, matrix: Sequence[Sequence[float]] | Tensor, width: int, height: int,
        distortion: Sequence[float] | np.ndarray | Tensor | None = None, model: str = "plumb_bob",
    ) -> Camera:  # fmt: skip
        """Build from a 3x3 intrinsic matrix K and coefficients as OpenCV gives them.

        Raises:
            ValueError: K is not such a matrix (all zeros means uncalibrated), or as of the class.
        """
        k = torch.as_tensor(matrix, dtype=torch.float64)
        if k.shape != (3, 3):
            raise ValueError(f"camera matrix K must be 3x3, got shape {tuple(k.shape)}")
        if not torch.isfinite(k).all():
            raise ValueError(f"camera matrix K must be finite, got {k.tolist()}")
        if not k.any():
            raise ValueError("camera matrix K is all zeros: the camera is uncalibrated")
        if k[0, 1] != 0 or k[1, 0] != 0 or k[2].tolist() != [0, 0, 1]:
            raise ValueError(f"camera matrix K must be [[fx,0,cx],[0,fy,cy],[0,0,1]], got {k.tolist()}")
        return cls(
            float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), width, height,
            None if distortion is None else torch.as_tensor(distortion, dtype=torch.float64).flatten().tolist(), model,
        )  # fmt: skip

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_deg: float = 60.0) -> Camera:
        """Guess an undistorted camera from its horizontal field of view in degrees."""
        if not 1 <= horizontal_deg <= 170:
            raise ValueError(f"horizontal field of view must lie in 1..170 degrees, got {horizontal_deg}")
        f = 0.5 * width / math.tan(math.radians(horizontal_deg) / 2)
        return cls(f, f, (width - 1) / 2, (height - 1) / 2, width, height)

    @property
    def _is_fisheye(self) -> bool:
        return self.model == "equidistant" and self.distortion is not None

    @cached_property
    def valid_angle_rad(self) -> float:
        """Angle off the axis, radians, up to which an equidistant lens is valid: beyond it the polynomial folds."""
        angles = torch.linspace(0, math.pi, 3143, dtype=torch.float64)
        flat = torch.nonzero(~(self._slope(angles) >= MIN_SLOPE))
        return float(angles[max(int(flat[0]) - 1, 0)]) if len(flat) else math.pi

    def _slope(self, angle: Tensor) -> Tensor:
        """Derivative of a fisheye's image radius by the angle within the valid ones."""
        k1, k2, k3, k4 = self.distortion or (0.0,) * 4
        t2 = angle * angle
        return 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))

    def _radius(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Return a fisheye's image radius in focal lengths, and its derivative by the angle, radians."""
        k1, k2, k3, k4 = self.distortion or (0.0,) * 4
        valid = angle.clamp_max(self.valid_angle_rad)
        t2 = valid * valid
        slope = self._slope(valid)
        # On along the tangent: outwards, so that what the lens cannot see does not come back into the image.
        return valid * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) + slope * (angle - valid), slope

    def _angle(self, radius: Tensor) -> Tensor:
        """Invert :meth:`_radius`: bisection, and one step of Newton for the last digits and the derivative."""
        with torch.no_grad():
            low, high = torch.zeros_like(radius), torch.full_like(radius, math.pi)
            for _ in range(24):
                angle = (low + high) / 2
                below = self._radius(angle)[0] < radius
                low, high = torch.where(below, angle, low), torch.where(below, high, angle)
        reached, slope = self._radius(low)
        return low + (radius - reached) / slope

    def _fisheye(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        across = _norm(points[..., :2])
        radius, _ = self._radius(torch.atan2(across, points[..., 2]))
        return points[..., :2] * (radius / across)[..., None]

    def distort(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Apply the lens to normalised image coordinates (x/z, y/z)."""
        if self.distortion is None:
            return rays
        if self._is_fisheye:
            return self._fisheye(torch.nn.functional.pad(rays, (0, 1), value=1.0))
        x, y = rays.unbind(-1)
        r2 = x * x + y * y
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0.0, 0.0, 0.0, 0.0)[:8]
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return torch.stack([x * radial + dx, y * radial + dy], dim=-1)

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """Project metres in the optical frame to pixels; depth is clamped to at least 5 cm.

        Equidistant: exact for any depth, by the angle off the axis; beyond ``valid_angle_rad`` the image radius grows
        on linearly.
        """
        if self._is_fisheye:
            pixels = self._fisheye(points)
        else:
            depth = points[..., 2:].clamp_min(MIN_DEPTH_M)
            pixels = self.distort(points[..., :2] / depth)
        return pixels * pixels.new_tensor([self.fx, self.fy]) + pixels.new_tensor([self.cx, self.cy])

    def unproject(self, pixels: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Return undistorted normalised coordinates (x/z, y/z) of pixels, by fixed-point iteration.

        Equidistant: exact up to ``MAX_ANGLE_RAD``. Wider pixels get the widest ray in their direction.
        """
        target = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        if self._is_fisheye:
            radius = _norm(target)
            return target * (torch.tan(self._angle(radius).clamp_max(MAX_ANGLE_RAD)) / radius)[..., None]
        rays = target
        if self.distortion is not None:
            for _ in range(20):
                rays = rays + (target - self.distort(rays))
        return rays

    def jacobian(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2 3"]:
        """Derivative of :meth:`project` with respect to the point, px per metre."""
        if self._is_fisheye:
            return self._fisheye_jacobian(points) * points.new_tensor([[self.fx], [self.fy]])
        depth = points[..., 2].clamp_min(MIN_DEPTH_M)
        rays = points[..., :2] / depth[..., None]
        zero = torch.zeros_like(depth)
        pinhole = torch.stack(
            [
                torch.stack([1 / depth, zero, -rays[..., 0] / depth], -1),
                torch.stack([zero, 1 / depth, -rays[..., 1] / depth], -1),
            ],
            -2,
        )
        focal = pinhole.new_tensor([[self.fx], [self.fy]])
        if self.distortion is None:
            return pinhole * focal
        # The lens is smooth and two-dimensional: central differences are exact to ~1e-6 and need no graph.
        step = 1e-3
        columns = []
        for axis in range(2):
            offset = torch.zeros(2, dtype=rays.dtype, device=rays.device)
            offset[axis] = step
            columns.append((self.distort(rays + offset) - self.distort(rays - offset)) / (2 * step))
        return (torch.stack(columns, -1) @ pinhole) * focal

    def _fisheye_jacobian(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2 3"]:
        across, depth = _norm(points[..., :2]), points[..., 2]
        radius, slope = self._radius(torch.atan2(across, depth))
        outwards = points[..., :2] / across[..., None]
        radial = outwards[..., :, None] * outwards[..., None, :]
        around = torch.eye(2, dtype=points.dtype, device=points.device) - radial
        per_angle = slope / (across**2 + depth**2).clamp_min(MIN_DEPTH_M**2)
        lateral = radial * (per_angle * depth)[..., None, None] + around * (radius / across)[..., None, None]
        return torch.cat([lateral, (-outwards * (per_angle * across)[..., None])[..., None]], -1)


def _norm(xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Length, differentiable at zero."""
    return torch.sqrt((xy * xy).sum(-1) + 1e-18)
