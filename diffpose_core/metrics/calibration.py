"""Whether hypotheses are as far from the truth as they are from each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CENTRES = ("median", "mean")
CURVE = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Levels at which calibration curves are taken."""


def covered(samples: Float[Tensor, "*batch S"], truth: Float[Tensor, "*batch"], level: float) -> Bool[Tensor, "*batch"]:
    """Whether the central interval of the samples holds the truth.

    Quantiles at (S + 1) p (type 6 of Hyndman & Fan 1996): exact on average when truth and samples are exchangeable.
    """
    size = samples.shape[-1]
    ordered = samples.sort(-1).values

    def quantile(p: float) -> Tensor:
        at = (size + 1) * p - 1
        low = min(max(int(at // 1), 0), size - 2)
        part = min(max(at - low, 0.0), 1.0)
        return ordered[..., low] * (1 - part) + ordered[..., low + 1] * part

    return (quantile((1 - level) / 2) <= truth) & (truth <= quantile((1 + level) / 2))


def inside_by_distance(
    samples: Float[Tensor, "*batch S J 3"], truth: Float[Tensor, "*batch J 3"],
    levels: tuple[float, ...] = CURVE, centre: str = "median",
) -> Bool[Tensor, "*batch J levels"]:  # fmt: skip
    """Whether the truth is as near the hypotheses' centre as a share ``levels`` of the hypotheses are.

    The centre is the coordinate-wise median, as in Pierzchlewicz et al. (2210.11179), or the mean. Their share over
    many persons is the calibration curve; quantiles at (S + 1) p as in :func:`covered`.

    Raises:
        ValueError: ``centre`` is unknown.
    """
    if centre not in CENTRES:
        raise ValueError(f"centre must be one of {CENTRES}, got {centre!r}")
    middle = samples.median(-3).values if centre == "median" else samples.mean(-3)
    spread = (samples - middle[..., None, :, :]).norm(dim=-1).sort(-2).values
    error = (truth - middle).norm(dim=-1)
    size = spread.shape[-2]
    at = (size + 1) * torch.tensor(levels, device=spread.device) - 1
    low = at.floor().long().clamp(0, size - 2)
    part = (at - low).clamp(0, 1)[:, None]
    limit = spread[..., low, :] * (1 - part) + spread[..., low + 1, :] * part
    return (error[..., None, :] <= limit).transpose(-1, -2)


def expected_calibration_error(
    inside: Bool[Tensor, "P J levels"], levels: tuple[float, ...] = CURVE
) -> Float[Tensor, "J"]:
    """Mean distance of each joint's calibration curve from the diagonal (2210.11179); 0.5 at worst.

    A truth drawn as the hypotheses were gives nearly 0: with few persons the curve's chance deviations remain.
    """
    return (inside.float().mean(0) - torch.tensor(levels, device=inside.device)).abs().mean(-1)


def ranks(samples: Float[Tensor, "*batch S"], truth: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """How many hypotheses lie below the truth: uniform over 0 to S if it is drawn as they are (1804.06788)."""
    return (samples < truth[..., None]).sum(-1)


def rank_deviation(rank: Int[Tensor, "n"], size: int) -> Float[Tensor, ""]:
    """Largest distance of the ranks' distribution function from the uniform one over 0..``size`` (Kolmogorov-Smirnov).

    Raises:
        ValueError: a rank lies outside 0..``size``.
    """
    if rank.numel() == 0 or rank.min() < 0 or rank.max() > size:
        raise ValueError(f"rank must hold numbers of 0..{size}, got {rank.tolist()[:5]}")
    share = torch.bincount(rank, minlength=size + 1).double().cumsum(0) / len(rank)
    return (share - torch.arange(1, size + 2, device=rank.device) / (size + 1)).abs().max()
