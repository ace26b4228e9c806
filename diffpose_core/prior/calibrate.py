# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Posterior covariances C(sigma) of the denoiser, measured on held-out people."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.data.augment import AugmentConfig, augment
from diffpose_core.prior.network import POSE_DIM, Denoiser
from diffpose_core.prior.schedule import karras_sigmas


@torch.no_grad()
def posterior_covariances(
    model: Denoiser, world: Float[Tensor, "n 17 3"], augmentation: AugmentConfig, seed: int,
    num_levels: int = 24, draws: int = 4,
) -> tuple[Float[Tensor, "levels"], Float[Tensor, "levels 51 51"]]:  # fmt: skip
    """Estimate C(s) = E[(x0 - D(x0 + s n, s))(...)^T] in units of the scaled pose.

    Training poses would make it overconfident, so ``world`` must hold people
    that the model has not seen, as varied as the users' people.
    """
    generator = torch.Generator().manual_seed(seed)
    sigmas = karras_sigmas(num_levels, 0.02, 8.0)
    x0 = torch.cat([augment(world, augmentation, generator) for _ in range(draws)]).flatten(1) / model.config.unit_m
    result = torch.zeros(num_levels, POSE_DIM, POSE_DIM)
    for i, s in enumerate(sigmas):
        total = torch.zeros(POSE_DIM, POSE_DIM, dtype=torch.float64)
        for chunk in x0.split(8192):
            noisy = chunk + s * torch.randn(chunk.shape, generator=generator)
            error = (chunk - model(noisy, s.expand(len(chunk)))).double()
            total += error.T @ error
        result[i] = (total / len(x0)).float()
    return sigmas, result
