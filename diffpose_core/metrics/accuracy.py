# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How near hypotheses are to the truth; errors in metres unless a name says otherwise."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

AUC_THRESHOLDS_M = tuple(0.005 * i for i in range(31))
"""0 to 150 mm by 5, as in the evaluation code of MPI-INF-3DHP."""
CPS_UPPER_MM = 300


def root_relative(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17 3"]:
    """Subtract joint 0 (the pelvis)."""
    return joints - joints[..., :1, :]


def joint_errors(
    predicted: Float[Tensor, "*batch J 3"], truth: Float[Tensor, "*#batch J 3"]
) -> Float[Tensor, "*batch J"]:
    """Euclidean distance per joint; metres."""
    return (predicted - truth).norm(dim=-1)


def mpjpe(predicted: Float[Tensor, "*batch J 3"], truth: Float[Tensor, "*#batch J 3"]) -> Float[Tensor, "*batch"]:
    """Mean per-joint position error: the mean Euclidean distance over joints (Ionescu et al. 2014)."""
    return joint_errors(predicted, truth).mean(-1)


def procrustes(
    predicted: Float[Tensor, "*batch J 3"], truth: Float[Tensor, "*#batch J 3"]
) -> Float[Tensor, "*batch J 3"]:
    """Align by the best similarity: rotation without reflection, scale and translation (Umeyama 1991, eq. 40-42)."""
    truth = truth.expand_as(predicted)
    mu_p, mu_t = predicted.mean(-2, keepdim=True), truth.mean(-2, keepdim=True)
    p, t = predicted - mu_p, truth - mu_t
    u, s, vh = torch.linalg.svd(t.mT @ p)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.sign(torch.linalg.det(u @ vh))
    rotation = (u * sign[..., None, :]) @ vh
    scale = (s * sign).sum(-1) / (p**2).sum((-1, -2)).clamp_min(1e-12)
    return scale[..., None, None] * (p @ rotation.mT) + mu_t


def pa_mpjpe(predicted: Float[Tensor, "*batch J 3"], truth: Float[Tensor, "*#batch J 3"]) -> Float[Tensor, "*batch"]:
    """MPJPE after :func:`procrustes`."""
    return mpjpe(procrustes(predicted, truth), truth)


def pck(errors: Float[Tensor, "*batch J"], threshold_m: float = 0.15) -> Float[Tensor, "*batch"]:
    """Share of joints nearer than ``threshold_m`` to the truth, 0 to 1 (3D PCK, Mehta et al. 2017, 1611.09813)."""
    return (errors < threshold_m).float().mean(-1)


def auc(
    errors: Float[Tensor, "*batch J"], thresholds_m: tuple[float, ...] = AUC_THRESHOLDS_M
) -> Float[Tensor, "*batch"]:
    """Mean of :func:`pck` over thresholds, 0 to 1 (Mehta et al. 2017, 1611.09813)."""
    return torch.stack([pck(errors, t) for t in thresholds_m]).mean(0)


def cps(errors: Float[Tensor, "*batch J"]) -> Float[Tensor, "*batch"]:
    """Correct Poses Score, mm (Wandt et al., 2011.14679): from which threshold on all joints lie within it.

    A pose is correct at a threshold if all its joints are nearer than that. The mean over poses is the area under the
    share of correct poses over thresholds of 1, 2 ... 300 mm, by the trapezoid rule as in the code of Wehrbein et al.
    (2107.13788): 299 at best.
    """
    thresholds = torch.arange(1, CPS_UPPER_MM + 1, device=errors.device, dtype=errors.dtype)
    correct = (1000 * errors.amax(-1)[..., None] < thresholds).to(errors.dtype)
    return torch.trapezoid(correct, dx=1.0)


def best_of(errors: Float[Tensor, "*batch S"], m: int) -> Float[Tensor, "*batch"]:
    """Expected smallest of ``m`` errors drawn without replacement from the S given, exactly.

    With errors sorted ascending, e_(i) is the smallest with probability C(S-i, m-1) / C(S, m).
    """
    size = errors.shape[-1]
    if not 1 <= m <= size:
        raise ValueError(f"m must lie in 1..{size}, got {m}")
    ordered = errors.sort(-1).values
    rank = torch.arange(size, dtype=torch.float64, device=errors.device)

    def log_choose(n: Tensor, k: float) -> Tensor:
        k_ = torch.tensor(k, dtype=torch.float64)
        return torch.lgamma(n + 1) - torch.lgamma(k_ + 1) - torch.lgamma(n - k_ + 1)

    total = torch.tensor(float(size), dtype=torch.float64)
    remaining = size - 1 - rank
    logs = torch.where(
        remaining >= m - 1, log_choose(remaining.clamp_min(m - 1), m - 1) - log_choose(total, m), -torch.inf
    )
    return (ordered * logs.exp().to(ordered.dtype)).sum(-1)


def energy_score(samples: Float[Tensor, "*batch S D"], truth: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
    """E|X - y| - 0.5 E|X - X'| with the unbiased pair term (Gneiting & Raftery 2007, eq. 22); lower is better.

    Raises:
        ValueError: there are fewer than 2 samples.
    """
    size = samples.shape[-2]
    if size < 2:
        raise ValueError(f"samples must hold at least 2 samples, got {size}")
    to_truth = (samples - truth[..., None, :]).norm(dim=-1).mean(-1)
    between = torch.cdist(samples, samples, compute_mode="donot_use_mm_for_euclid_dist").sum((-1, -2)) / (
        size * (size - 1)
    )
    return to_truth - 0.5 * between


def energy_distance(a: Float[Tensor, "*batch S D"], b: Float[Tensor, "*batch T D"]) -> Float[Tensor, "*batch"]:
    """2 E|A - B| - E|A - A'| - E|B - B'| (Szekely and Rizzo 2013), unbiased: about 0 for draws of one distribution.

    In the samples' unit; it is below zero by chance. Twice what the energy score loses when ``a`` is drawn instead of
    the distribution that the truth and ``b`` come from.

    Raises:
        ValueError: there are fewer than 2 samples of either.
    """
    for name, samples in (("a", a), ("b", b)):
        if samples.shape[-2] < 2:
            raise ValueError(f"{name} must hold at least 2 samples, got {samples.shape[-2]}")

    def between(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").sum((-1, -2))

    s, t = a.shape[-2], b.shape[-2]
    return 2 * between(a, b) / (s * t) - between(a, a) / (s * (s - 1)) - between(b, b) / (t * (t - 1))


def pose_energy_score(samples: Float[Tensor, "P S J 3"], truth: Float[Tensor, "P J 3"]) -> Float[Tensor, "P"]:
    """Mean over joints of each joint's three-dimensional energy score, metres."""
    return energy_score(samples.transpose(-3, -2), truth).mean(-1)


def weighted_mode(samples: Float[Tensor, "P S J 3"], log_weights: Float[Tensor, "P S"]) -> Float[Tensor, "P J 3"]:
    """The hypothesis of the largest weighted kernel density among the hypotheses.

    Gaussian kernel of the mean per-joint distance; its bandwidth is the distance to the k-th nearest hypothesis, k the
    root of their number rounded up, in the median over the person's hypotheses. Pass root-relative poses for the mode
    of the pose alone.
    """
    between = (samples[:, :, None] - samples[:, None]).norm(dim=-1).mean(-1)
    near = between.sort(-1).values[..., min(math.ceil(between.shape[-1] ** 0.5), between.shape[-1] - 1)]
    bandwidth = near.median(-1).values.clamp_min(1e-9)
    density = torch.logsumexp(log_weights[:, None] - 0.5 * (between / bandwidth[:, None, None]) ** 2, -1)
    return samples[torch.arange(len(samples), device=samples.device), density.argmax(1)]


def residual_in_sigma(
    pixels: Float[Tensor, "*batch 2"], centre: Float[Tensor, "*#batch 2"], covariance: Float[Tensor, "*#batch 2 2"]
) -> Float[Tensor, "*batch"]:
    """Mahalanobis distance of a projection from a keypoint; its mean square is 2 for a Gaussian of that covariance."""
    difference = (pixels - centre)[..., None]
    return (difference * torch.linalg.solve(covariance, difference)).sum((-1, -2)).clamp_min(0).sqrt()
