# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one facade: heatmaps and a camera in, a posterior over 3D poses out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffpose_core import sampler as sampling
from diffpose_core.camera import Camera
from diffpose_core.device import checked_device
from diffpose_core.evidence import Evidence
from diffpose_core.heatmap import Heatmaps
from diffpose_core.likelihood import HeatmapLikelihood, KnownJoints, Likelihood
from diffpose_core.observation import MISSING
from diffpose_core.posterior import PosePosterior
from diffpose_core.prior import PosePrior
from diffpose_core.sampler import SamplerConfig


class PoseEstimator:
    """Infers 3D poses by steering the unconditional prior with observations.

    Args:
        prior: the pose prior.
        device: ``cpu``, ``cuda`` or ``cuda:N``. A device that is not there raises; there is no fall-back.
        sampler: settings of the sampler.
    """

    def __init__(
        self, prior: PosePrior, device: str | torch.device = "cpu", sampler: SamplerConfig | None = None
    ) -> None:
        self.device = checked_device(device)
        self.sampler = sampler or SamplerConfig()
        self.prior = prior.to(self.device, sampling.PRECISIONS[self.sampler.precision])
        self._evidence: Evidence | None = None

    def __call__(
        self, heatmaps: Heatmaps, camera: Camera, num_hypotheses: int = 50, generator: torch.Generator | None = None
    ) -> PosePosterior:
        """Infer the persons of one image.

        Args:
            heatmaps: P persons.
            camera: of the image.
            num_hypotheses: S, skeletons per person.
            generator: on the estimator's device; the same seed on the same device gives the same bits. None: one of
                torch's default seed, so the same in every call.
        """
        return self.infer([HeatmapLikelihood(heatmaps, camera)], num_hypotheses, generator)

    def with_steps(self, steps: int) -> PoseEstimator:
        """Return an estimator that visits so many noise levels; the prior is shared."""
        self._known_evidence()  # costly, and shared by the copy
        other = copy.copy(self)
        other.sampler = replace(self.sampler, steps=steps)
        return other

    def complete(
        self, joints: Tensor, known: Tensor, std: float | Tensor = 0.01,
        num_hypotheses: int = 50, generator: torch.Generator | None = None, root_relative: bool = False,
    ) -> PosePosterior:  # fmt: skip
        """Complete partly known poses, without retraining; ``sampler.COMPLETING`` are the settings for it.

        People may be anywhere, behind the origin too: they are moved to where the root's prior is at home and back.

        Args:
            joints: [P, 17, 3] metres, axes of a level camera (x right, y down, z forward).
            known: bool [P, 17].
            std: standard deviation of the known joints in metres, one number or [P, 17].
            num_hypotheses: S, skeletons per person.
            generator: on the estimator's device; None: as in :meth:`__call__`.
            root_relative: whether ``joints`` are relative to the pelvis; then so is the result.

        Raises:
            ValueError: as :class:`KnownJoints` and :meth:`infer`.
        """
        seen = KnownJoints(joints, known, std, root_relative)
        if root_relative:
            post = self.infer([seen], num_hypotheses, generator)
            return replace(post, joints=post.joints - post.joints[:, :, :1])
        count = seen.known.sum(1).clamp_min(1)[:, None]
        offset = seen.joints.sum(1) / count - seen.joints.new_tensor(sampling.ROOT_MEAN_M)
        offset = torch.where(seen.known.any(1, keepdim=True), offset, 0.0)
        post = self.infer([seen.moved(-offset)], num_hypotheses, generator)
        return replace(post, joints=post.joints + offset.to(self.device)[:, None, None])

    def generate(
        self, n: int, likelihoods: Sequence[Likelihood] = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "n 17 3"]:
        """Generate root-relative poses, metres, camera axes: any, or those that agree with likelihoods of one person.

        Raises:
            ValueError: ``n`` is below 1, or the likelihoods observe another number of persons than one.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if not likelihoods:
            return self.prior.sample(n, generator)
        for y in likelihoods:
            if y.persons != 1:
                raise ValueError(f"likelihoods must observe one person, got {y.persons}: {y.describe()}")
        joints = self.infer(likelihoods, n, generator).joints[0]
        return joints - joints[:, :1]

    def log_evidence(self, likelihoods: Sequence[Likelihood]) -> Float[Tensor, "P"]:
        """Log p(observations) in nats per person, as of :attr:`PosePosterior.log_evidence`, without sampling.

        Raises:
            ValueError: as :meth:`infer`.
        """
        self._check(likelihoods)
        return self._log_evidence([y.to(self.device) for y in likelihoods])

    def agreement(self, likelihoods: Sequence[Likelihood]) -> Float[Tensor, "P"]:
        """Log p(all) - sum of log p(each), nats: the Bayes factor of one person behind all against one behind each.

        Below zero the observations contradict each other: two people, or a wrong calibration.

        Raises:
            ValueError: as :meth:`infer`.
        """
        return self.log_evidence(likelihoods) - torch.stack([self.log_evidence([y]) for y in likelihoods]).sum(0)

    def infer(
        self, likelihoods: Sequence[Likelihood], num_hypotheses: int = 50, generator: torch.Generator | None = None
    ) -> PosePosterior:
        """Infer from any observations of the same P persons together; the generator as in :meth:`__call__`.

        Raises:
            ValueError: no likelihood, a different number of persons, fewer than one hypothesis, or a generator
                on another device.
        """
        count = self._check(likelihoods)
        if num_hypotheses < 1:
            raise ValueError(f"num_hypotheses must be at least 1, got {num_hypotheses}")
        if generator is None:
            generator = torch.Generator(self.device)
        elif generator.device.type != self.device.type:
            raise ValueError(f"generator is on {generator.device}, the estimator on {self.device}")
        observations = [y.to(self.device) for y in likelihoods]
        status = torch.stack([y.status() for y in observations]).amin(0)
        log_weights = torch.full((count, num_hypotheses), -math.log(num_hypotheses), device=self.device)
        if count == 0:
            nobody = torch.zeros(0, num_hypotheses, 17, 3, device=self.device)
            return PosePosterior(nobody, log_weights, status, log_evidence=log_weights.new_zeros(0))
        joints, root = self._draw(observations, num_hypotheses, generator)
        # Of a person of whom nothing is known the root is drawn from a broad prior, a room before the camera.
        unknown = (status == MISSING).all(-1)[:, None, None]
        if unknown.any():
            unknown = unknown & ~self._placed(observations, joints, root)
        anywhere = torch.randn(root.shape, generator=generator, device=self.device) * 2 + root.new_tensor(
            [0.0, 0.0, 5.0]
        )
        root = torch.where(unknown, anywhere, root)
        evidence = self._log_evidence(observations)
        return PosePosterior(joints + root[:, :, None], log_weights, status, log_evidence=evidence)

    @staticmethod
    def _check(likelihoods: Sequence[Likelihood]) -> int:
        """Return the number of persons that all observe."""
        if not likelihoods:
            raise ValueError("likelihoods must hold at least one observation")
        persons = {y.persons for y in likelihoods}
        if len(persons) != 1:
            each = "; ".join(y.describe() for y in likelihoods)
            raise ValueError(f"likelihoods must observe the same persons, got counts {sorted(persons)}: {each}")
        return persons.pop()

    def _known_evidence(self) -> Evidence:
        self._evidence = self._evidence or Evidence(self.prior)
        return self._evidence

    def _log_evidence(self, observations: list[Likelihood]) -> Float[Tensor, "P"]:
        return self._known_evidence().log(observations)

    def _placed(self, observations: list[Likelihood], joints: Tensor, root: Tensor) -> Bool[Tensor, "P 1 1"]:
        """Whether any observation tells of the root, though it may tell of no joint."""
        covariance = self.prior.unit_m**2 * self.prior.covariance(self.sampler.sigma_min)
        generator = torch.Generator(self.device)
        seen = [y.linearise(joints, root, covariance, generator).root_jacobian for y in observations]
        return torch.stack([(rows != 0).any(-1).any(-1).any(-1) for rows in seen]).any(0)[:, None, None]

    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False):  # the network is differentiated, whatever the caller's mode
            return sampling.run(self.prior, observations, num_hypotheses, self.sampler, generator)
