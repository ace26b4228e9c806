# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The posterior to compare samplers with: slow, and exact but for the number of particles.

The prior is what the denoiser's probability-flow ODE makes of Gaussian noise z; the posterior of z given the
observations is known up to a constant, so that Monte Carlo needs no approximation of p(x0 | x_s): particles go from
the prior to the posterior by tempering the likelihood, are resampled, and moved by Metropolis-adjusted Langevin steps.
The root position is integrated out about its most likely value (Laplace).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.estimator import PoseEstimator
from diffpose_core.likelihood import Likelihood
from diffpose_core.prior import PosePrior, karras_sigmas
from diffpose_core.sampler import ROOT_MEAN_M, ROOT_SD_M, Posterior


@dataclass(frozen=True)
class ReferenceConfig:
    """Settings of the reference.

    Attributes:
        particles: per person.
        moves: Langevin steps after every change of temperature.
        polish: rounds of moves at the full likelihood.
        levels: noise levels of the ODE.
        sigma_max: first of them; the last is the sampler's.
        effective: share of effective particles at which the next temperature is set.
        acceptance: share of accepted moves that the step length is adapted to.
    """

    particles: int = 128
    moves: int = 6
    polish: int = 10
    levels: int = 10
    sigma_max: float = 8.0
    effective: float = 0.5
    acceptance: float = 0.55


class Particles(NamedTuple):
    """Noise, and what follows from it."""

    noise: Float[Tensor, "P N 48"]
    log_likelihood: Float[Tensor, "P N"]
    gradient: Float[Tensor, "P N 48"]
    """Of the log likelihood with respect to the noise."""
    joints: Float[Tensor, "P N 51"]

    def where(self, condition: Tensor, other: Particles) -> Particles:
        """Return these where the condition [P, N] or [P, 1] holds, the others elsewhere."""

        def choose(mine: Tensor, others: Tensor) -> Tensor:
            return torch.where(condition.reshape(*condition.shape, *[1] * (mine.dim() - 2)), mine, others)

        return Particles(*map(choose, self, other))

    def take(self, index: Tensor) -> Particles:
        """Return the particles of these indices [P, N]."""
        return Particles(*(torch.stack([v[i] for v, i in zip(value, index, strict=True)]) for value in self))


class ReferenceEstimator(PoseEstimator):
    """Draws hypotheses by tempered sequential Monte Carlo (Del Moral et al. 2006) in the noise space of the prior."""

    def __init__(
        self, prior: PosePrior, device: str | torch.device = "cpu", config: ReferenceConfig | None = None
    ) -> None:
        super().__init__(prior, device)
        self.config = config or ReferenceConfig()
        self._sigmas = karras_sigmas(self.config.levels, self.sampler.sigma_min, self.config.sigma_max).tolist()
        self._mean = self.prior.denoise(torch.zeros(51, device=self.device), self._sigmas[0])

    def decode(self, noise: Float[Tensor, "*batch 48"]) -> Float[Tensor, "*batch 51"]:
        """Return the prior's pose of this noise, metres: DPM-Solver++(2M) (Lu et al., 2211.01095, algorithm 2)."""
        x = self._mean + self._sigmas[0] * torch.nn.functional.pad(noise, (3, 0))
        before, step_before = None, 0.0
        for sigma, lower in itertools.pairwise(self._sigmas):
            clean, step = self.prior.denoise(x, sigma), math.log(sigma / lower)
            ahead = clean if before is None else clean + step / (2 * step_before) * (clean - before)
            x = lower / sigma * x + (1 - lower / sigma) * ahead
            before, step_before = clean, step
        return self.prior.denoise(x, self._sigmas[-1]) * self.prior.unit_m

    @torch.no_grad()
    def _root(self, posterior: Posterior, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most likely root and the precision about it."""
        root, nothing = posterior.locate(joints), torch.zeros(51, 51, device=self.device)
        mean, sd = root.new_tensor(ROOT_MEAN_M), root.new_tensor(ROOT_SD_M)
        for _ in range(3):
            seen = posterior.linearise(joints, root, nothing)
            g = seen.root_jacobian
            precision = g.mT @ g + torch.diag(sd**-2)
            slope = (g.mT @ seen.residual[..., None])[..., 0] + (mean - root) / sd**2
            root = root + torch.linalg.solve(precision, slope)
            root = torch.cat([root[..., :2], root[..., 2:].clamp_min(0.3)], -1)
        return root, precision

    def _evaluate(self, posterior: Posterior, noise: Tensor) -> Particles:
        with torch.enable_grad():
            noise = noise.detach().requires_grad_(True)
            joints = self.decode(noise)
            root, precision = self._root(posterior, joints.detach())
            absolute = joints.unflatten(-1, (17, 3)) + root[:, :, None]
            nothing = torch.zeros(51, 51, device=self.device)
            logs = torch.stack([y.log_density(absolute, nothing) for y in posterior.likelihoods]).sum(0)
            (gradient,) = torch.autograd.grad(logs.sum(), noise)
        away = (root - root.new_tensor(ROOT_MEAN_M)) / root.new_tensor(ROOT_SD_M)
        logs = logs.detach() - 0.5 * torch.logdet(precision) - 0.5 * (away**2).sum(-1)
        return Particles(noise.detach(), logs, gradient, joints.detach())

    def _next_temperature(self, temperature: Tensor, logs: Tensor) -> Tensor:
        """Return, per person, the inverse temperature that leaves the wanted share of particles effective."""
        low, high = torch.zeros_like(temperature), 1 - temperature

        def enough(step: Tensor) -> Tensor:
            weights = torch.softmax(step[:, None] * logs, 1)
            return 1 / (weights**2).sum(1) >= self.config.effective * logs.shape[1]

        last = enough(high)
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = torch.where(enough(middle), middle, low), torch.where(enough(middle), high, middle)
        return torch.where(last, torch.ones_like(low), temperature + low)

    def _move(
        self, posterior: Posterior, at: Particles, temperature: Tensor, length: Tensor, generator: torch.Generator
    ) -> tuple[Particles, Tensor]:
        """Metropolis-adjusted Langevin steps, shaped like the cloud of particles; return adapted lengths too."""
        centred = at.noise - at.noise.mean(1, keepdim=True)
        cloud = centred.mT @ centred / (centred.shape[1] - 1)
        cloud = 0.9 * cloud + 0.1 * torch.diag_embed(cloud.diagonal(dim1=1, dim2=2).clamp_min(1e-3))
        factor = torch.linalg.cholesky(cloud)

        def drifted(p: Particles) -> Tensor:
            slope = temperature[:, None, None] * p.gradient - p.noise
            return p.noise + 0.5 * length[:, None, None] ** 2 * (slope @ cloud)

        def log_proposal(to: Tensor, mean: Tensor) -> Tensor:
            white = torch.linalg.solve_triangular(factor, (to - mean).mT, upper=False)
            return -0.5 * (white**2).sum(1) / length[:, None] ** 2

        for _ in range(self.config.moves):
            random = torch.randn(at.noise.shape, generator=generator, device=self.device)
            proposed = self._evaluate(posterior, drifted(at) + length[:, None, None] * (random @ factor.mT))
            gain = temperature[:, None] * (proposed.log_likelihood - at.log_likelihood)
            gain = gain - 0.5 * ((proposed.noise**2).sum(-1) - (at.noise**2).sum(-1))
            gain = gain + log_proposal(at.noise, drifted(proposed)) - log_proposal(proposed.noise, drifted(at))
            accepted = torch.rand(gain.shape, generator=generator, device=self.device).log() < gain
            at = proposed.where(accepted, at)
            length = length * torch.exp(0.5 * (accepted.float().mean(1) - self.config.acceptance))
            length = length.clamp(0.02, 1.5)
        return at, length

    @torch.no_grad()
    def _draw(
        self, observations: list[Likelihood], num_hypotheses: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        persons, count = observations[0].persons, self.config.particles
        if num_hypotheses > count:
            raise ValueError(f"num_hypotheses must be at most the {count} particles, got {num_hypotheses}")
        posterior = Posterior(self.prior, observations, self.sampler, generator)
        noise = torch.randn(persons, count, 48, generator=generator, device=self.device)
        at = self._evaluate(posterior, noise)
        temperature = torch.zeros(persons, device=self.device)
        length = torch.full_like(temperature, 0.3)
        polish = self.config.polish
        while polish > 0:
            if (temperature >= 1).all():
                polish -= 1
            else:
                following = self._next_temperature(temperature, at.log_likelihood)
                weights = torch.softmax((following - temperature)[:, None] * at.log_likelihood, 1)
                start = torch.rand(persons, 1, generator=generator, device=self.device)
                combs = (torch.arange(count, device=self.device) + start) / count  # systematic resampling
                chosen = torch.searchsorted(weights.cumsum(1), combs).clamp_max(count - 1)
                at = at.take(chosen).where((following > temperature)[:, None], at)
                temperature = following
            at, length = self._move(posterior, at, temperature, length, generator)
        pick = torch.randperm(count, generator=generator, device=self.device)[:num_hypotheses]
        joints = at.joints[:, pick]
        root, precision = self._root(posterior, joints)
        random = torch.randn(*root.shape, 1, generator=generator, device=self.device)
        root = root + torch.linalg.solve_triangular(torch.linalg.cholesky(precision).mT, random, upper=True)[..., 0]
        pose = joints.unflatten(-1, (17, 3))
        return pose - pose[:, :, :1], root
