# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Other ways from the same observations to poses, to compare with; reachable from the benchmark only.

Each is written from its paper as a guidance for :func:`diffpose_core.sampler.run`, as a prior for it, or, where the
paper has a loop of its own, as an estimator. The treatment of the root (solved for at every step) is the same for all;
for guidances the loop and the noise levels are too, so that what differs is the guidance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.data.augment import AugmentConfig, augment
from diffpose_core.estimator import PoseEstimator
from diffpose_core.likelihood.base import Likelihood
from diffpose_core.prior import PosePrior
from diffpose_core.prior.network import POSE_DIM
from diffpose_core.prior.schedule import karras_sigmas
from diffpose_core.sampler import Guidance, Guided, GuidedDenoiser, Posterior, SamplerConfig, centred, run

DPS_STEP = 0.01
NORMALISED_DPS_STEP = 0.1
PLATYPOSE_STEP, PLATYPOSE_SUBSTEPS = 0.3, 10
"""Steps by the energy score on validation subjects (docs/benchmark.md)."""


def dps(posterior: Posterior, normalised: bool) -> GuidedDenoiser:
    """DPS (Chung et al., 2209.14687, algorithm 1): the same step at every level, along the misfit's slope.

    The misfit is half the squared norm of the residuals in their standard deviations or, normalised (section 3.3), the
    norm; its slope goes through the network and through the root.
    """
    prior, config = posterior.prior, posterior.config
    sigmas = karras_sigmas(config.steps, config.sigma_min, config.sigma_max).tolist()
    lower = dict(zip(sigmas, [*sigmas[1:], 0.0], strict=True))

    def guided(x: Tensor, sigma: float) -> Guided:
        spread = prior.unit_m**2 * prior.covariance(sigma)  # only chooses among peaks and outliers
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            clean = prior.denoise(x, sigma)
            joints = clean * prior.unit_m
            seen = posterior.linearise(joints, posterior.locate(joints), spread)
            misfit = seen.residual.norm(dim=-1)
            (slope,) = torch.autograd.grad((misfit if normalised else 0.5 * misfit**2).sum(), x)
        step = NORMALISED_DPS_STEP if normalised else DPS_STEP
        # The ancestral step takes the share 1 - (lower / sigma)^2 of the way to the mean; the whole step is due.
        return Guided(clean.detach() - step * slope / (1 - (lower[sigma] / sigma) ** 2), None)

    return guided


def pigdm(posterior: Posterior) -> GuidedDenoiser:
    """PiGDM (Song et al., ICLR 2023, eq. 7): x0 given x_s as an isotropic Gaussian of variance s^2 / (1 + s^2)."""
    prior = posterior.prior

    def guided(x: Tensor, sigma: float) -> Guided:
        unit = prior.unit_m
        covariance = unit**2 * sigma**2 / (1 + sigma**2) * torch.eye(POSE_DIM, device=prior.device)
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            clean = prior.denoise(x, sigma)
        joints = clean.detach() * unit
        gain, residual, root_offset = posterior.gain(joints, posterior.locate(joints), covariance)
        _, q = gain.solve(residual[..., None], root_offset[..., None])
        (pulled,) = torch.autograd.grad(clean, x, unit * (q.mT @ gain.observation.jacobian)[..., 0, :])
        return Guided(clean.detach() + sigma**2 * pulled, None)

    return guided


def mpgd(posterior: Posterior) -> GuidedDenoiser:
    """MPGD (He et al., 2311.16424, algorithm 1): a gradient step on the clean pose itself, not through the network.

    The step is C(s) times the gradient of the blurred heatmaps: no step size is left to choose.
    """
    prior = posterior.prior

    def guided(x: Tensor, sigma: float) -> Guided:
        covariance = prior.covariance(sigma)
        with torch.enable_grad():
            clean = prior.denoise(x, sigma).detach().requires_grad_(True)
            joints = clean * prior.unit_m
            absolute = joints.unflatten(-1, (-1, 3)) + posterior.locate(joints)[:, :, None]
            blur = prior.unit_m**2 * centred(covariance)
            logs = torch.stack([y.log_density(absolute, blur) for y in posterior.likelihoods])
            (gradient,) = torch.autograd.grad(logs.sum(), clean)
        return Guided(clean.detach() + gradient @ covariance, None)

    return guided


def platypose(posterior: Posterior) -> GuidedDenoiser:
    """Platypose (Pierzchlewicz et al., 2403.06164): plain gradient descent of the misfit on the clean pose itself.

    A step of 1 is the largest stable one for the best seen joint: pixels are no common unit of near and far people.
    """
    prior = posterior.prior

    def guided(x: Tensor, sigma: float) -> Guided:
        spread = prior.unit_m**2 * prior.covariance(sigma)  # only chooses among peaks and outliers
        clean = prior.denoise(x, sigma)
        for _ in range(PLATYPOSE_SUBSTEPS):
            joints = clean * prior.unit_m
            seen = posterior.linearise(joints, posterior.locate(joints), spread)
            descent = (seen.residual[..., None, :] @ seen.jacobian)[..., 0, :]
            steepest = (seen.jacobian**2).sum(-1).amax(-1, keepdim=True).clamp_min(1e-12)
            clean = clean + PLATYPOSE_STEP * descent / (steepest * prior.unit_m)
        return Guided(clean, None)

    return guided


class GaussianPrior(PosePrior):
    """A prior that knows poses by mean and covariance only; for it the kalman sampler is exact, but for the camera.

    Args:
        mean: [51], units of the scaled pose.
        spread: [51, 51] covariance, square units.
        unit_m: metres per unit.
    """

    def __init__(self, mean: Float[Tensor, "51"], spread: Float[Tensor, "51 51"], unit_m: float) -> None:
        self.mean, self.spread, self.unit_m = mean, spread, unit_m
        self.metadata, self.sha256 = {}, ""

    @classmethod
    def like(cls, prior: PosePrior, draws: int = 4_000) -> GaussianPrior:
        """Return the Gaussian with the moments of poses drawn from another prior."""
        poses = prior.sample(draws, torch.Generator(prior.device).manual_seed(0)).flatten(1) / prior.unit_m
        return cls(poses.mean(0), torch.cov(poses.T), prior.unit_m)

    @property
    def device(self) -> torch.device:
        """Where the moments are."""
        return self.mean.device

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> GaussianPrior:
        """Return this prior on ``device``; there is no network whose precision could be lowered."""
        return GaussianPrior(self.mean.to(device), self.spread.to(device), self.unit_m)

    def _noisy(self, sigma: float) -> Float[Tensor, "51 51"]:
        return self.spread + sigma**2 * torch.eye(POSE_DIM, device=self.device)

    def denoise(self, x: Float[Tensor, "*batch 51"], sigma: float) -> Float[Tensor, "*batch 51"]:
        """E[x0 | x], exactly."""
        return self.mean + (x - self.mean) @ torch.linalg.solve(self._noisy(sigma), self.spread)

    def covariance(self, sigma: float) -> Float[Tensor, "51 51"]:
        """Covariance of x0 given the noisy x, exactly."""
        return self.spread - self.spread @ torch.linalg.solve(self._noisy(sigma), self.spread)


class GuidedEstimator(PoseEstimator):
    """A :class:`PoseEstimator` that is steered by another guidance."""

    def __init__(self, prior: PosePrior, device: str | torch.device, config: SamplerConfig, guidance: Guidance) -> None:
        super().__init__(prior, device, config)
        self.guidance = guidance

    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return run(self.prior, observations, num_hypotheses, self.sampler, generator, self.guidance)


def _turned(poses: Float[Tensor, "*batch 17 3"], yaw: float) -> Float[Tensor, "*batch 17 3"]:
    """Turn poses in camera axes about the camera's y axis."""
    c, s = math.cos(yaw), math.sin(yaw)
    return poses @ poses.new_tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def _misfit(observations: list[Likelihood], poses: Tensor, roots: Tensor) -> Float[Tensor, "P S"]:
    """Return minus the log likelihood of root-relative poses at their roots."""
    nothing = torch.zeros(POSE_DIM, POSE_DIM, device=poses.device)
    logs = [y.log_density(poses + roots[:, :, None], nothing) for y in observations]
    return -torch.stack(logs).sum(0)


class ZedoEstimator(PoseEstimator):
    """ZeDO (Jiang et al., 2307.03833, section 3): poses are fitted to the rays and denoised a little, in turns.

    Hypotheses differ by the pose that they start from, here drawn from the prior and turned to fit best. The denoiser
    goes from a small noise level to a smaller one, and nothing is drawn on the way.
    """

    ITERATIONS, START_SIGMA, TURNS = 200, 1.0, 16

    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        posterior = Posterior(self.prior, observations, self.sampler, generator)
        persons, unit = observations[0].persons, self.prior.unit_m
        drawn = self.prior.sample(persons * num_hypotheses, generator).unflatten(0, (persons, num_hypotheses))
        turns = [_turned(drawn, 2 * math.pi * i / self.TURNS) for i in range(self.TURNS)]
        misfits = [_misfit(observations, pose, posterior.locate(pose.flatten(-2))) for pose in turns]
        best = torch.stack(misfits).argmin(0)
        x = torch.stack(turns).gather(0, best[None, :, :, None, None].expand(1, *drawn.shape))[0].flatten(-2) / unit
        # The distance to a ray is the residual of a camera that sees directions: the least move that removes it.
        isotropic = torch.eye(POSE_DIM, device=self.device) * 1e3
        sigmas = karras_sigmas(self.ITERATIONS, self.sampler.sigma_min, self.START_SIGMA).tolist()
        for sigma, lower in itertools.pairwise(sigmas):
            joints = x * unit
            gain, residual, _ = posterior.gain(joints, posterior.locate(joints), isotropic)
            seen = gain.observation
            q = torch.cholesky_solve(residual[..., None], gain.factor)
            x = x + (q.mT @ seen.jacobian @ isotropic)[..., 0, :] / unit
            x = x + (1 - lower / sigma) * (self.prior.denoise(x, sigma) - x)
        joints = (x * unit).unflatten(-1, (-1, 3))
        joints = joints - joints[:, :, :1]
        return joints, posterior.draw_root(joints.flatten(-2))


class NearestNeighbours(PoseEstimator):
    """The poses of the training set, augmented as for training, that fit the observations best.

    Args:
        world: [N, 17, 3] metres, z up.
        candidates: how many augmented poses to choose from.
    """

    CHUNK = 2_000

    def __init__(self, prior: PosePrior, device: str | torch.device, world: Tensor, candidates: int = 50_000) -> None:
        super().__init__(prior, device)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(len(world), (candidates,), generator=generator)
        self.poses = augment(world[drawn], AugmentConfig(), generator).to(self.device)

    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        posterior = Posterior(self.prior, observations, self.sampler, generator)
        misfits = []
        for chunk in self.poses.split(self.CHUNK):
            poses = chunk.expand(observations[0].persons, *chunk.shape)
            misfits.append(_misfit(observations, poses, posterior.locate(poses.flatten(-2))))
        joints = self.poses[torch.cat(misfits, 1).topk(num_hypotheses, largest=False).indices]
        return joints, posterior.draw_root(joints.flatten(-2))


Build = Callable[[PosePrior, str, Callable[[], Tensor]], PoseEstimator]


def _guided(guidance: Guidance, steps: int) -> Build:
    config = SamplerConfig(guidance="gradient", steps=steps)
    return lambda prior, device, _: GuidedEstimator(prior, device, config, guidance)


BASELINES: dict[str, Build] = {
    "DPS": _guided(partial(dps, normalised=False), 50),
    "DPS, normalised": _guided(partial(dps, normalised=True), 50),
    "PiGDM": _guided(pigdm, 25),
    "MPGD": _guided(mpgd, 50),
    "Platypose": _guided(platypose, 25),
    "ZeDO": lambda prior, device, _: ZedoEstimator(prior, device),
    "Gaussian prior": lambda prior, device, _: PoseEstimator(GaussianPrior.like(prior), device),
    "nearest neighbours": lambda prior, device, training: NearestNeighbours(prior, device, training()),
}
"""From a prior, a device and the training poses [N, 17, 3] (world, z up; read only by who calls for them)."""
