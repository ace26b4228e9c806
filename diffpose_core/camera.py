"""The one camera model: pinhole with the lens distortions of OpenCV and ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Number of coefficients each sensor_msgs/CameraInfo distortion_model carries.
DISTORTION_MODELS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
MIN_DEPTH_M = 0.05


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels (integer coordinates are pixel centres) and lens distortion.

    Attributes:
        fx, fy: focal lengths, px.
        cx, cy: principal point, px.
        width, height: image size, px.
        distortion: coefficients in OpenCV's order; None or empty for none.
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
            k1, k2, k3, k4 = self.distortion
            r = torch.sqrt(r2 + 1e-18)
            theta = torch.atan(r)
            t2 = theta * theta
            ratio = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) / r
            return rays * ratio[..., None]
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0.0, 0.0, 0.0, 0.0)[:8]
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return torch.stack([x * radial + dx, y * radial + dy], dim=-1)

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """Project metres in the optical frame to pixels; depth is clamped to at least 5 cm."""
        depth = points[..., 2:].clamp_min(MIN_DEPTH_M)
        pixels = self.distort(points[..., :2] / depth)
        return pixels * pixels.new_tensor([self.fx, self.fy]) + pixels.new_tensor([self.cx, self.cy])

    def unproject(self, pixels: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Return undistorted normalised coordinates (x/z, y/z) of pixels, by fixed-point iteration."""
        target = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        rays = target
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
        # The lens is smooth and two-dimensional: central differences are exact to ~1e-6 and need no graph.
        step = 1e-3
        columns = []
        for axis in range(2):
            offset = torch.zeros(2, dtype=rays.dtype, device=rays.device)
            offset[axis] = step
            columns.append((self.distort(rays + offset) - self.distort(rays - offset)) / (2 * step))
        return (torch.stack(columns, -1) @ pinhole) * focal
