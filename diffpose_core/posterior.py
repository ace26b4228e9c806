# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The result of an inference: weighted 3D skeletons with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.checks import checked_transform
from diffpose_core.observation import ObservationModel
from diffpose_core.skeleton import H36M17, Skeleton

COVARIANCE_FLOOR_M = 1e-3
"""Standard deviation added to every joint's covariance: it is positive definite for any number of hypotheses."""

_FIELDS = ("joints", "log_weights", "status")


@dataclass(frozen=True)
class PosePosterior:
    """Weighted hypotheses per person.

    Attributes:
        joints: [P, S, 17, 3] metres, camera optical frame (x right, y down, z forward), absolute.
        log_weights: [P, S], normalised: logsumexp over S is 0.
        status: [P, 17], OBSERVED 0 | INFERRED 1 | MISSING 2.
        skeleton: names and order of the joints.
        log_evidence: [P] log p(observations) in nats, relative to a pose that explains them exactly; low where they
            contradict each other or what bodies do. Compare it among explanations of the same observations, or with
            what is usual for observations of the same kind (docs/likelihoods.md).
    """

    joints: Float[Tensor, "P S 17 3"]
    log_weights: Float[Tensor, "P S"]
    status: Int[Tensor, "P 17"]
    skeleton: Skeleton = H36M17
    log_evidence: Float[Tensor, "P"] | None = None

    def __post_init__(self) -> None:
        if not torch.isfinite(self.joints).all() or torch.isnan(self.log_weights).any():
            raise FloatingPointError("joints or log_weights of the posterior are not finite")
        if self.log_evidence is not None and torch.isnan(self.log_evidence).any():
            raise FloatingPointError("log_evidence of the posterior is not a number")

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def weights(self) -> Float[Tensor, "P S"]:
        """Weights that sum to 1 per person."""
        return self.log_weights.exp()

    @property
    def mean(self) -> Float[Tensor, "P 17 3"]:
        """Weighted mean of the hypotheses, metres."""
        return torch.einsum("ps,psjc->pjc", self.weights, self.joints)

    @property
    def covariance(self) -> Float[Tensor, "P 17 3 3"]:
        """Weighted covariance per joint, m^2: unbiased for equal weights, plus a floor of 1 mm."""
        d = self.joints - self.mean[:, None]
        raw = torch.einsum("ps,psja,psjb->pjab", self.weights, d, d)
        correction = 1 / (1 - (self.weights**2).sum(-1)).clamp_min(0.5 / max(2, self.joints.shape[1]))
        eye = torch.eye(3, device=raw.device)
        return raw * correction[:, None, None, None] + COVARIANCE_FLOOR_M**2 * eye

    def to(self, device: torch.device | str) -> PosePosterior:
        """Return a copy on ``device``."""
        evidence = None if self.log_evidence is None else self.log_evidence.to(device)
        joints, weights, status = (getattr(self, name).to(device) for name in _FIELDS)
        return PosePosterior(joints, weights, status, self.skeleton, evidence)

    @classmethod
    def concatenate(cls, parts: Sequence[PosePosterior]) -> PosePosterior:
        """Join the persons of posteriors of the same frame.

        Raises:
            ValueError: no parts, or they differ in the number of hypotheses or in having an evidence.
        """
        kinds = {(p.joints.shape[1], p.log_evidence is None) for p in parts}
        if len(kinds) != 1:
            raise ValueError(f"parts must agree in their number of hypotheses and in having evidence, got {kinds}")
        evidence = [p.log_evidence for p in parts if p.log_evidence is not None]
        joints, weights, status = (torch.cat([getattr(p, name) for p in parts]) for name in _FIELDS)
        return cls(joints, weights, status, parts[0].skeleton, torch.cat(evidence) if evidence else None)

    def of(self, persons: Sequence[int]) -> PosePosterior:
        """Return that of some persons, by number."""
        index = list(persons)
        evidence = None if self.log_evidence is None else self.log_evidence[index]
        return PosePosterior(self.joints[index], self.log_weights[index], self.status[index], self.skeleton, evidence)

    def transformed(self, target_from_reference: Float[Tensor, "3 4"]) -> PosePosterior:
        """Return the posterior in another frame.

        Args:
            target_from_reference: rigid transform [R | t] in metres.

        Raises:
            ValueError: it is not one.
        """
        pose = checked_transform("target_from_reference", target_from_reference).to(self.joints.device)
        return replace(self, joints=self.joints @ pose[:, :3].T + pose[:, 3])

    def reproject(self, camera: Camera, skeleton: Skeleton) -> Float[Tensor, "P K 2"]:
        """Project the mean pose's keypoints of a detector's skeleton, px."""
        weights = ObservationModel.of(skeleton).weights.to(self.joints.device)
        return camera.project(torch.einsum("kj,pjc->pkc", weights, self.mean))
