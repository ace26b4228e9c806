# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Scores of hypotheses, per frame, and what is made of them over frames and actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffpose_core.evaluation.protocol import Protocol
from diffpose_core.metrics import (
    auc,
    best_of,
    coverage,
    cps,
    expected_calibration_error,
    inside_by_distance,
    joint_errors,
    pck,
    pose_energy_score,
    procrustes,
)
from diffpose_core.metrics.calibration import CURVE
from diffpose_core.skeleton import H36M17

LEVELS = (0.5, 0.8, 0.9, 0.95)
HIGHER_IS_BETTER = ("PCK", "AUC", "CPS")


@dataclass(frozen=True)
class FrameScores:
    """Scores of P frames.

    Attributes:
        action, subject: [P] of each frame.
        values: name to [P]; mm for errors, 0 to 1 for shares, mm of threshold for CPS.
        mean_joints: [P, J] error of the mean pose per scored joint, mm.
        best_joints: [P, J] the same of the hypothesis with the smallest MPJPE.
        inside: [P, moving joints, levels] whether the truth is as near the median as that share of the hypotheses.
        found: [P] whether the 2D input showed the person at all.
    """

    action: list[str]
    subject: list[str]
    values: dict[str, Float[Tensor, "P"]]
    mean_joints: Float[Tensor, "P J"]
    best_joints: Float[Tensor, "P J"]
    inside: Bool[Tensor, "P moving levels"]
    found: Bool[Tensor, "P"]

    def __len__(self) -> int:
        return len(self.action)

    @classmethod
    def concatenate(cls, parts: Sequence[FrameScores]) -> FrameScores:
        """Join, in the order given."""
        return cls(
            [a for p in parts for a in p.action],
            [s for p in parts for s in p.subject],
            {k: torch.cat([p.values[k] for p in parts]) for k in parts[0].values},
            torch.cat([p.mean_joints for p in parts]),
            torch.cat([p.best_joints for p in parts]),
            torch.cat([p.inside for p in parts]),
            torch.cat([p.found for p in parts]),
        )


def aligned(joints: Float[Tensor, "*batch 17 3"], root: tuple[str, ...]) -> Float[Tensor, "*batch 17 3"]:
    """Move the mean of the named joints to the origin."""
    return joints - joints[..., _numbers(root), :].mean(-2, keepdim=True)


def _numbers(joints: tuple[str, ...]) -> list[int]:
    return [H36M17.index(joint) for joint in joints]


def _figures(
    estimates: Float[Tensor, "*batch 17 3"], truth: Float[Tensor, "*#batch 17 3"], protocol: Protocol
) -> dict[str, Float[Tensor, "*batch"]]:
    """Return every metric of poses whose root is at the origin: mm, or 0 to 1."""
    joints, pck_joints = _numbers(protocol.joints), _numbers(protocol.pck_joints)
    errors = joint_errors(estimates, truth)
    true = truth[..., joints, :]
    matched = joint_errors(procrustes(estimates[..., joints, :], true), true)
    return {
        "MPJPE": 1000 * errors[..., joints].mean(-1),
        "PA-MPJPE": 1000 * matched.mean(-1),
        "PCK": pck(errors[..., pck_joints]),
        "AUC": auc(errors[..., pck_joints]),
        "CPS": cps(matched[..., [i for i, joint in enumerate(protocol.joints) if joint != "Spine"]]),
    }


def score(
    hypotheses: Float[Tensor, "P S 17 3"], truth: Float[Tensor, "P 17 3"], found: Bool[Tensor, "P"],
    protocol: Protocol, sizes: Sequence[int], action: list[str], subject: list[str],
) -> FrameScores:  # fmt: skip
    """Score equally weighted hypotheses (metres, optical frame).

    Best of m is the expected best of m hypotheses drawn without replacement, each metric's own, as the field takes it:
    the hypothesis of least MPJPE need not be that of least PA-MPJPE. MPJPE, PCK and AUC are taken after moving the
    root, PA-MPJPE and CPS after Procrustes alignment without reflections; CPS leaves the spine out (Wehrbein et al.,
    2107.13788).

    Args:
        hypotheses: [P, S, 17, 3].
        truth: [P, 17, 3].
        found: whether the 2D input showed the person.
        protocol: joints and root.
        sizes: the m of best of m; those above S are left out.
        action, subject: of each frame.
    """
    samples, true = aligned(hypotheses, protocol.root), aligned(truth, protocol.root)
    mean = samples.mean(1)
    values = {f"{name} of the mean": each for name, each in _figures(mean, true, protocol).items()}
    figures = _figures(samples, true[:, None], protocol)
    for m in (m for m in sizes if m <= samples.shape[1]):
        for name, each in figures.items():
            values[f"{name} best of {m}"] = -best_of(-each, m) if name in HIGHER_IS_BETTER else best_of(each, m)
    joints = _numbers(protocol.joints)
    values["energy score"] = 1000 * pose_energy_score(samples[:, :, joints], true[:, joints])
    moving = [H36M17.index(joint) for joint in protocol.moving]
    share = coverage(samples[:, :, moving], true[:, moving], LEVELS)
    for i, level in enumerate(LEVELS):
        values[f"z inside {100 * level:g} %"] = share[:, i, 2]
        values[f"xy inside {100 * level:g} %"] = share[:, i, :2].mean(-1)
    best = samples[torch.arange(len(samples)), figures["MPJPE"].argmin(1)]
    return FrameScores(
        action, subject, values,
        1000 * joint_errors(mean, true)[:, joints], 1000 * joint_errors(best, true)[:, joints],
        inside_by_distance(samples[:, :, moving], true[:, moving]), found,
    )  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """Figures of an evaluation.

    Attributes:
        frames: how many were scored with each seed.
        not_found: how many of them, over all seeds, showed nobody to the 2D input.
        figures: name to the protocol's mean, over all seeds.
        spread: name to the standard deviation between the seeds' own means; empty for one seed.
        by_action, by_subject: means over the frames of each.
        mean_joints, best_joints: by joint, mm, over frames.
        curve: share of truths inside, per level, over frames and joints but the root.
        levels: of the curve.
    """

    frames: int
    not_found: int
    figures: dict[str, float]
    spread: dict[str, float]
    by_action: dict[str, dict[str, float]]
    by_subject: dict[str, dict[str, float]]
    mean_joints: dict[str, float]
    best_joints: dict[str, float]
    curve: list[float]
    levels: list[float] = field(default_factory=lambda: list(CURVE))


def _means(scores: FrameScores, names: list[str]) -> dict[str, dict[str, float]]:
    """Average over the frames of each name."""
    found = {}
    for name in sorted(set(names)):
        chosen = torch.tensor([n == name for n in names])
        found[name] = {k: float(v[chosen].double().mean()) for k, v in scores.values.items()}
    return found


def _overall(scores: FrameScores, protocol: Protocol) -> dict[str, float]:
    """Average over frames, or over actions of the means over frames."""
    if protocol.by_action:
        actions = _means(scores, scores.action).values()
        figures = {k: sum(a[k] for a in actions) / len(actions) for k in scores.values}
    else:
        figures = {k: float(v.double().mean()) for k, v in scores.values.items()}
    return figures | {"ECE": float(expected_calibration_error(scores.inside).mean())}


def summarise(by_seed: Sequence[FrameScores], protocol: Protocol) -> Summary:
    """Make the figures of the scores of the same frames with one seed or several."""
    scores = FrameScores.concatenate(by_seed)
    each = [_overall(s, protocol) for s in by_seed]
    spread = {k: float(torch.tensor([e[k] for e in each]).std()) for k in each[0]} if len(each) > 1 else {}

    def by_joint(errors: Tensor) -> dict[str, float]:
        return dict(zip(protocol.joints, errors.double().mean(0).tolist(), strict=True))

    return Summary(
        len(by_seed[0]), int((~scores.found).sum()), _overall(scores, protocol), spread,
        _means(scores, scores.action), _means(scores, scores.subject),
        by_joint(scores.mean_joints), by_joint(scores.best_joints), scores.inside.double().mean((0, 1)).tolist(),
    )  # fmt: skip
