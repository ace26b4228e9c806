# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How far a figure over few persons can be trusted."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def bootstrap_interval(
    values: Float[Tensor, "P *figures"], generator: torch.Generator, level: float = 0.95, draws: int = 2000
) -> tuple[Float[Tensor, "*figures"], Float[Tensor, "*figures"]]:
    """Confidence limits of the mean over persons, in the values' units.

    The percentile bootstrap (Efron & Tibshirani 1993, ch. 13): the (1 -+ level) / 2 quantiles of the means of ``draws``
    resamples of P persons with replacement. Rows must be independent: average the frames of a subject first. With few
    persons the limits are too narrow, by a factor of about sqrt(1 - 1/P).

    Raises:
        ValueError: ``values`` holds fewer than 2 persons or a value that is not finite; ``level`` does not lie between
            0 and 1; ``draws`` is below 1.
    """
    people = len(values)
    if people < 2:
        raise ValueError(f"values must hold at least 2 persons, got {people}")
    if not torch.isfinite(values).all():
        raise ValueError(f"values must be finite, got {int((~torch.isfinite(values)).sum())} that are not")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    drawn = torch.randint(people, (draws, people), generator=generator, device=generator.device).to(values.device)
    times = torch.zeros(draws, people, dtype=torch.float64, device=values.device)
    times.scatter_add_(1, drawn, torch.ones_like(times))
    means = (times @ values.double().reshape(people, -1) / people).to(values.dtype)
    limits = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype, device=means.device)
    low, high = torch.quantile(means, limits, dim=0).reshape(2, *values.shape[1:])
    return low, high
