# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Completion of partly known poses: which joints are missing, and how hypotheses of them are scored."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffpose_core.metrics import best_of, coverage, energy_score, joint_errors
from diffpose_core.skeleton import H36M17

LEVELS = (0.5, 0.8, 0.9)
BEST_OF = (1, 10, 50)
_LEGS = [s + j for s in "RL" for j in ("Hip", "Knee", "Ankle")]
_ARMS = [s + j for s in "RL" for j in ("Shoulder", "Elbow", "Wrist")]
_SIDED = {
    "arm": ["Shoulder", "Elbow", "Wrist"],
    "leg": ["Hip", "Knee", "Ankle"],
}
_FIXED = {
    "lower body": ["Pelvis", *_LEGS],
    "upper body": ["Spine", "Thorax", "Nose", "HeadTop", *_ARMS],
    "left half": [j for j in (*_LEGS, *_ARMS) if j.startswith("L")],
}
_RANDOM = {"1 joint": 1, "4 joints": 4, "8 joints": 8}
CASES = (*_SIDED, *_FIXED, *_RANDOM)
"""What is missing: one whole arm or leg of either side, a half of the body, or so many joints drawn at random."""


def missing_joints(case: str, persons: int, generator: torch.Generator) -> Bool[Tensor, "P 17"]:
    """Draw which joints of each person are missing, equally many of all.

    Raises:
        ValueError: the case is unknown.
    """
    missing = torch.zeros(persons, len(H36M17), dtype=torch.bool)
    if case in _FIXED:
        missing[:, [H36M17.index(j) for j in _FIXED[case]]] = True
    elif case in _SIDED:
        limbs = torch.tensor([[H36M17.index(s + j) for j in _SIDED[case]] for s in "RL"])
        missing.scatter_(1, limbs[torch.randint(2, (persons,), generator=generator)], True)
    elif case in _RANDOM:
        order = torch.rand(missing.shape, generator=generator).argsort(-1)
        missing.scatter_(1, order[:, : _RANDOM[case]], True)
    else:
        raise ValueError(f"case must be one of {CASES}, got {case!r}")
    return missing


def score_missing(
    samples: Float[Tensor, "P S 17 3"], truth: Float[Tensor, "P 17 3"], missing: Bool[Tensor, "P 17"]
) -> dict[str, Float[Tensor, "P"]]:
    """Score hypotheses of the missing joints, one or more of each person, in the axes that they are in.

    Returns:
        Per person, mm: ``best of m``, the expected smallest error of m hypotheses, the mean over the joints; ``energy
        score``, the mean of the joints' own; ``energy score together``, of all coordinates at once over the root of
        the number of joints. Shares: coordinates in the central intervals, of all axes and along the view (z).
    """
    weight = missing / missing.sum(-1, keepdim=True)
    error = torch.einsum("psj,pj->ps", joint_errors(samples, truth[:, None]), weight)
    row = {f"best of {m}": 1000 * best_of(error, m) for m in BEST_OF if m <= samples.shape[1]}
    each = energy_score(samples.transpose(1, 2), truth)
    row["energy score"] = 1000 * (each * weight).sum(-1)
    only = missing[..., None]
    together = energy_score((samples * only[:, None]).flatten(2), (truth * only).flatten(1))
    row["energy score together"] = 1000 * together / missing.sum(-1).sqrt()
    share = coverage(samples, truth, LEVELS, missing)
    for i, level in enumerate(LEVELS):
        row[f"inside {level:g}"], row[f"inside {level:g}, z"] = share[:, i].mean(-1), share[:, i, 2]
    return row
