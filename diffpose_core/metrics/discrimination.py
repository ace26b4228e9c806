# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether a score tells two kinds of cases apart."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def roc_auc(higher: Float[Tensor, "n"], lower: Float[Tensor, "m"]) -> float:
    """Area under the receiver operating characteristic: the share of pairs whose ``higher`` score is the higher one.

    Ties count half (Mann-Whitney U over n m). 0.5 tells nothing apart, 1 everything.

    Raises:
        ValueError: a set is empty or holds NaN.
    """
    for name, scores in (("higher", higher), ("lower", lower)):
        if not len(scores) or scores.isnan().any():
            raise ValueError(f"{name} must hold at least one score and no NaN")
    above = (higher[:, None] > lower).double()
    ties = (higher[:, None] == lower).double()
    return float((above + 0.5 * ties).mean())
