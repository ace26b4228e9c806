# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A posterior as JSON, CSV or npz, with what made it (docs/commands.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diffpose_core.commands.pose_files import csv_bytes, json_bytes, npz_bytes, rounded
from diffpose_core.posterior import PosePosterior

STATUS = ("OBSERVED", "INFERRED", "MISSING")
MOMENTS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
NO_MOMENTS = ("",) * (len(MOMENTS) + 1)
"""Of a single hypothesis: neither covariance nor evidence."""
COLUMNS = (
    "person", "hypothesis", "joint", "status", "weight", "x_m", "y_m", "z_m",
    *(f"{'xyz'[a]}{'xyz'[b]}_m2" for a, b in MOMENTS), "log_evidence",
)  # fmt: skip


def result_bytes(posterior: PosePosterior, made: dict[str, Any], suffix: str) -> bytes:
    """Write hypotheses, weights, mean, covariance, status and log evidence.

    Args:
        posterior: on the CPU.
        made: settings that made it; JSON and npz keep them.
        suffix: .json, .csv or .npz.

    Raises:
        ValueError: the posterior has no log evidence.
    """
    if posterior.log_evidence is None:
        raise ValueError("the posterior came without log_evidence")
    evidence = posterior.log_evidence
    if suffix == ".npz":
        settings = {key: np.array(value) for key, value in made.items()}
        return npz_bytes(
            joints=posterior.joints.numpy(), log_weights=posterior.log_weights.numpy(), mean=posterior.mean.numpy(),
            covariance=posterior.covariance.numpy(), status=posterior.status.numpy().astype(np.uint8),
            log_evidence=evidence.numpy(), joint_names=np.array(posterior.skeleton.joints), **settings,
        )  # fmt: skip
    if suffix == ".json":
        return json_bytes(_persons(posterior, rounded(evidence)), **made, joint_names=posterior.skeleton.joints)
    return csv_bytes(COLUMNS, _rows(posterior, rounded(evidence)))


def _persons(posterior: PosePosterior, evidence: list[float]) -> Iterator[dict[str, Any]]:
    mean, covariance, names = posterior.mean, posterior.covariance, posterior.skeleton.joints
    for p in range(len(posterior)):
        yield {
            "log_evidence": evidence[p],
            "status": dict(zip(names, (STATUS[s] for s in posterior.status[p].tolist()), strict=True)),
            "mean": dict(zip(names, rounded(mean[p]), strict=True)),
            "covariance": dict(zip(names, rounded(covariance[p], 9), strict=True)),
            "weights": rounded(posterior.weights[p], 9),
            "hypotheses": rounded(posterior.joints[p]),
        }


def _rows(posterior: PosePosterior, evidence: list[float]) -> Iterator[tuple[Any, ...]]:
    mean, covariance, joints = rounded(posterior.mean), rounded(posterior.covariance, 9), rounded(posterior.joints)
    weights = rounded(posterior.weights, 9)
    for p, statuses in enumerate(posterior.status.tolist()):
        named = [(name, STATUS[s]) for name, s in zip(posterior.skeleton.joints, statuses, strict=True)]
        for j, name in enumerate(named):
            yield (p, "mean", *name, 1, *mean[p][j], *(covariance[p][j][a][b] for a, b in MOMENTS), evidence[p])
        for h, weight in enumerate(weights[p]):
            yield from ((p, h, *name, weight, *joints[p][h][j], *NO_MOMENTS) for j, name in enumerate(named))
