# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Noise levels of a sampling run."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Float[Tensor, "steps"]:
    """Return ``steps`` noise levels falling from ``sigma_max`` to ``sigma_min``, in units of the scaled pose.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2206.00364), eq. 5.

    Raises:
        ValueError: ``steps`` < 1, or not 0 < ``sigma_min`` <= ``sigma_max``.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not 0 < sigma_min <= sigma_max:
        raise ValueError(f"need 0 < sigma_min <= sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return ((high + ramp * (low - high)) ** rho).float()
