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
MIN_DEPTH_M = 0.05
MAX_ANGLE_RAD = math.radians(88)
"""Pixels further from the optical axis get the ray at this angle: at 90 degrees x/z is infinite."""
HALVINGS = 50


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels (integer coordinates are pixel centres) and lens distortion.

    Attributes:
        fx, fy: focal lengths, px.
        cx, cy: principal point, px.
        width, height: image size, px.
        distortion: coefficients in OpenCV's order; None, empty or all zeros for none, whatever the model (as
            image_geometry reads it): a fisheye lens with no term above the first is not expressible.
        model: name of the distortion model as in sensor_msgs/CameraInfo.

    Raises:
        ValueError: a field is not finite, not positive where it must be, or the
            principal point lies far outside the image.
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
        coefficients = tuple(float(d) for d in self.distortion or ())
        if not all(math.isfinite(d) for d in coefficients):
            raise ValueError(f"camera distortion must be finite, got {coefficients}")
        if coefficients and len(coefficients) not in DISTORTION_MODELS[self.model]:
            raise ValueError(
                f"camera distortion of {self.model} takes {DISTORTION_MODELS[self.model]} coefficients, "
                f"got {len(coefficients)}"
            )
        object.__setattr__(self, "distortion", coefficients if any(coefficients) else None)

    @classmethod
    def from_matrix(
        cls, matrix: Sequence[Sequence[float]] | Tensor, width: int, height: int,
        distortion: Sequence[float] | None = None, model: str = "plumb_bob",
    ) -> Camera:  # fmt: skip
        """Build from a 3x3 intrinsic matrix K; ``ValueError`` if K is not one (all zeros means uncalibrated)."""
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
            tuple(distortion) if distortion is not None else None, model,
        )  # fmt: skip

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_deg: float = 60.0) -> Camera:
        """Guess an undistorted camera from its horizontal field of view in degrees."""
        if not 1 <= horizontal_deg <= 170:
            raise ValueError(f"horizontal field of view must lie in 1..170 degrees, got {horizontal_deg}")
        f = 0.5 * width / math.tan(math.radians(horizontal_deg) / 2)
        return cls(f, f, (width - 1) / 2, (height - 1) / 2, width, height)

    def distort(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Apply the lens to normalised image coordinates (x/z, y/z)."""
        if self.distortion is None:
            return rays
        x, y = rays.unbind(-1)
        r2 = x * x + y * y
        if self.model == "equidistant":
            r = torch.sqrt(r2 + 1e-18)
            theta = torch.atan(r)
            bent = theta.clamp_max(self._valid_angle_rad)
            return rays * ((self._bend(bent) + (theta - bent)) / r)[..., None]
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0.0, 0.0, 0.0, 0.0)[:8]
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return torch.stack([x * radial + dx, y * radial + dy], dim=-1)

    @cached_property
    def _valid_angle_rad(self) -> float:
        """Angle to the optical axis up to which the equidistant model's image radius grows; at most 90 degrees.

        Beyond it a fitted polynomial would fold people at the rim back into the image; :meth:`distort` goes on with
        an ideal fisheye's slope there.
        """
        assert self.distortion is not None
        slope = np.polynomial.Polynomial([1, *(c * k for c, k in zip((3, 5, 7, 9), self.distortion, strict=True))])
        turns = [t.real for t in map(complex, slope.roots()) if abs(t.imag) < 1e-12 and t.real > 0]  # squared angles
        return min([math.pi / 2, *(math.sqrt(t) for t in turns)])

    def _bend(self, theta: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the radius on the image plane, in focal lengths, at an angle to the optical axis (Kannala-Brandt)."""
        k1, k2, k3, k4 = self.distortion or ()
        t2 = theta * theta
        return theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))

    def _fisheye_jacobian(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """Derivative of the equidistant :meth:`distort`: one factor across the radius, another along it.

        Central differences serve no more at wide angles, where the lens squeezes a large x/z into few pixels.
        """
        r = torch.sqrt((rays * rays).sum(-1) + 1e-18)
        theta = torch.atan(r)
        bent = theta.clamp_max(self._valid_angle_rad)
        t2 = bent * bent
        k1, k2, k3, k4 = self.distortion or ()
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        slope = torch.where(theta > bent, 1.0, slope)
        across = (self._bend(bent) + (theta - bent)) / r
        along = slope / (1 + r * r)
        direction = rays / r[..., None]
        eye = torch.eye(2, dtype=rays.dtype, device=rays.device)
        outer = direction[..., :, None] * direction[..., None, :]
        return across[..., None, None] * eye + (along - across)[..., None, None] * outer

    def _unbend(self, target: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Invert the equidistant model by bisection: it is monotone up to its valid angle."""
        radius = target.norm(dim=-1)
        low = torch.zeros_like(radius)
        high = torch.full_like(radius, min(self._valid_angle_rad, MAX_ANGLE_RAD))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            inside = self._bend(middle) < radius
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        return target * torch.where(radius > 1e-6, high.tan() / radius.clamp_min(1e-6), 1.0)[..., None]

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """Project metres in the optical frame to pixels; depth is clamped to at least 5 cm.

        What lies behind the camera is nowhere near its image then, also where a fisheye lens of more than 180 degrees
        would show it.
        """
        depth = points[..., 2:].clamp_min(MIN_DEPTH_M)
        pixels = self.distort(points[..., :2] / depth)
        return pixels * pixels.new_tensor([self.fx, self.fy]) + pixels.new_tensor([self.cx, self.cy])

    def unproject(self, pixels: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Return undistorted normalised coordinates (x/z, y/z) of pixels, by fixed-point iteration or bisection.

        Pixels that the equidistant model cannot reach, or beyond ``MAX_ANGLE_RAD``, get the ray at that limit.
        """
        target = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        rays = target
        if self.distortion is not None and self.model == "equidistant":
            return self._unbend(target)
        if self.distortion is not None:
            for _ in range(20):
                rays = rays + (target - self.distort(rays))
        return rays

    def jacobian(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2 3"]:
        """Derivative of :meth:`project` with respect to the point, px per metre."""
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
        if self.model == "equidistant":
            return (self._fisheye_jacobian(rays) @ pinhole) * focal
        # The lens is smooth and two-dimensional: central differences are exact to ~1e-6 and need no graph.
        step = 1e-3
        columns = []
        for axis in range(2):
            offset = torch.zeros(2, dtype=rays.dtype, device=rays.device)
            offset[axis] = step
            columns.append((self.distort(rays + offset) - self.distort(rays - offset)) / (2 * step))
        return (torch.stack(columns, -1) @ pinhole) * focal
