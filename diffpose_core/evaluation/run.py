# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""From a plan of frames to their scores; each batch has a seed of its own, so that who works on it does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from diffpose_core.camera import Camera
from diffpose_core.estimator import PoseEstimator
from diffpose_core.evaluation.frames import Batch, FramePlan
from diffpose_core.evaluation.inputs import Input
from diffpose_core.evaluation.protocol import Protocol
from diffpose_core.evaluation.scores import FrameScores, score
from diffpose_core.heatmap import Heatmaps
from diffpose_core.likelihood import HeatmapLikelihood, KnownJoints, Likelihood
from diffpose_core.skeleton import H36M17

KNOWN_ROOT_SD_M = 0.001
GUESSED_FIELD_OF_VIEW_DEG = 60.0
SEED_STRIDE = 1_000_003
"""Batches of one seed do not meet those of the next; the generator of the CPU knows 32 bits of a seed only."""


@dataclass(frozen=True)
class Knowledge:
    """What the estimator is told besides the 2D input.

    Attributes:
        root: ``unknown``, or ``known``: where the true pelvis is, as GFPose and Platypose are told.
        intrinsics: ``known``, or ``guessed``: 60 degrees of horizontal field of view and no distortion.

    Raises:
        ValueError: either is something else.
    """

    root: str = "unknown"
    intrinsics: str = "known"

    def __post_init__(self) -> None:
        for name, value in (("root", self.root), ("intrinsics", self.intrinsics)):
            allowed = ("known", "unknown" if name == "root" else "guessed")
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")

    def likelihoods(self, heatmaps: Heatmaps, batch: Batch) -> list[Likelihood]:
        """Return the observations of a batch."""
        camera = batch.camera
        if self.intrinsics == "guessed":
            camera = Camera.from_field_of_view(camera.width, camera.height, GUESSED_FIELD_OF_VIEW_DEG)
        seen: list[Likelihood] = [HeatmapLikelihood(heatmaps, camera)]
        if self.root == "known":
            known = torch.zeros(len(batch), len(H36M17), dtype=torch.bool)
            known[:, 0] = True
            seen.append(KnownJoints(batch.joints, known, KNOWN_ROOT_SD_M))
        return seen


def score_batches(
    plan: FramePlan, numbers: Iterable[int], see: Input, estimator: PoseEstimator, protocol: Protocol,
    knowledge: Knowledge, hypotheses: int, sizes: tuple[int, ...], seed: int,
) -> Iterator[FrameScores]:  # fmt: skip
    """Estimate and score some batches of a plan.

    Args:
        plan: the frames.
        numbers: which batches.
        see: the 2D input.
        estimator: whose hypotheses are scored.
        protocol: joints and root.
        knowledge: what else the estimator is told.
        hypotheses: of each person.
        sizes: the m of best of m.
        seed: of everything random; with the number of a batch it fixes what is drawn for it.
    """
    for number in numbers:
        own_seed = 2 * (seed * SEED_STRIDE + number)
        drawn = torch.Generator().manual_seed(own_seed)
        batch = plan.read(number, drawn)
        heatmaps = see(batch, drawn)
        generator = torch.Generator(estimator.device).manual_seed(own_seed + 1)
        post = estimator.infer(knowledge.likelihoods(heatmaps, batch), hypotheses, generator)
        yield score(
            post.joints.cpu(), batch.joints, heatmaps.seen.any(-1), protocol, sizes,
            [r.action for r in batch.recordings], [r.subject for r in batch.recordings],
        )  # fmt: skip
