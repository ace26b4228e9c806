"""2D heatmaps through a camera."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.heatmap import Heatmaps
from diffpose_core.likelihood.base import Linearised
from diffpose_core.observation import ObservationModel

MIN_GUESS_M, MAX_GUESS_M = 0.3, 200.0
"""Depths between which a first guess of the root is believed."""


def _inverse_factor(covariance: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 2 2"]:
    """Inverse of the lower Cholesky factor."""
    a = covariance[..., 0, 0].rsqrt()
    slope = covariance[..., 0, 1] * a * a
    c = (covariance[..., 1, 1] - slope * covariance[..., 0, 1]).rsqrt()
    return torch.stack([a, torch.zeros_like(a), -c * slope, c], -1).unflatten(-1, (2, 2))


class _RootGuess:
    """What a first guess of the root takes from the heatmaps alone, once."""

    def __init__(self, heat: Heatmaps, camera: Camera) -> None:
        best = heat.weights.argmax(-1)[..., None, None]
        rays = camera.unproject(heat.means.gather(2, best.expand(*best.shape[:-1], 2))[:, :, 0])
        weight = heat.seen * heat.visibility * (1 - heat.outlier) + 1e-9
        weight = weight / weight.sum(-1, keepdim=True)
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
        self.informed = (heat.seen.sum(-1) >= 2)[:, None, None]


class HeatmapLikelihood:
    """p(heatmaps | pose): every keypoint's density at its projection, with the skeletons' offset added."""

    def __init__(self, heatmaps: Heatmaps, camera: Camera) -> None:
        self.heatmaps = heatmaps
        self.camera = camera
        self.model = ObservationModel.of(heatmaps.skeleton)
        device = heatmaps.visibility.device
        self._weights = self.model.weights.to(device)
        self._offset_sd_m = self.model.offset_sd_m.to(device)
        self._focal = 0.5 * (camera.fx + camera.fy)
        self._guess = _RootGuess(heatmaps, camera)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.heatmaps)

    def to(self, device: torch.device) -> HeatmapLikelihood:
        """Return a copy on ``device``."""
        return HeatmapLikelihood(self.heatmaps.to(device), self.camera)

    def status(self) -> Int[Tensor, "P 17"]:
        """OBSERVED, INFERRED or MISSING per joint."""
        return self.model.status(self.heatmaps.visibility)

    def _keypoints(self, joints: Tensor) -> Tensor:
        return torch.einsum("kj,psjc->pskc", self._weights, joints)

    def _keypoint_covariance(self, covariance: Tensor) -> Tensor:
        blocks = covariance.reshape(17, 3, 17, 3)
        return torch.einsum("ki,iajb,kj->kab", self._weights, blocks, self._weights)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linearise the projection; one mode per joint and hypothesis is drawn by its responsibility."""
        heat = self.heatmaps
        points = self._keypoints(joints) + root[:, :, None]
        pixels = self.camera.project(points)
        jacobian = self.camera.jacobian(points)
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
        # An outlier may be anywhere in the person's box: it still holds the root, as weakly as the box is large.
        mode = torch.where(outlier, logs[..., :-1].argmax(-1), mode)[..., None]
        expanded = means.expand(*mode.shape[:-1], -1, 2).gather(-2, mode[..., None].expand(*mode.shape, 2))[..., 0, :]
        cov = covs.gather(-3, mode[..., None, None].expand(*mode.shape, 2, 2))[..., 0, :, :]
        cov = torch.where(outlier[..., None, None], heat.area[:, None, None, None, None] * eye, cov)
        whitener = heat.seen[:, None, :, None, None] * _inverse_factor(cov)
        residual = (whitener @ (expanded - pixels)[..., None])[..., 0]
        rows = whitener @ jacobian
        full = rows[..., None, :] * self._weights[:, None, :, None]
        return Linearised(residual.flatten(-2), full.flatten(-2).flatten(-3, -2), rows.flatten(-3, -2))

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of the heatmaps' log densities at the projections, blurred by the joints' spread across the view."""
        points = self._keypoints(joints)
        across_m2 = self._keypoint_covariance(covariance).diagonal(dim1=-2, dim2=-1)[:, :2].mean(-1)
        variance_m2 = across_m2 + self._offset_sd_m**2
        blur_px = self._focal * variance_m2.sqrt() / points[..., 2].detach().clamp_min(0.1)
        logs = self.heatmaps.log_density(self.camera.project(points), blur_px)
        return torch.where(self.heatmaps.seen[:, None], logs, 0.0).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"]) -> Float[Tensor, "P S 3"] | None:
        """Weighted least squares on cross-multiplied rays of the most likely modes.

        A pose that fits the rays badly can be solved to lie behind the camera; then the scaled-orthographic
        guess serves, which depends on the sizes alone.
        """
        guess = self._guess
        points = self._keypoints(joints)
        root = points.flatten(-2) @ guess.from_points
        mean_point = guess.weight @ points
        from_mean = (points - mean_point)[..., :2] ** 2
        spread = (guess.weight @ from_mean).sum(-1).sqrt()
        depth = (spread / guess.spread).clamp(MIN_GUESS_M, MAX_GUESS_M)
        orthographic = guess.mean_ray * depth[..., None] - mean_point
        solved = (root[..., 2:] > MIN_GUESS_M) & (root[..., 2:] < MAX_GUESS_M)
        root = torch.where(solved, root, orthographic[:, :, 0])
        return torch.where(guess.informed, root, root.new_tensor([0.0, 0.0, 4.0]))
