# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether hypotheses are as far from the truth as they are from each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CENTRES = ("median", "mean")
CURVE = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Levels at which calibration curves are taken."""


def _check(levels: tuple[float, ...], hypotheses: int) -> None:
    for level in levels:
        if not 0 <= level <= 1:
            raise ValueError(f"levels must lie in 0..1, got {level}")
    if hypotheses < 2:
        raise ValueError(f"samples must hold at least 2 hypotheses, got {hypotheses}")


def covered(samples: Float[Tensor, "*batch S"], truth: Float[Tensor, "*batch"], level: float) -> Bool[Tensor, "*batch"]:
    """Whether the central interval of the samples holds the truth.

    Quantiles at (S + 1) p (type 6 of Hyndman & Fan 1996): exact on average when truth and samples are exchangeable,
    for levels up to (S - 1) / (S + 1): wider intervals end at the extreme samples.

    Raises:
        ValueError: the level lies outside 0..1 or there are fewer than 2 samples.
    """
    size = samples.shape[-1]
    _check((level,), size)
    ordered = samples.sort(-1).values

    def quantile(p: float) -> Tensor:
        at = (size + 1) * p - 1
        low = min(max(int(at // 1), 0), size - 2)
        part = min(max(at - low, 0.0), 1.0)
        return ordered[..., low] * (1 - part) + ordered[..., low + 1] * part

    return (quantile((1 - level) / 2) <= truth) & (truth <= quantile((1 + level) / 2))


def coverage(
    samples: Float[Tensor, "P S J 3"], truth: Float[Tensor, "P J 3"],
    levels: tuple[float, ...], mask: Bool[Tensor, "P J"] | None = None,
) -> Float[Tensor, "P levels 3"]:  # fmt: skip
    """Share of each person's joints in ``mask`` (all by default) whose truth is :func:`covered`, per level and axis.

    With ``status == OBSERVED`` and its opposite as masks, seen and inferred joints come apart. NaN for a person without
    a joint in the mask: ``nanmean(0)`` is the mean over the others. Leave out the root of root-relative poses: it is
    covered always.

    Raises:
        ValueError: a level lies outside 0..1 or there are fewer than 2 hypotheses.
    """
    inside = torch.stack([covered(samples.movedim(1, -1), truth, level) for level in levels], 1)
    if mask is None:
        mask = torch.ones_like(truth[..., 0], dtype=torch.bool)
    counted = mask[:, None, :, None]
    return (inside & counted).sum(2) / counted.sum(2)


def inside_by_distance(
    samples: Float[Tensor, "*batch S J 3"], truth: Float[Tensor, "*batch J 3"],
    levels: tuple[float, ...] = CURVE, centre: str = "median",
) -> Bool[Tensor, "*batch J levels"]:  # fmt: skip
    """Whether the truth is as near the hypotheses' centre as a share ``levels`` of the hypotheses are.

    The centre is the coordinate-wise median (the lower one of an even number), as in the code of Pierzchlewicz et al.
    (2210.11179), or the mean. Their share over many persons is the calibration curve; quantiles at (S + 1) p as in
    :func:`covered`. The hypotheses lie nearer their own centre than another draw does, so that few of them look
    too sure: 50 Gaussian ones by about 0.014 in the mean over levels, 200 by 0.004.

    Raises:
        ValueError: ``centre`` is unknown, a level lies outside 0..1 or there are fewer than 2 hypotheses.
    """
    if centre not in CENTRES:
        raise ValueError(f"centre must be one of {CENTRES}, got {centre!r}")
    _check(levels, samples.shape[-3])
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

    The code of 2210.11179 takes levels 0, 0.05 ... 1 and first the joints' median curve, so that its figures are not
    quite those of a mean over joints.

    Raises:
        ValueError: ``levels`` are not as many as ``inside`` has.
    """
    if len(levels) != inside.shape[-1]:
        raise ValueError(f"levels must be {inside.shape[-1]}, as inside has, got {len(levels)}")
    return (inside.float().mean(0) - torch.tensor(levels, device=inside.device)).abs().mean(-1)


def ranks(samples: Float[Tensor, "*batch S"], truth: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """How many hypotheses lie below the truth: uniform over 0 to S if it is drawn as they are (1804.06788).

    That holds of values that differ: where hypotheses equal the truth, its rank is the lowest possible.
    """
    return (samples < truth[..., None]).sum(-1)


def _check_ranks(rank: Tensor, size: int) -> None:
    if rank.numel() == 0 or rank.min() < 0 or rank.max() > size:
        raise ValueError(f"rank must hold numbers of 0..{size}, got {rank.tolist()[:5]}")


def rank_histogram(rank: Int[Tensor, "n"], size: int, bins: int) -> Int[Tensor, "bins"]:
    """How many ranks of 0..``size`` fall into each of ``bins`` equally wide bins (Talts et al., 1804.06788).

    Raised ends mean hypotheses too alike, a raised middle too different, a slope a bias.

    Raises:
        ValueError: a rank lies outside 0..``size``, or ``bins`` does not divide the ``size`` + 1 possible ranks.
    """
    _check_ranks(rank, size)
    if bins < 1 or (size + 1) % bins:
        raise ValueError(f"bins must divide {size + 1}, the number of possible ranks, got {bins}")
    return torch.bincount(rank // ((size + 1) // bins), minlength=bins)


def chi_square_from_uniform(counts: Int[Tensor, "bins"]) -> Float[Tensor, ""]:
    """Pearson's statistic of a histogram against equal bins: sum (observed - expected)^2 / expected.

    For independent uniform ranks, five or more to a bin, about a chi-square variable of ``bins`` - 1 degrees of
    freedom; the coordinates of one pose are not independent.

    Raises:
        ValueError: there are fewer than 2 bins, or nothing is counted.
    """
    if len(counts) < 2 or counts.sum() < 1:
        raise ValueError(f"counts must hold 2 bins or more and not be empty, got {counts.tolist()}")
    expected = counts.sum().double() / len(counts)
    return ((counts - expected) ** 2 / expected).sum()


def rank_deviation(rank: Int[Tensor, "n"], size: int) -> Float[Tensor, ""]:
    """Largest distance of the ranks' distribution function from the uniform one over 0..``size`` (Kolmogorov-Smirnov).

    Raises:
        ValueError: a rank lies outside 0..``size``.
    """
    _check_ranks(rank, size)
    share = torch.bincount(rank, minlength=size + 1).double().cumsum(0) / len(rank)
    return (share - torch.arange(1, size + 2, device=rank.device) / (size + 1)).abs().max()
