# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The denoiser: a residual MLP under EDM preconditioning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from diffpose_core.ranges import Ranges, check_ranges
from diffpose_core.skeleton import H36M17

NUM_JOINTS = len(H36M17)
POSE_DIM = 3 * NUM_JOINTS


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of the network; stored in the checkpoint.

    Attributes:
        width: channels of the residual stream.
        blocks: number of residual blocks.
        noise_channels: Fourier features of the noise level, an even number.
        sigma_data: root mean square of the scaled poses.
        unit_m: metres per unit of the scaled pose.
    """

    width: int = 384
    blocks: int = 4
    noise_channels: int = 128
    sigma_data: float = 1.0
    unit_m: float = 0.28

    RANGES: ClassVar[Ranges] = {
        "width": (1, 4096), "blocks": (1, 4096), "noise_channels": (2, 4096),
        "sigma_data": (1e-3, 1e3), "unit_m": (1e-3, 1e3),
    }  # fmt: skip

    def __post_init__(self) -> None:
        check_ranges(self, self.RANGES)
        if self.noise_channels % 2:
            raise ValueError(f"noise_channels must be even, got {self.noise_channels}")


class ResidualBlock(nn.Module):
    """Normalise, modulate by the noise level, two linear layers, add."""

    def __init__(self, width: int, noise_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulation = nn.Linear(noise_channels, 2 * width)
        self.expand = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, h: Float[Tensor, "*batch width"], noise: Float[Tensor, "*#batch channels"]
    ) -> Float[Tensor, "*batch width"]:
        """Return the updated residual stream."""
        scale, shift = self.modulation(noise).chunk(2, dim=-1)
        z = self.norm(h) * (1 + scale) + shift
        return h + self.project(F.silu(self.expand(z)))


class Denoiser(nn.Module):
    """D(x, s) = E[x0 | x0 + s n], with the EDM preconditioning (2206.00364, table 1).

    The root joint of a root-relative pose is always zero, so it is masked at
    the input and at the output: its exact posterior mean.
    """

    root_mask: Tensor
    frequencies: Tensor

    def __init__(self, config: DenoiserConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DenoiserConfig()
        self.embed_noise = nn.Sequential(
            nn.Linear(config.noise_channels, config.noise_channels),
            nn.SiLU(),
            nn.Linear(config.noise_channels, config.noise_channels),
        )
        self.embed_pose = nn.Linear(POSE_DIM, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width, config.noise_channels) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, POSE_DIM)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        mask = torch.ones(POSE_DIM)
        mask[:3] = 0
        self.register_buffer("root_mask", mask, persistent=False)
        octaves = torch.linspace(-2, 3, config.noise_channels // 2)
        self.register_buffer("frequencies", 2**octaves, persistent=False)

    def with_weights(self, dtype: torch.dtype) -> Denoiser:
        """Return this network with its weights in ``dtype``; noise levels, scaling and the result stay as exact."""
        exact = self.root_mask, self.frequencies
        self.to(dtype)
        self.root_mask, self.frequencies = exact
        return self

    def forward(self, x: Float[Tensor, "*batch 51"], sigma: Float[Tensor, "*#batch"]) -> Float[Tensor, "*batch 51"]:
        """Return the posterior mean of the clean scaled pose.

        Args:
            x: noisy poses in units of ``unit_m``.
            sigma: noise levels, broadcast against the batch of ``x``.
        """
        sd = self.config.sigma_data
        s = sigma.to(x.dtype)[..., None]
        norm = torch.sqrt(s**2 + sd**2)
        phase = (torch.log(s) / 4) * self.frequencies
        features = torch.cat([phase.cos(), phase.sin()], dim=-1)
        noise = F.silu(self.embed_noise(features.to(self.head.weight.dtype)))
        h = self.embed_pose((x * self.root_mask / norm).to(self.head.weight.dtype))
        for block in self.blocks:
            h = block(h, noise)
        out = self.head(F.silu(self.norm(h))).to(x.dtype)
        return self.root_mask * (x * sd**2 / norm**2 + out * s * sd / norm)
