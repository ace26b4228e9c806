# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Joints that were looked for and not seen: they lie beyond the image's border, or behind a mask."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from diffpose_core.camera import MIN_DEPTH_M, Camera
from diffpose_core.checks import checked_std
from diffpose_core.likelihood.base import (
    Linearised,
    RootGuess,
    at_least,
    checked_pose,
    in_camera,
    joint_blocks,
    log_holds,
)
from diffpose_core.observation import MISSING

SURELY_PX = 1e4
"""Distance inside the hidden region of a joint behind the camera."""


class HiddenJoints:
    """Some joints are not in view: p(not seen | x) = missed + (1 - missed) p(projection in the hidden region).

    Args:
        hidden: bool [P, 17], joints that were not seen.
        camera: that did not see them.
        mask: bool [H, W], True where something stands before the people; None: only the world beyond the border hides.
        missed: probability that a joint in plain view is not seen.
        std_px: softness of the region's edge, px.
        camera_from_reference: [3, 4] metres, as in :class:`HeatmapLikelihood`.

    Raises:
        ValueError: naming the field that has a wrong shape, type or range.
    """

    def __init__(
        self, hidden: Tensor, camera: Camera, mask: Tensor | None = None, missed: float = 0.1, std_px: float = 5.0,
        camera_from_reference: Tensor | None = None,
    ) -> None:  # fmt: skip
        hidden = torch.as_tensor(hidden)
        if hidden.dtype != torch.bool or hidden.ndim != 2 or hidden.shape[1] != 17:
            raise ValueError(f"hidden must be bool of shape *x17, got {hidden.dtype} {tuple(hidden.shape)}")
        if not 0 < missed < 1:
            raise ValueError(f"missed must lie between 0 and 1, got {missed}")
        self.hidden, self.camera, self.missed = hidden, camera, missed
        self.std_px = float(checked_std("std_px", std_px, ()))
        self.mask = mask
        self._depth_px: Tensor | None = None
        if mask is not None:
            mask = torch.as_tensor(mask)
            if mask.dtype != torch.bool or mask.shape != (camera.height, camera.width):
                wanted = f"{camera.height}x{camera.width}, as the camera's image"
                raise ValueError(f"mask must be bool of shape {wanted}, got {mask.dtype} {tuple(mask.shape)}")
            self._depth_px = _signed_distance(mask).to(hidden.device)
        self.camera_from_reference = checked_pose(camera_from_reference, hidden.device)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.hidden)

    def to(self, device: torch.device) -> HiddenJoints:
        """Return a copy on ``device``."""
        moved = HiddenJoints(
            self.hidden.to(device), self.camera, None, self.missed, self.std_px, self.camera_from_reference
        )
        moved.mask = self.mask
        # Measured once: the distances of a large mask cost more than an inference's other preparations.
        moved._depth_px = None if self._depth_px is None else self._depth_px.to(device)
        return moved

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        where = "the image" if self.mask is None else "the image or behind the mask"
        return f"{int(self.hidden.sum())} joints of {self.persons} persons beyond {where}, missed {self.missed:g}"

    def status(self) -> Int[Tensor, "P 17"]:
        """MISSING: what is not seen is not placed."""
        return torch.full(self.hidden.shape, MISSING, device=self.hidden.device)

    def _inside(self, points: Float[Tensor, "P S 17 3"]) -> tuple[Tensor, Tensor]:
        """How deep inside the hidden region points project, px (negative in plain view), and the gradient by pixels."""
        pixels = self.camera.project(points)
        width, height = self.camera.width, self.camera.height
        x, y = pixels.detach().unbind(-1)
        beyond = torch.stack([-0.5 - x, x - (width - 0.5), -0.5 - y, y - (height - 0.5)], -1)
        side = beyond.argmax(-1)
        normal = pixels.new_tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])[side]
        if self._depth_px is not None:
            column, row = x.round().clamp(0, width - 1).long(), y.round().clamp(0, height - 1).long()
            masked = self._depth_px[row, column]
            right, left = ((column + d).clamp(0, width - 1) for d in (1, -1))
            low, high = ((row + d).clamp(0, height - 1) for d in (1, -1))
            field = self._depth_px
            slope = torch.stack([field[row, right] - field[row, left], field[low, column] - field[high, column]], -1)
            slope = slope / slope.norm(dim=-1, keepdim=True).clamp_min(1e-6)
            masked = masked + ((x - column) * slope[..., 0] + (y - row) * slope[..., 1]).clamp(-1, 1)
            deeper = masked > beyond.amax(-1)
            normal = torch.where(deeper[..., None], slope, normal)
            start = torch.where(deeper, masked, beyond.amax(-1))
        else:
            start = beyond.amax(-1)
        # The value at the pixel, with the gradient's slope for whoever differentiates.
        inside = start + ((pixels - pixels.detach()) * normal).sum(-1)
        return torch.where(points[..., 2] < MIN_DEPTH_M, SURELY_PX, inside), normal

    def _rows(self, points: Tensor, normal: Tensor) -> Tensor:
        """Derivative [P, S, 17, 3] of the depth inside the region by the joints."""
        rows = (normal[..., None, :] @ self.camera.jacobian(points))[..., 0, :]
        return rows if self.camera_from_reference is None else rows @ self.camera_from_reference[:, :3]

    def _log_not_seen(self, inside: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(not seen), and log p(hidden | not seen)."""
        held = log_holds(inside, variance, self.std_px) + math.log1p(-self.missed)
        total = torch.logaddexp(held, torch.full_like(held, math.log(self.missed)))
        return total, held - total

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Whether a joint is hidden or was missed is drawn; hidden, it is bound to its region's nearest edge."""
        points = in_camera(joints + root[:, :, None], self.camera_from_reference)
        inside, normal = self._inside(points)
        rows = self._rows(points, normal)
        variance = _along(rows, covariance)
        total, held = self._log_not_seen(inside, variance)
        counts = torch.rand(held.shape, generator=generator, device=held.device) < held.exp()
        counts = counts & self.hidden[:, None]
        bound = at_least(inside, variance, self.std_px)
        root_jacobian = (counts * bound.whitener)[..., None] * rows
        jacobian = root_jacobian[..., None, :] * torch.eye(17, device=rows.device)[..., None]
        scale = total - torch.where(counts, bound.log_effect, 0.0)
        return Linearised(
            counts * bound.residual, jacobian.flatten(-2), root_jacobian,
            torch.where(self.hidden[:, None], scale, 0.0).sum(-1),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of the log probabilities that the joints are not seen."""
        points = in_camera(joints, self.camera_from_reference)
        inside, normal = self._inside(points)
        total, _ = self._log_not_seen(inside, _along(self._rows(points.detach(), normal), covariance))
        return torch.where(self.hidden[:, None], total, 0.0).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """What is not seen does not place the root."""
        return None

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root


def _along(rows: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]) -> Float[Tensor, "P S 17"]:
    """Variance of every joint along a row."""
    blocks = joint_blocks(covariance).diagonal(dim1=0, dim2=2)
    return torch.einsum("psja,abj,psjb->psj", rows, blocks, rows)


def _signed_distance(mask: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Distance to the mask's edge, px: positive inside, negative outside; far outside where nothing is masked."""
    inside = mask.cpu().numpy()
    if not inside.any():
        return torch.full(mask.shape, -SURELY_PX)
    if inside.all():
        return torch.full(mask.shape, SURELY_PX)
    return torch.as_tensor(distance_transform_edt(inside) - distance_transform_edt(~inside), dtype=torch.float32)
