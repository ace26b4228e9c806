# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How like real poses generated ones are, as sets of feature vectors (flattened root-relative joints, for instance)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_EXACT = "donot_use_mm_for_euclid_dist"


def precision_recall_density_coverage(
    real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"], neighbours: int = 5
) -> dict[str, float]:
    """Overlap of two sets, each vector being a closed ball that reaches its k-th nearest other one of its set.

    precision: share of the generated inside any real ball; recall: share of the real inside any generated ball
    (Kynkäänniemi et al., 1904.06991, eq. 1-3). density: real balls around a generated vector, in the mean, over k: 1
    in expectation for equal distributions, and not bounded by 1; coverage: share of the real balls with a generated
    vector inside, 1 - prod_(i=1..k) (N - i) / (N + M - i) in expectation for equal distributions (Naeem et al.,
    2002.09797, eq. 3, 4 and lemma 2). N M distances are held at once.

    Raises:
        ValueError: ``neighbours`` is below 1, or a set has no more vectors than that.
    """
    smaller = min(len(real), len(generated))
    if not 1 <= neighbours < smaller:
        raise ValueError(f"neighbours must lie in 1..{smaller - 1} for sets this small, got {neighbours}")

    def reach(vectors: Tensor) -> Tensor:
        between = torch.cdist(vectors, vectors, compute_mode=_EXACT).fill_diagonal_(torch.inf)
        return between.kthvalue(neighbours, dim=-1).values

    between = torch.cdist(real, generated, compute_mode=_EXACT)
    in_real, in_generated = between <= reach(real)[:, None], between <= reach(generated)
    figures = {
        "precision": in_real.any(0),
        "recall": in_generated.any(1),
        "density": in_real.sum(0) / neighbours,
        "coverage": in_real.any(1),
    }
    return {name: float(values.double().mean()) for name, values in figures.items()}


def frechet_distance(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of the sets' means and covariances (Heusel et al., 1706.08500).

    The squared 2-Wasserstein distance between Gaussians of those moments, in squared units of the features; the
    covariances are the unbiased ones. The trace of the root is the nuclear norm of C_a^(1/2) C_b^(1/2). Finite sets of
    one distribution differ: compare distances of sets of equal sizes only.

    Raises:
        ValueError: a set has fewer than two vectors.
    """
    for name, vectors in (("a", a), ("b", b)):
        if len(vectors) < 2:
            raise ValueError(f"{name} must hold at least 2 vectors, got {len(vectors)}")

    def moments(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = vectors.mean(0)
        covariance = (vectors - mean).T @ (vectors - mean) / (len(vectors) - 1)
        values, axes = torch.linalg.eigh(covariance)
        return mean, covariance.trace(), axes * values.clamp_min(0).sqrt() @ axes.T

    mean_a, spread_a, root_a = moments(a.double())
    mean_b, spread_b, root_b = moments(b.double())
    common = torch.linalg.svdvals(root_a @ root_b).sum()
    return max(0.0, float(((mean_a - mean_b) ** 2).sum() + spread_a + spread_b - 2 * common))
