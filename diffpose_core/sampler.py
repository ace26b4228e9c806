# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Sampling p(x | y): denoiser -> guided denoiser -> loop.

The loop knows nothing of guidance. A guided denoiser turns a noisy pose into
E[x0 | x_s, y], the clean pose that agrees with the observations. With a draw
from p(x0 | x_s, y) beside it (``kalman`` but below ``settle_sigma``) the loop
noises that anew for the next level; without (``gradient``) it takes an
ancestral step. A level may be visited several times. The last level gives its
draw or, where there is none, its mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.likelihood.base import Likelihood, Linearised, stack
from diffpose_core.prior import PosePrior, karras_sigmas
from diffpose_core.prior.network import POSE_DIM

# Weak Gaussian prior of the root position (metres, optical frame): people stand in front of the camera.
ROOT_MEAN_M = (0.0, 0.0, 5.0)
ROOT_SD_M = (20.0, 20.0, 40.0)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Above this noise level one covariance serves for all poses; below, each pose's own comes from the network's Jacobian.
JACOBIAN_BELOW_SIGMA = 1.0
# Largest guidance step in units of the one that C(s) expects.
MAX_PULL = 2.0
# Draws spread at least and at most so many times as C(s) says, where they follow the misfit; and how many degrees of
# freedom it takes before the misfit counts as much as C(s).
SPREAD = (0.6, 4.0)
SPREAD_DOF = 10.0
# Largest misfit in standard deviations that guidance corrects in full at one noise level.
MAX_MISFIT = 3.0


@dataclass(frozen=True)
class SamplerConfig:
    """Settings of a sampling run.

    Attributes:
        guidance: ``kalman`` (default: accurate and calibrated) or ``gradient`` (heatmap gradients through the network).
        steps: noise levels visited.
        sigma_max: first noise level, units of the scaled pose.
        sigma_min: last noise level, units of the scaled pose.
        settle_sigma: noise level below which ``kalman`` takes the mean instead of a draw. One camera leaves poses so
            uncertain that a draw there only shakes joints off the poses that people take.
        repeats: visits of every noise level but the last one, each noised back from the level below (RePaint, Lugmayr
            et al., 2201.09865, algorithm 1); mends what guidance alone gets wrong, at the price of as many more steps.
        expected_misfit: squared innovation per degree of freedom, in units of what C(s) expects, at which ``kalman``
            spreads its draws as C(s) says. C(s) is an average over poses: one that fits the prior less well is less
            certain in proportion, one that fits it better is more so. 0: all alike.
        precision: ``float32`` or ``bfloat16``, of the network alone. bfloat16 is faster where the processor has it and
            moves the mean pose by half a millimetre (docs/performance.md).
    """

    guidance: str = "kalman"
    steps: int = 25
    sigma_max: float = 3.0
    sigma_min: float = 0.07
    settle_sigma: float = 0.15
    repeats: int = 1
    expected_misfit: float = 0.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.guidance not in GUIDANCES:
            raise ValueError(f"guidance must be one of {tuple(GUIDANCES)}, got {self.guidance!r}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must lie in 1..1000, got {self.steps}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"need 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")
        if not 0 <= self.settle_sigma <= self.sigma_max:
            raise ValueError(f"settle_sigma must lie in 0..sigma_max {self.sigma_max}, got {self.settle_sigma}")
        if not 1 <= self.repeats <= 100:
            raise ValueError(f"repeats must lie in 1..100, got {self.repeats}")
        if not 0 <= self.expected_misfit <= 100:
            raise ValueError(f"expected_misfit must lie in 0..100, got {self.expected_misfit}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {tuple(PRECISIONS)}, got {self.precision!r}")


def _randn(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def _factor(covariance: Float[Tensor, "*batch D D"]) -> Float[Tensor, "*batch D D"]:
    """Cholesky factor; the jitter keeps joints that never move (the root) factorable."""
    jitter = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
    return torch.linalg.cholesky(
        covariance + jitter[..., None, None] * torch.eye(covariance.shape[-1], device=covariance.device)
    )


def _cholesky(matrix: Float[Tensor, "*batch D D"]) -> Float[Tensor, "*batch D D"]:
    """Cholesky factor; of matrices that rounding left without one, with some 1e-5 of their largest variance more.

    Raises:
        ValueError: not finite: positions in the image that the camera cannot have overflow.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed.any():
        return factor
    if not torch.isfinite(matrix).all():
        raise ValueError("what was observed lies where the camera cannot see: its likelihood is not finite")
    lift = (failed > 0) * 1e-5 * matrix.diagonal(dim1=-2, dim2=-1).amax(-1)
    return torch.linalg.cholesky(matrix + torch.diag_embed(lift[..., None].expand(matrix.shape[:-1])))


@dataclass(frozen=True)
class Gain:
    """Generalised least squares of one linearisation, ready for several right-hand sides.

    With S = H C H^T + I: dT = (G^T S^-1 G + P)^-1 G^T S^-1 r and q = S^-1 (r - G dT).
    """

    observation: Linearised
    factor: Float[Tensor, "P S D D"]
    whitened_root: Float[Tensor, "P S D 3"]
    root_factor: Float[Tensor, "P S 3 3"]

    @classmethod
    def of(cls, observation: Linearised, covariance: Float[Tensor, "51 51"]) -> Gain:
        """Factor S and the root's normal matrix."""
        h = observation.jacobian
        s = (h @ covariance) @ h.mT
        # Where the noise is tiny beside the prior's spread float32 would lose it: at least a millionth of the variance.
        diagonal = s.diagonal(dim1=-2, dim2=-1)
        factor = _cholesky(s + torch.diag_embed((1e-6 * diagonal).clamp_min(1.0)))
        white = torch.linalg.solve_triangular(factor, observation.root_jacobian, upper=False)
        precision = torch.diag(torch.tensor(ROOT_SD_M, device=h.device) ** -2)
        return cls(observation, factor, white, _cholesky(white.mT @ white + precision))

    def solve(
        self, residual: Float[Tensor, "P S D n"], root_offset: Float[Tensor, "P S 3 n"]
    ) -> tuple[Float[Tensor, "P S 3 n"], Float[Tensor, "P S D n"]]:
        """Return dT and q of n right-hand sides; ``root_offset``: the root's prior mean minus its current value."""
        white = torch.linalg.solve_triangular(self.factor, residual, upper=False)
        precision = root_offset.new_tensor(ROOT_SD_M) ** -2
        target = self.whitened_root.mT @ white + precision[:, None] * root_offset
        root = torch.cholesky_solve(target, self.root_factor)
        return root, torch.linalg.solve_triangular(self.factor.mT, white - self.whitened_root @ root, upper=True)


def _beside(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """Return generators that depend on the state of one, which is left as it is."""
    if count == 0:
        return []
    copy = torch.Generator(generator.device)
    copy.set_state(generator.get_state())
    seeds = torch.randint(2**31, (count,), generator=copy, device=copy.device).tolist()
    return [torch.Generator(generator.device).manual_seed(seed) for seed in seeds]


class Posterior:
    """The likelihoods of a run together with the prior, and the root position of every hypothesis."""

    def __init__(
        self, prior: PosePrior, likelihoods: list[Likelihood], config: SamplerConfig, generator: torch.Generator
    ) -> None:
        self.prior, self.likelihoods, self.config, self.generator = prior, likelihoods, config, generator
        self._root_mean = torch.tensor(ROOT_MEAN_M, device=prior.device)
        # The first observation shares the run's generator, every other one has its own: a further observation that says
        # nothing leaves the result as it was.
        self._generators = [generator, *_beside(generator, len(likelihoods) - 1)]

    def linearise(self, joints: Tensor, root: Tensor, covariance: Tensor) -> Linearised:
        """Linearise all observations about joints [P, S, 51] and root [P, S, 3] in metres."""
        pose = joints.unflatten(-1, (-1, 3))
        each = zip(self.likelihoods, self._generators, strict=True)
        return stack([y.linearise(pose, root, covariance, generator) for y, generator in each])

    def noise(self, seen: Linearised) -> Float[Tensor, "P S D"]:
        """Draw the observations' noise in standard deviations, each likelihood's from its own generator."""
        sizes = seen.sizes or (seen.residual.shape[-1],)
        parts = zip(seen.residual.split(sizes, -1), self._generators, strict=True)
        return torch.cat([_randn(part, generator) for part, generator in parts], -1)

    def locate(self, joints: Float[Tensor, "P S 51"]) -> Float[Tensor, "P S 3"]:
        """Return the observations' first guesses of the root for these joints, weighed by their precision.

        A fresh guess at every step: a hypothesis whose root once went astray must not stay there.
        """
        pose = joints.unflatten(-1, (-1, 3))
        start = root = self._root_mean.expand(*joints.shape[:2], 3)
        placed = False
        precision = torch.diag(self._root_mean.new_tensor(ROOT_SD_M) ** -2).expand(*joints.shape[:2], 3, 3)
        pulled = torch.zeros_like(root)
        for y in self.likelihoods:
            guess = y.start_root(pose, root if placed else None)
            if guess is None:
                continue
            precision = precision + guess.precision
            if placed:  # as corrections of the first guess: one that says nothing leaves its very bits
                pulled = pulled + (guess.precision @ (guess.position - start)[..., None])[..., 0]
                root = start + torch.linalg.solve(precision, pulled)
            else:
                says = guess.precision.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) > 0
                start = root = torch.where(says, guess.position, self._root_mean)
                placed = True
        return root

    def bound(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return roots moved to where every observation is possible."""
        for y in self.likelihoods:
            root = y.bound_root(root)
        return root

    def gain(
        self, joints: Float[Tensor, "P S 51"], root: Float[Tensor, "P S 3"], covariance: Float[Tensor, "51 51"]
    ) -> tuple[Gain, Float[Tensor, "P S D"], Float[Tensor, "P S 3"]]:
        """Return the gain of all observations about these joints and roots, and its own right-hand sides."""
        gain = Gain.of(self.linearise(joints, root, covariance), covariance)
        return gain, gain.observation.residual, self._root_mean - root

    def draw_root(self, joints: Float[Tensor, "P S 51"]) -> Float[Tensor, "P S 3"]:
        """Draw T from p(T | x0, y) by Gauss-Newton, the joints as uncertain as at the last noise level."""
        covariance = self.prior.unit_m**2 * self.prior.covariance(self.config.sigma_min)
        root = self.locate(joints)
        for _ in range(2):
            gain, residual, offset = self.gain(joints, root, covariance)
            step, _ = gain.solve(residual[..., None], offset[..., None])
            root = self.bound(root + step[..., 0])
        noise = torch.linalg.solve_triangular(gain.root_factor.mT, _randn(root, self.generator)[..., None], upper=True)
        return self.bound(root + noise[..., 0])


class Guided(NamedTuple):
    """What is known of the clean pose at one noise level, in units of the scaled pose."""

    mean: Float[Tensor, "P S 51"]
    """E[x0 | x_s, y]."""
    draw: Float[Tensor, "P S 51"] | None
    """A draw from p(x0 | x_s, y); None where the guidance gives a mean only."""


GuidedDenoiser = Callable[[Tensor, float], Guided]
Guidance = Callable[[Posterior], GuidedDenoiser]


def _spread(
    residual: Float[Tensor, "P S D"], q: Float[Tensor, "P S D"], seen: Linearised, expected: float
) -> Float[Tensor, "P 1 1"]:
    """Return how many times C(s)'s standard deviation a person's draws spread, from how well he is explained.

    The scale of the covariance is estimated from the innovations, as in adaptive Kalman filters (Mehra 1970); of what
    is not observed it is taken to be that of what is. Standard deviations are scaled by the misfit itself, not by its
    root: of unusual poses the rest is off by more than the known part tells.
    """
    freedom = (seen.jacobian != 0).any(-1).sum(-1) - 3.0  # the root takes three
    misfit = (residual * q).sum(-1) / freedom.clamp_min(1.0)
    trust = (freedom / (freedom + SPREAD_DOF)).clamp_min(0.0)
    return (1 + trust * (misfit / expected - 1)).mean(-1).clamp(*SPREAD)[:, None, None]


def kalman_guidance(posterior: Posterior) -> GuidedDenoiser:
    """Draws of p(x0 | x_s, y): the network's Jacobian for the mean, Matheron's rule for the spread.

    The mean is Tweedie's formula with the likelihood marginalised over C(s) and the root
    (PiGDM, Song et al. 2023, eq. 7, with the full matrix); at high noise, where poses hardly
    differ in what is known of them, C(s) stands for the Jacobian. The re-noising around a draw
    is that of DAPS (Zhang et al., 2407.01521).
    """
    prior, generator = posterior.prior, posterior.generator

    def guided(x: Tensor, sigma: float) -> Guided:
        each = sigma < JACOBIAN_BELOW_SIGMA
        with torch.set_grad_enabled(each):
            x = x.detach().requires_grad_(each)
            clean = prior.denoise(x, sigma)
        unit = prior.unit_m
        covariance = unit**2 * prior.covariance(sigma)
        joints = clean.detach() * unit
        gain, residual, root_offset = posterior.gain(joints, posterior.locate(joints), covariance)
        seen = gain.observation
        # Matheron: draw from the prior, observe it with noise, correct by the innovation.
        error = _randn(joints, generator) @ _factor(covariance).mT
        if posterior.config.expected_misfit:
            _, q = gain.solve(residual[..., None], root_offset[..., None])
            error = error * _spread(residual, q[..., 0], seen, posterior.config.expected_misfit)
        root_error = _randn(root_offset, generator) * root_offset.new_tensor(ROOT_SD_M)
        observed = seen.jacobian @ error[..., None] + seen.root_jacobian @ root_error[..., None]
        observed = observed[..., 0] + posterior.noise(seen)
        right = torch.stack([residual, -observed], -1)
        _, q = gain.solve(right, torch.stack([root_offset, torch.zeros_like(root_offset)], -1))
        # As far off as the prior's spread and the noise never are, the linearisation does not hold: part of the way.
        misfit = (residual * q[..., 0]).sum(-1) / (seen.jacobian != 0).any(-1).sum(-1).clamp_min(1)
        trust = (MAX_MISFIT * misfit.clamp_min(1e-12).rsqrt()).clamp_max(1.0)
        q = q * torch.stack([trust, torch.ones_like(trust)], -1)[..., None, :]
        pulls = unit * (q.mT @ seen.jacobian)
        expected, draw = ((pulls @ covariance) / unit**2).unbind(-2)
        pull = expected
        if each:
            pull = sigma**2 * torch.autograd.grad(clean, x, pulls[..., 0, :])[0]
            # C(s) is an average; where the network's own Jacobian pulls far harder, the linearisation does not hold.
            limit = MAX_PULL * expected.norm(dim=-1, keepdim=True)
            pull = pull * (limit / pull.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
        mean = clean.detach() + pull
        return Guided(mean, mean + error / unit + draw if sigma >= posterior.config.settle_sigma else None)

    return guided


def centred(covariance: Float[Tensor, "51 51"]) -> Float[Tensor, "51 51"]:
    """Covariance of the joints about their common centre."""
    blocks = covariance.unflatten(0, (-1, 3)).unflatten(-1, (-1, 3))
    blocks = blocks - blocks.mean(0, keepdim=True)
    return (blocks - blocks.mean(2, keepdim=True)).flatten(2, 3).flatten(0, 1)


def gradient_guidance(posterior: Posterior) -> GuidedDenoiser:
    """E[x0 | x_s, y] by heatmap gradients through the network: D + s^2 d/dx log p(y | D(x, s)).

    The root is solved for at every step and differentiated through. The heatmaps are blurred by the spread of x0
    given x_s, less what moves all joints alike and is the root's to explain, so the gradient reaches everywhere
    early and is sharp late. The kind of guidance of arXiv:2602.03126 and of DPS (Chung et al., 2209.14687, eq. 16).
    """
    prior = posterior.prior

    def guided(x: Tensor, sigma: float) -> Guided:
        unit = prior.unit_m
        covariance = unit**2 * centred(prior.covariance(sigma))
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            clean = prior.denoise(x, sigma)
            joints = clean * unit
            root = posterior.locate(joints)
            absolute = joints.unflatten(-1, (-1, 3)) + root[:, :, None]
            logs = torch.stack([y.log_density(absolute, covariance) for y in posterior.likelihoods])
            (gradient,) = torch.autograd.grad(logs.sum(), x)
        return Guided(clean.detach() + sigma**2 * gradient, None)

    return guided


GUIDANCES: dict[str, Guidance] = {"kalman": kalman_guidance, "gradient": gradient_guidance}

FUSED = SamplerConfig(sigma_min=0.04, settle_sigma=0.0)
"""For observations that leave little open (a second camera, depth): spread is drawn down to the last noise level."""
COMPLETING = SamplerConfig(sigma_min=0.05, settle_sigma=0.055, repeats=4, expected_misfit=0.7)
"""For known joints: what is missing may be in many ways, and further visits of every level find more of them."""


def _step(x: Tensor, guided: Guided, sigma: float, lower: float, generator: torch.Generator) -> Tensor:
    """Go from noise level ``sigma`` to ``lower``."""
    if guided.draw is not None:
        return guided.draw + lower * _randn(x, generator)
    ratio = (lower / sigma) ** 2  # the exact reverse transition given x0 (ancestral sampling, eta = 1)
    return guided.mean + ratio * (x - guided.mean) + lower * (1 - ratio) ** 0.5 * _randn(x, generator)


@torch.no_grad()
def run(
    prior: PosePrior, likelihoods: list[Likelihood], samples: int, config: SamplerConfig, generator: torch.Generator,
    guidance: Guidance | None = None,
) -> tuple[Float[Tensor, "P S 17 3"], Float[Tensor, "P S 3"]]:  # fmt: skip
    """Draw hypotheses given the likelihoods, steered by the configured guidance or by the one given.

    Returns:
        Root-relative joints and root positions, metres, optical frame.
    """
    persons = likelihoods[0].persons
    posterior = Posterior(prior, likelihoods, config, generator)
    guided = (guidance or GUIDANCES[config.guidance])(posterior)
    sigmas = karras_sigmas(config.steps, config.sigma_min, config.sigma_max).tolist()
    x = sigmas[0] * torch.randn(persons, samples, POSE_DIM, generator=generator, device=prior.device)
    for sigma, lower in itertools.pairwise(sigmas):
        x = _step(x, guided(x, sigma), sigma, lower, generator)
        for _ in range(config.repeats - 1):
            x = x + (sigma**2 - lower**2) ** 0.5 * _randn(x, generator)
            x = _step(x, guided(x, sigma), sigma, lower, generator)
    last = guided(x, sigmas[-1])
    joints = (last.mean if last.draw is None else last.draw) * prior.unit_m
    joints = (joints.unflatten(-1, (-1, 3)) - joints.unflatten(-1, (-1, 3))[:, :, :1]).flatten(-2)
    return joints.unflatten(-1, (-1, 3)), posterior.draw_root(joints)
