# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""2D heatmaps through a camera."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.heatmap import LOG_TWO_PI, Heatmaps
from diffpose_core.likelihood.base import Linearised, RootGuess, checked_pose, in_camera, joint_blocks
from diffpose_core.observation import ObservationModel
from diffpose_core.skeleton import COCO17, Skeleton

MIN_GUESS_M, MAX_GUESS_M = 0.3, 200.0
"""Depths between which a first guess of the root is believed."""
MIN_ROOT_DEPTH_M = 0.3
MAX_RAY = 1e3
"""Largest x/z or y/z of a keypoint: far beyond any lens."""
GUESS_ACROSS_M, GUESS_DEPTH = 0.1, 0.1
"""How far a first guess is off: across the view in metres, along it as a share of the distance."""


def _inverse_factor(covariance: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 2 2"]:
    """Inverse of the lower Cholesky factor."""
    a = covariance[..., 0, 0].rsqrt()
    slope = covariance[..., 0, 1] * a * a
    c = (covariance[..., 1, 1] - slope * covariance[..., 0, 1]).rsqrt()
    return torch.stack([a, torch.zeros_like(a), -c * slope, c], -1).unflatten(-1, (2, 2))


class _RayFit:
    """What a first guess of the root takes from the heatmaps alone, once."""

    def __init__(self, heat: Heatmaps, camera: Camera) -> None:
        best = heat.weights.argmax(-1)[..., None, None]
        rays = camera.unproject(heat.means.gather(2, best.expand(*best.shape[:-1], 2))[:, :, 0])
        # Beyond what a lens can see its formula cannot be inverted: a keypoint that lies there says nothing here.
        usable = rays.abs().amax(-1) < MAX_RAY
        rays = torch.where(usable[..., None], rays, 0.0)
        weight = usable * (heat.seen * heat.visibility * (1 - heat.outlier) + 1e-9)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-12)
        mean = (weight[..., None] * rays).sum(1, keepdim=True)
        # (X + T)_xy = ray (X + T)_z  =>  [1 0 -u; 0 1 -v] T = [-1 0 u; 0 -1 v] X
        rows = torch.zeros(*rays.shape, 3, device=rays.device)
        rows[..., 0, 0] = rows[..., 1, 1] = 1
        rows[..., 2] = -rays
        weighted = weight[..., None, None] * rows
        normal = (weighted.mT @ rows).sum(1) + 1e-6 * torch.eye(3, device=rays.device)
        self.from_points = torch.linalg.solve(normal[:, None], -weighted.mT @ rows).mT.flatten(1, 2)
        """[P, K * 3, 3]: the root of flattened keypoints, as a row, is the product of both."""
        self.weight = weight[:, None, None]
        self.mean_ray = torch.nn.functional.pad(mean, (0, 1), value=1.0)[:, None]
        self.spread = (weight[..., None] * (rays - mean) ** 2).sum((1, 2)).sqrt().clamp_min(1e-6)[:, None, None]
        self.informed = ((usable & heat.seen).sum(-1) >= 2)[:, None, None]
        self.seen = heat.seen.any(-1)[:, None, None]
        variance = heat.covariances.diagonal(dim1=-2, dim2=-1).mean((-1, -2))
        self.across_px2 = 1 / (heat.seen / variance).sum(-1).clamp_min(1e-12)
        """[P], variance of the rays' mean."""


class HeatmapLikelihood:
    """p(heatmaps | pose): every keypoint's density at its projection, with the skeletons' offset added.

    Args:
        heatmaps: of P persons.
        camera: that saw them.
        camera_from_reference: [3, 4] rigid transform in metres, reference frame to this camera's optical frame. None:
            the reference frame is this camera's. Several calibrated cameras are several of these likelihoods.

    Raises:
        ValueError: ``camera_from_reference`` is not a rigid transform.
    """

    def __init__(self, heatmaps: Heatmaps, camera: Camera, camera_from_reference: Tensor | None = None) -> None:
        self.heatmaps = heatmaps
        self.camera = camera
        device = heatmaps.visibility.device
        self.camera_from_reference = checked_pose(camera_from_reference, device)
        self.model = ObservationModel.of(heatmaps.skeleton)
        self._weights = self.model.weights.to(device)
        self._offset_sd_m = self.model.offset_sd_m.to(device)
        self._focal = 0.5 * (camera.fx + camera.fy)
        self._rays = _RayFit(heatmaps, camera)
        heaviest = heatmaps.weights.argmax(-1)[..., None, None, None].expand(*heatmaps.visibility.shape, 1, 2, 2)
        factor = _inverse_factor(heatmaps.covariances.gather(2, heaviest)[:, :, 0])
        peak = torch.log(factor[..., 0, 0] * factor[..., 1, 1]) - LOG_TWO_PI
        peak = peak + torch.log(heatmaps.weights.amax(-1) * (1 - heatmaps.outlier)).clamp_min(-1e4)
        self._peak_height = torch.logaddexp(peak, torch.log(heatmaps.outlier.clamp_min(1e-12) / heatmaps.area[:, None]))

    @classmethod
    def from_keypoints(
        cls, xy: Tensor, covariance: Tensor, visibility: Tensor, camera: Camera,
        skeleton: Skeleton = COCO17, camera_from_reference: Tensor | None = None,
    ) -> HeatmapLikelihood:  # fmt: skip
        """2D keypoints [P, K, 2] px with covariances [P, K, 2, 2] px^2: heatmaps of one peak each.

        Raises:
            ValueError: as :meth:`Heatmaps.from_keypoints`.
        """
        return cls(Heatmaps.from_keypoints(xy, covariance, visibility, skeleton), camera, camera_from_reference)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.heatmaps)

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        heat = self.heatmaps
        sigma = heat.covariances.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
        typical = float(sigma[heat.seen].median()) if heat.seen.any() else float("nan")
        size = f"{self.camera.width}x{self.camera.height}"
        return (
            f"heatmaps of {int(heat.seen.sum())} {heat.skeleton.name} keypoints of {len(heat)} persons in {size} px, "
            f"sigma {typical:.1f} px"
        )

    def to(self, device: torch.device) -> HeatmapLikelihood:
        """Return a copy on ``device``."""
        return HeatmapLikelihood(self.heatmaps.to(device), self.camera, self.camera_from_reference)

    def status(self) -> Int[Tensor, "P 17"]:
        """OBSERVED, INFERRED or MISSING per joint."""
        return self.model.status(self.heatmaps.visibility)

    def _keypoints(self, joints: Tensor) -> Tensor:
        return torch.einsum("kj,psjc->pskc", self._weights, joints)

    def _keypoint_covariance(self, covariance: Tensor) -> Tensor:
        return torch.einsum("ki,iajb,kj->kab", self._weights, joint_blocks(covariance), self._weights)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linearise the projection; one mode per joint and hypothesis is drawn by its responsibility."""
        heat = self.heatmaps
        points = in_camera(self._keypoints(joints) + root[:, :, None], self.camera_from_reference)
        pixels = self.camera.project(points)
        jacobian = self.camera.jacobian(points)
        if self.camera_from_reference is not None:
            jacobian = jacobian @ self.camera_from_reference[:, :3]
        predicted = torch.einsum("pskab,kbc,pskdc->pskad", jacobian, self._keypoint_covariance(covariance), jacobian)
        offset_px = self._focal * self._offset_sd_m / points[..., 2].clamp_min(0.1)
        eye = torch.eye(2, device=pixels.device)
        offset = (offset_px**2)[..., None, None] * eye
        means, covs = heat.means[:, None], heat.covariances[:, None] + offset[..., None, :, :]
        logs = heat.mode_log_density(pixels, means, covs + predicted[..., None, :, :])
        logs = (
            logs + torch.log(heat.weights)[:, None] + torch.log1p(-heat.outlier.clamp_max(1 - 1e-6))[:, None, :, None]
        )
        floor = torch.log(heat.outlier.clamp_min(1e-12) / heat.area[:, None])[:, None, :, None]
        logs = torch.cat([logs, floor.expand(*logs.shape[:-1], 1)], -1)
        uniform = torch.rand(logs.shape, generator=generator, device=logs.device).clamp_(1e-9, 1 - 1e-7)
        mode = (logs - torch.log(-torch.log(uniform))).argmax(-1)  # Gumbel-max: a draw from softmax(logs)
        outlier = mode == heat.means.shape[2]
        drawn = logs.gather(-1, mode[..., None])[..., 0] - logs.logsumexp(-1)
        # An outlier may be anywhere in the person's box: it still holds the root, as weakly as the box is large.
        mode = torch.where(outlier, logs[..., :-1].argmax(-1), mode)[..., None]
        expanded = means.expand(*mode.shape[:-1], -1, 2).gather(-2, mode[..., None].expand(*mode.shape, 2))[..., 0, :]
        cov = covs.gather(-3, mode[..., None, None].expand(*mode.shape, 2, 2))[..., 0, :, :]
        cov = torch.where(outlier[..., None, None], heat.area[:, None, None, None, None] * eye, cov)
        inverse = _inverse_factor(cov)
        whitener = heat.seen[:, None, :, None, None] * inverse
        residual = (whitener @ (expanded - pixels)[..., None])[..., 0]
        rows = whitener @ jacobian
        full = rows[..., None, :] * self._weights[:, None, :, None]
        # The drawn mode's share and height over the density at the heaviest one's peak, over how likely it was drawn.
        share = torch.log(heat.weights * (1 - heat.outlier[..., None])).clamp_min(-1e4)[:, None]
        share = share.expand(*mode.shape[:-1], -1).gather(-1, mode)[..., 0]
        height = torch.log(inverse[..., 0, 0] * inverse[..., 1, 1]) - LOG_TWO_PI
        height = torch.where(outlier, floor[..., 0], share + height)
        scale = height - self._peak_height[:, None] - drawn
        log_scale = torch.where(heat.seen[:, None], scale, 0.0).sum(-1)
        return Linearised(residual.flatten(-2), full.flatten(-2).flatten(-3, -2), rows.flatten(-3, -2), log_scale)

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of the heatmaps' log densities at the projections, blurred by the joints' spread across the view."""
        points = in_camera(self._keypoints(joints), self.camera_from_reference)
        spread = self._keypoint_covariance(covariance)
        if self.camera_from_reference is not None:
            spread = self.camera_from_reference[:, :3] @ spread @ self.camera_from_reference[:, :3].T
        across_m2 = spread.diagonal(dim1=-2, dim2=-1)[:, :2].mean(-1)
        variance_m2 = across_m2 + self._offset_sd_m**2
        blur_px = self._focal * variance_m2.sqrt() / points[..., 2].detach().clamp_min(0.1)
        logs = self.heatmaps.log_density(self.camera.project(points), blur_px)
        return torch.where(self.heatmaps.seen[:, None], logs, 0.0).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Weighted least squares on cross-multiplied rays of the most likely modes.

        A pose that fits the rays badly can be solved to lie behind the camera; then the scaled-orthographic
        guess serves, which depends on the sizes alone. Persons with fewer than two keypoints are not placed.
        """
        rays = self._rays
        pose = self.camera_from_reference
        points = self._keypoints(joints)
        if pose is not None:
            points = points @ pose[:, :3].T
        root = points.flatten(-2) @ rays.from_points
        mean_point = rays.weight @ points
        from_mean = (points - mean_point)[..., :2] ** 2
        spread = (rays.weight @ from_mean).sum(-1).sqrt()
        depth = (spread / rays.spread).clamp(MIN_GUESS_M, MAX_GUESS_M)
        orthographic = rays.mean_ray * depth[..., None] - mean_point
        solved = (root[..., 2:] > MIN_GUESS_M) & (root[..., 2:] < MAX_GUESS_M)
        root = torch.where(solved, root, orthographic[:, :, 0])
        far = root[..., 2]
        across = GUESS_ACROSS_M**2 + rays.across_px2[:, None] * (far / self._focal) ** 2
        along = (GUESS_DEPTH * far) ** 2 + across * (1 / rays.spread[:, :, 0]) ** 2
        precision = torch.diag_embed(rays.informed / torch.stack([across, across, along], -1))
        if pose is not None:
            root = (root - pose[:, 3]) @ pose[:, :3]
            precision = pose[:, :3].T @ precision @ pose[:, :3]
        return RootGuess(root, precision)

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Keep the roots of the seen at least ``MIN_ROOT_DEPTH_M`` before this camera."""
        pose = self.camera_from_reference
        if pose is None:
            bounded = torch.cat([root[..., :2], root[..., 2:].clamp_min(MIN_ROOT_DEPTH_M)], -1)
            return torch.where(self._rays.seen, bounded, root)
        lacking = (MIN_ROOT_DEPTH_M - in_camera(root, pose)[..., 2:]).clamp_min(0)
        return root + self._rays.informed * lacking * pose[2, :3]
