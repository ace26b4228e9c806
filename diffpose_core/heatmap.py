# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Joint heatmaps as probability densities over image pixels.

A heatmap is used as what it is, a density: a Gaussian mixture plus a uniform
floor (the joint may be anywhere in the box: the detector was wrong). Tiles of
log density from any detector are turned into that form; nothing is averaged
away, so several modes stay several modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from diffpose_core.checks import checked
from diffpose_core.skeleton import COCO17, Skeleton

MAX_MODES = 4
_FIELDS = ("means", "covariances", "weights", "outlier", "area", "visibility")
FARTHEST_PX = 1e6
"""Tiles that reach farther are of no image; their covariances would not be finite."""
MIN_SIGMA_PX = 0.5
LOG_TWO_PI = math.log(2 * math.pi)


def _share(name: str, value: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    value = checked(name, value, shape)
    if value.numel() and (value.min() < 0 or value.max() > 1):
        raise ValueError(f"{name} must lie in 0..1, got {float(value.min())}..{float(value.max())}")
    return value


@dataclass(frozen=True)
class Tiles:
    """Log density per px^2 on a grid: values [P, J, h, w], map of (column, row, 1) to px [P, 2, 3]."""

    log_density: Float[Tensor, "P J h w"]
    tile_to_image: Float[Tensor, "P 2 3"]


class Heatmaps:
    """One density per person and joint.

    Every form ends as a Gaussian mixture with a floor:
    ``p(y) = (1 - outlier) sum_m weights_m N(y; means_m, covariances_m) + outlier / area``.

    Attributes:
        means: [P, J, M, 2] px.
        covariances: [P, J, M, 2, 2] px^2.
        weights: [P, J, M], sum 1 over M.
        outlier: [P, J], probability that the detector was wrong.
        area: [P] px^2 over which an outlier is uniform.
        visibility: [P, J] in 0..1; zero means that nothing is known of the joint.
        skeleton: names and order of J.
    """

    means: Float[Tensor, "P J M 2"]
    covariances: Float[Tensor, "P J M 2 2"]
    weights: Float[Tensor, "P J M"]
    outlier: Float[Tensor, "P J"]
    area: Float[Tensor, "P"]
    visibility: Float[Tensor, "P J"]

    def __init__(
        self,
        log_density: Tensor,  # [P, J, h, w]
        tile_to_image: Tensor,  # [P, 2, 3]
        visibility: Tensor,  # [P, J]
        skeleton: Skeleton = COCO17,
    ) -> None:
        """Read tiles of log density.

        Args:
            log_density: natural log of density per px^2 (an additive constant per joint is immaterial).
            tile_to_image: affine map of tile cell centres (column, row, 1) to image pixels.
            visibility: probability in 0..1 that the joint is seen; 0 switches the joint off.
            skeleton: meaning of the joint axis.

        Raises:
            ValueError: naming the field that has a wrong shape, range, or a value that is not finite.
        """
        joints = len(skeleton)
        log_density = checked("log_density", log_density, (None, joints, None, None))
        persons, _, height, width = log_density.shape
        if height < 4 or width < 4:
            raise ValueError(f"log_density tiles must be at least 4x4, got {height}x{width}")
        tile_to_image = checked("tile_to_image", tile_to_image, (persons, 2, 3))
        if persons and (farthest := float(tile_to_image.abs().max())) > FARTHEST_PX:
            raise ValueError(f"tile_to_image must lie within {FARTHEST_PX:g} px, got {farthest:g}")
        visibility = _share("visibility", visibility, (persons, joints))
        cell_area = torch.linalg.det(tile_to_image[:, :, :2]).abs()
        if persons and cell_area.min() <= 1e-8:
            raise ValueError(f"tile_to_image must be invertible, got determinant {float(cell_area.min())}")
        self.skeleton = skeleton
        self.visibility = visibility
        log_mass = torch.logsumexp(log_density.flatten(2), -1) + torch.log(cell_area)[:, None]
        self.tiles: Tiles | None = Tiles(log_density - log_mass[..., None, None], tile_to_image)
        self.area = cell_area * height * width
        self._fit_mixture()

    @classmethod
    def from_mixture(
        cls,
        means: Tensor,  # [P, J, M, 2]
        covariances: Tensor,  # [P, J, M, 2, 2]
        weights: Tensor,  # [P, J, M]
        visibility: Tensor,  # [P, J]
        outlier: Tensor,  # [P, J]
        box: Tensor,  # [P, 4]
        skeleton: Skeleton = COCO17,
    ) -> Heatmaps:
        """Build from a Gaussian mixture; ``box`` (x_min, y_min, x_max, y_max px) bounds the uniform floor."""
        joints = len(skeleton)
        means = checked("means", means, (None, joints, None, 2))
        persons, _, modes, _ = means.shape
        if modes < 1:
            raise ValueError("means must hold at least one mode")
        covariances = checked("covariances", covariances, (persons, joints, modes, 2, 2))
        weights = checked("weights", weights, (persons, joints, modes))
        visibility = _share("visibility", visibility, (persons, joints))
        outlier = _share("outlier", outlier, (persons, joints))
        box = checked("box", box, (persons, 4))
        if weights.numel():
            if weights.min() < 0 or weights.sum(-1).min() <= 0:
                raise ValueError(f"weights must be non-negative with a positive sum, got {float(weights.min())}")
            if (covariances - covariances.mT).abs().max() > 1e-3 * covariances.abs().max():
                raise ValueError("covariances must be symmetric")
            smallest = torch.linalg.eigvalsh(covariances).min()
            if smallest <= 0:
                raise ValueError(
                    f"covariances must be positive definite, got smallest eigenvalue {float(smallest)} px^2"
                )
            size = box[:, 2:] - box[:, :2]
            if size.min() <= 0:
                raise ValueError(f"box must have x_max > x_min and y_max > y_min, got {box.tolist()}")
        heat = cls.__new__(cls)
        heat.skeleton, heat.tiles, heat.visibility = skeleton, None, visibility
        heat.means, heat.covariances, heat.outlier = means, covariances, outlier
        heat.weights = weights / weights.sum(-1, keepdim=True)
        heat.area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        return heat

    @classmethod
    def from_keypoints(
        cls,
        xy: Tensor,  # [P, J, 2]
        covariance: Tensor,  # [P, J, 2, 2]
        visibility: Tensor,  # [P, J]
        skeleton: Skeleton = COCO17,
    ) -> Heatmaps:
        """Build one Gaussian per joint; the floor is 0.02 + 0.5 (1 - visibility) over the keypoints' box."""
        xy = checked("xy", xy, (None, len(skeleton), 2))
        visibility = _share("visibility", visibility, (len(xy), len(skeleton)))
        covariance = checked("covariance", covariance, (len(xy), len(skeleton), 2, 2))
        unseen = (visibility == 0)[..., None]
        low = xy.masked_fill(unseen, torch.inf).amin(1)
        high = xy.masked_fill(unseen, -torch.inf).amax(1)
        low, high = torch.where(low > high, xy.amin(1), low), torch.where(low > high, xy.amax(1), high)
        margin = 0.1 * (high - low).amax(-1, keepdim=True) + 1.0
        return cls.from_mixture(
            xy[:, :, None], covariance[:, :, None], torch.ones_like(visibility)[..., None], visibility,
            0.02 + 0.5 * (1 - visibility), torch.cat([low - margin, high + margin], -1), skeleton,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.visibility)

    def to(self, device: torch.device | str) -> Heatmaps:
        """Return a copy on ``device``."""
        return self._with([value.to(device) for value in self._values()])

    def of(self, persons: Sequence[int]) -> Heatmaps:
        """Return those of some persons, by number."""
        return self._with([value[list(persons)] for value in self._values()])

    @classmethod
    def concatenate(cls, parts: Sequence[Heatmaps]) -> Heatmaps:
        """Join the persons of several images.

        Raises:
            ValueError: no parts, or they differ in skeleton, in their number of modes or in having tiles.
        """
        kinds = {(p.skeleton.name, p.means.shape[2], p.tiles and p.tiles.log_density.shape[1:]) for p in parts}
        if len(kinds) != 1:
            raise ValueError(f"parts must agree in skeleton, modes and tiles, got {sorted(map(str, kinds))}")
        return parts[0]._with([torch.cat(column) for column in zip(*(p._values() for p in parts), strict=True)])

    def _values(self) -> list[Tensor]:
        tiles = [self.tiles.log_density, self.tiles.tile_to_image] if self.tiles is not None else []
        return [*(getattr(self, name) for name in _FIELDS), *tiles]

    def _with(self, values: list[Tensor]) -> Heatmaps:
        """Return heatmaps of the same form and skeleton, of values in the order of :meth:`_values`."""
        heat = Heatmaps.__new__(Heatmaps)
        heat.skeleton = self.skeleton
        for name, value in zip(_FIELDS, values, strict=False):
            setattr(heat, name, value)
        heat.tiles = Tiles(*values[len(_FIELDS) :]) if self.tiles is not None else None
        return heat

    @property
    def seen(self) -> Bool[Tensor, "P J"]:
        """Joints of which anything is known (visibility > 0)."""
        return self.visibility > 0

    def log_density(
        self, pixels: Float[Tensor, "P *samples J 2"], blur_px: Float[Tensor, "P *samples J"] | None = None
    ) -> Float[Tensor, "P *samples J"]:
        """Log density per px^2 at any pixel, differentiable in ``pixels``.

        Args:
            pixels: image positions.
            blur_px: standard deviation of an isotropic Gaussian to blur the heatmap with. In mixture form the
                blur is exact (the covariances grow); with tiles it interpolates a Gaussian pyramid.
        """
        if self.tiles is not None:
            return self._tile_log_density(pixels, blur_px)
        extra = pixels.dim() - 3
        index = (slice(None), *([None] * extra), slice(None), slice(None))
        covariance = self.covariances[index]
        if blur_px is not None:
            covariance = covariance + (blur_px**2)[..., None, None, None] * torch.eye(2, device=pixels.device)
        logs = self.mode_log_density(pixels, self.means[index], covariance)
        logs = (
            logs
            + torch.log(self.weights[index])
            + torch.log1p(-self.outlier[index[:-1]].clamp_max(1 - 1e-6))[..., None]
        )
        floor = torch.log(self.outlier.clamp_min(1e-12) / self.area[:, None])[index[:-1]]
        return torch.logsumexp(torch.cat([logs, floor[..., None].expand(*logs.shape[:-1], 1)], -1), -1)

    @staticmethod
    def mode_log_density(
        pixels: Float[Tensor, "*#batch 2"],
        means: Float[Tensor, "*#batch M 2"],
        covariances: Float[Tensor, "*#batch M 2 2"],
    ) -> Float[Tensor, "*out M"]:
        """Log N(pixels; mean_m, covariance_m) for every mode, by the closed form of the 2 x 2 inverse."""
        d = pixels[..., None, :] - means
        a, b, c = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
        det = (a * c - b * b).clamp_min(1e-12)
        quad = (c * d[..., 0] ** 2 - 2 * b * d[..., 0] * d[..., 1] + a * d[..., 1] ** 2) / det
        return -0.5 * (quad + torch.log(det)) - LOG_TWO_PI

    def render_tiles(self, tile_to_image: Float[Tensor, "P 2 3"], height: int, width: int) -> Float[Tensor, "P J h w"]:
        """Sample the log density at the cell centres of a grid."""
        pixels = _grid(torch.as_tensor(tile_to_image, dtype=torch.float32), height, width)
        persons, joints = self.visibility.shape
        flat = pixels.reshape(persons, height * width, 1, 2).expand(-1, -1, joints, -1)
        return self.log_density(flat).permute(0, 2, 1).reshape(persons, joints, height, width)

    def _fit_mixture(self) -> None:
        """Mixture of the tiles: peaks of the density above its floor, then expectation maximisation."""
        assert self.tiles is not None
        log_density, tile_to_image = self.tiles.log_density, self.tiles.tile_to_image
        _, joints, height, width = log_density.shape
        linear = tile_to_image[:, :, :2]
        cell = torch.linalg.det(linear).abs()
        density = log_density.exp() * cell[:, None, None, None]
        floor = density.flatten(2).kthvalue(1 + height * width // 5, dim=-1).values.clamp_max(1.0 / (height * width))
        self.outlier = (floor * height * width).clamp(1e-4, 1 - 1e-4)
        peaked = (density - floor[..., None, None]).clamp_min(0)
        mass = peaked.flatten(2).sum(-1)
        is_peak = (F.max_pool2d(peaked, 5, 1, 2) == peaked) & (peaked > 0.02 * peaked.amax((2, 3), keepdim=True))
        score, where = torch.where(is_peak, peaked, -1.0).flatten(2).topk(MAX_MODES, -1)
        # In cells about the tile's middle, where all tiles have the same features; double, for squares of many cells.
        middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64, device=cell.device)
        eye = torch.eye(2, dtype=torch.float64, device=cell.device)
        square_px = torch.linalg.inv(linear.double().mT @ linear.double())[:, None, None]
        at = torch.stack([where % width, where // width], -1) - middle
        spread = (2 * eye + MIN_SIGMA_PX**2 * square_px).expand(-1, joints, MAX_MODES, -1, -1)
        alive = (score > 0).double()
        alive[..., 0] = 1
        weights = alive / alive.sum(-1, keepdim=True)
        features = _features(height, width, middle)
        p = (peaked.flatten(2) / mass.clamp_min(1e-12)[..., None])[..., None, :].double()
        # A cell spreads its point over its own area; a Gaussian narrower than a cell is read from the curvature below.
        for _ in range(15):
            logs = _log_gaussian(at, spread, torch.log(weights.clamp_min(1e-9))) @ features
            moments = (torch.softmax(logs, -2) * p) @ features.T
            total = moments[..., 0].clamp_min(1e-9)
            _, x, y, xx, xy, yy = (moments / total[..., None]).unbind(-1)
            at = torch.stack([x, y], -1)
            spread = torch.stack([xx - x * x, xy - x * y, xy - x * y, yy - y * y], -1).unflatten(-1, (2, 2))
            spread = spread + 0.02 * eye + 0.1 * MIN_SIGMA_PX**2 * square_px
            weights = total / total.sum(-1, keepdim=True) * alive
            weights = weights / weights.sum(-1, keepdim=True)
        away = (at + middle).float()
        means = torch.einsum("pab,pjmb->pjma", linear, away) + tile_to_image[:, None, None, :, 2]
        covs = linear[:, None, None] @ spread.float() @ linear.mT[:, None, None]
        centre = (linear @ middle.float()) + tile_to_image[:, :, 2]
        whole = self.area[:, None, None] * eye.float()
        unseen = mass <= 1e-6
        self.means = torch.where(unseen[..., None, None], centre[:, None, None], means)
        self.covariances = torch.where(unseen[..., None, None, None], whole[:, None, None], covs)
        weights = weights.float()
        self.weights = torch.where(unseen[..., None], torch.full_like(weights, 1.0 / MAX_MODES), weights)

    def _tile_log_density(self, pixels: Tensor, blur_px: Tensor | None) -> Tensor:
        assert self.tiles is not None
        tile_to_image = self.tiles.tile_to_image
        persons, joints, height, width = self.tiles.log_density.shape
        flat = pixels.reshape(persons, -1, joints, 2)
        inverse = torch.linalg.inv(tile_to_image[:, :, :2])
        cell = torch.einsum("pab,psjb->psja", inverse, flat - tile_to_image[:, None, None, :, 2])
        limit = cell.new_tensor([width - 1, height - 1])
        inside = torch.minimum(cell.clamp_min(0), limit)
        outside_px = torch.einsum("pab,psjb->psja", tile_to_image[:, :, :2], cell - inside)
        uv = (2 * inside / limit - 1).permute(0, 2, 1, 3).reshape(persons * joints, 1, -1, 2)

        def sample(level: Tensor) -> Tensor:
            values = F.grid_sample(
                level.reshape(persons * joints, 1, height, width),
                uv,
                mode="bicubic",
                padding_mode="border",
                align_corners=True,
            )
            return values.reshape(persons, joints, -1).permute(0, 2, 1)

        if blur_px is None:
            value = sample(self.tiles.log_density)
        else:
            levels = self.pyramid()
            blur = blur_px.reshape(persons, -1, joints)
            cell_px = torch.sqrt(torch.linalg.det(tile_to_image[:, :, :2]).abs())[:, None, None]
            # level k >= 1 is blurred by 2^(k-1) cells; between levels the log density is interpolated.
            position = (torch.log2((blur / cell_px).clamp_min(0.25)) + 1).clamp(0, len(levels) - 1)
            values = torch.stack([sample(level) for level in levels], -1)
            low = position.floor().long().clamp_max(len(levels) - 2)
            part = position - low
            below, above = values.gather(-1, low[..., None])[..., 0], values.gather(-1, low[..., None] + 1)[..., 0]
            value = below + part * (above - below)
        # Beyond its tile the heatmap says nothing; a weak quadratic keeps the gradient pointing home.
        value = value - 0.5 * (outside_px**2).sum(-1) / self.area[:, None, None]
        return value.reshape(pixels.shape[:-1])

    def pyramid(self) -> list[Float[Tensor, "P J h w"]]:
        """Log-density tiles blurred by 0, 1, 2, 4, 8 and 16 cells."""
        if self.tiles is None:
            raise ValueError("a blur pyramid exists for the tile form only; the mixture form blurs exactly")
        log_density = self.tiles.log_density
        height, width = log_density.shape[-2:]
        peak = log_density.amax((2, 3), keepdim=True)
        density = (log_density - peak).exp().reshape(-1, 1, height, width)
        levels = [log_density]
        for sigma in (1.0, 2.0, 4.0, 8.0, 16.0):
            radius = min(int(3 * sigma), min(height, width) - 1)
            axis = torch.arange(-radius, radius + 1, device=density.device, dtype=density.dtype)
            kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
            kernel = kernel / kernel.sum()
            padded = F.pad(density, (radius,) * 4, mode="replicate")
            blurred = F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
            levels.append(torch.log(blurred.reshape(log_density.shape).clamp_min(1e-30)) + peak)
        return levels


def _features(height: int, width: int, middle: Float[Tensor, "2"]) -> Float[Tensor, "6 n"]:
    """Return 1, x, y, xx, xy, yy of all cells, row by row, about the middle."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = torch.stack([columns, rows]).flatten(1).to(middle) - middle[:, None]
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])


def _log_gaussian(
    at: Float[Tensor, "*batch 2"], spread: Float[Tensor, "*batch 2 2"], offset: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 6"]:
    """Return log N(.; at, spread) + offset, but for a constant, as coefficients of :func:`_features`."""
    a, b, c = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
    det = (a * c - b * b).clamp_min(1e-12)
    x, y = at.unbind(-1)
    xx, xy, yy = c / det, -b / det, a / det
    constant = offset - 0.5 * (torch.log(det) + xx * x * x + 2 * xy * x * y + yy * y * y)
    return torch.stack([constant, xx * x + xy * y, xy * x + yy * y, -0.5 * xx, -xy, -0.5 * yy], -1)


def _grid(tile_to_image: Float[Tensor, "P 2 3"], height: int, width: int) -> Float[Tensor, "P h w 2"]:
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=tile_to_image.device),
        torch.arange(width, dtype=torch.float32, device=tile_to_image.device),
        indexing="ij",
    )
    cells = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    return torch.einsum("pab,hwb->phwa", tile_to_image, cells)
