"""Other ways from the same observations to poses, to compare with; reachable from the benchmark only.

Each is written from its paper as a guidance for :func:`diffpose_core.sampler.run`, or as a prior for it: the loop,
the noise levels and the treatment of the root (solved for at every step) are the same for all, so that what differs
is the guidance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.estimator import PoseEstimator
from diffpose_core.likelihood.base import Likelihood
from diffpose_core.prior import PosePrior
from diffpose_core.prior.network import POSE_DIM
from diffpose_core.prior.schedule import karras_sigmas
from diffpose_core.sampler import Guidance, Guided, GuidedDenoiser, Posterior, SamplerConfig, centred, run

DPS_STEP = 0.1
"""By the energy score on validation subjects, among 0.01, 0.03, 0.1, 0.2 and 0.4 at 50 steps."""


def dps(posterior: Posterior) -> GuidedDenoiser:
    """DPS (Chung et al., 2209.14687, algorithm 1, section 3.3): the same step at every level, along the misfit's slope.

    The misfit is the norm of the residuals in their standard deviations; its slope goes through the network and
    through the root.
    """
    prior, config = posterior.prior, posterior.config
    sigmas = karras_sigmas(config.steps, config.sigma_min, config.sigma_max).tolist()
    lower = dict(zip(sigmas, [*sigmas[1:], 0.0], strict=True))
    nothing = torch.zeros(POSE_DIM, POSE_DIM, device=prior.device)

    def guided(x: Tensor, sigma: float) -> Guided:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            clean = prior.denoise(x, sigma)
            joints = clean * prior.unit_m
            seen = posterior.linearise(joints, posterior.locate(joints), nothing)
            (slope,) = torch.autograd.grad(seen.residual.norm(dim=-1).sum(), x)
        # The ancestral step takes the share 1 - (lower / sigma)^2 of the way to the mean; the whole step is due.
        return Guided(clean.detach() - DPS_STEP * slope / (1 - (lower[sigma] / sigma) ** 2), None)

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

    def to(self, device: torch.device | str) -> GaussianPrior:
        """Return this prior on ``device``."""
        return GaussianPrior(self.mean.to(device), self.spread.to(device), self.unit_m)

    def _noisy(self, sigma: float) -> Float[Tensor, "51 51"]:
        return self.spread + sigma**2 * torch.eye(POSE_DIM, device=self.device)

    def denoise(self, x: Float[Tensor, "*batch 51"], sigma: float) -> Float[Tensor, "*batch 51"]:
        """E[x0 | x], exactly."""
        return self.mean + (x - self.mean) @ torch.linalg.solve(self._noisy(sigma), self.spread)

    def covariance(self, sigma: float) -> Float[Tensor, "51 51"]:
        """Covariance of x0 given the noisy x, exactly."""
        return self.spread - self.spread @ torch.linalg.solve(self._noisy(sigma), self.spread)


@dataclass(frozen=True)
class Baseline:
    """A guidance at its settings."""

    guidance: Guidance
    config: SamplerConfig


BASELINES: dict[str, Baseline] = {
    "DPS": Baseline(dps, SamplerConfig(guidance="gradient", steps=50)),
    "PiGDM": Baseline(pigdm, SamplerConfig(guidance="gradient", steps=25)),
    "MPGD": Baseline(mpgd, SamplerConfig(guidance="gradient", steps=50)),
}


class BaselineEstimator(PoseEstimator):
    """A :class:`PoseEstimator` that is steered by a baseline."""

    def __init__(self, prior: PosePrior, device: str | torch.device, baseline: Baseline) -> None:
        super().__init__(prior, device, baseline.config)
        self.guidance = baseline.guidance

    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return run(self.prior, observations, num_hypotheses, self.sampler, generator, self.guidance)
