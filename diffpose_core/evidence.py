# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Evidence p(y): how well the observations agree with each other and with what bodies do."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.likelihood.base import Likelihood
from diffpose_core.prior import PosePrior
from diffpose_core.prior.network import POSE_DIM
from diffpose_core.sampler import ROOT_SD_M, Posterior, SamplerConfig

COMPONENTS = 64
SIGMA = 1.0
"""Noise level of the mixture, units of the scaled pose: at this one 64 components still overlap."""
PASSES = 2
"""Linearisations: about the components' means, then about what the observations make of them."""
SEED = 0
NOTHING = -1e30
"""Log evidence of what is not explained at all, nats: messages carry no infinity."""


class Evidence:
    """The prior as a mixture of Gaussians N(D(x_s), C(s)), x_s drawn from p(x_s), for which p(y) has a closed form.

    The identity p(x0) = E p(x0 | x_s) with p(x0 | x_s) taken as Gaussian, as the kalman sampler takes it. For a
    Gaussian prior and linear observations the result is exact as the components grow in number; else it is an
    approximation, good for comparing explanations of the same data. Components are drawn once, with a fixed seed.

    Args:
        prior: of poses.
        components: of the mixture.
        sigma: noise level, units of the scaled pose.
    """

    def __init__(self, prior: PosePrior, components: int = COMPONENTS, sigma: float = SIGMA) -> None:
        generator = torch.Generator(prior.device).manual_seed(SEED)
        poses = prior.sample(components, generator).flatten(1) / prior.unit_m
        noise = torch.randn(components, POSE_DIM, generator=generator, device=prior.device)
        self._means = prior.unit_m * prior.denoise(poses + sigma * noise, sigma)
        self._covariance = prior.unit_m**2 * prior.covariance(sigma)
        self._prior = prior

    @torch.no_grad()
    def log(self, likelihoods: list[Likelihood]) -> Float[Tensor, "P"]:
        """Log p(y) of every person in nats, relative to a pose that explains y exactly.

        Relative means: the heights of the observations' own densities are left out (:class:`Linearised`), so that
        the result does not depend on their units. It falls as they grow sharper, for they leave fewer poses.
        """
        generator = torch.Generator(self._prior.device).manual_seed(SEED)
        posterior = Posterior(self._prior, likelihoods, SamplerConfig(), generator)
        means = self._means.expand(likelihoods[0].persons, *self._means.shape)
        about, root = means, posterior.locate(means)
        for _ in range(PASSES):
            gain, residual, root_offset = posterior.gain(about, root, self._covariance)
            seen = gain.observation
            # Linear about `about`, while the component's mean lies elsewhere from the second pass on.
            residual = residual + (seen.jacobian @ (about - means)[..., None])[..., 0]
            step, q = gain.solve(residual[..., None], root_offset[..., None])
            about = means + (q.mT @ seen.jacobian @ self._covariance)[..., 0, :]
            root = posterior.bound(root + step[..., 0])
        unexplained = residual - (seen.root_jacobian @ step)[..., 0]
        root_sd = root_offset.new_tensor(ROOT_SD_M)
        misfit = (unexplained * q[..., 0]).sum(-1) + (((step[..., 0] - root_offset) / root_sd) ** 2).sum(-1)
        log_volume = _log_diagonal(gain.factor) + _log_diagonal(gain.root_factor) + root_sd.log().sum()
        logs = seen.log_scale - 0.5 * misfit - log_volume
        # Where a barely trained prior's component lies beyond all linearising it explains nothing.
        logs = torch.where(torch.isfinite(logs), logs, NOTHING)
        return torch.logsumexp(logs, -1) - math.log(logs.shape[-1])


def _log_diagonal(factor: Float[Tensor, "*batch D D"]) -> Float[Tensor, "*batch"]:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
