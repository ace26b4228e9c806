# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The prior as users meet it."""

from __future__ import annotations

import itertools
from importlib import resources
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.prior.checkpoint import PACKAGED_SHA256, load_checkpoint
from diffpose_core.prior.network import POSE_DIM, Denoiser
from diffpose_core.prior.schedule import karras_sigmas


def packaged_checkpoint() -> Path:
    """Path of the packaged weights."""
    return Path(str(resources.files("diffpose_core") / "prior" / "weights" / "prior_cmu.safetensors"))


class PosePrior:
    """Unconditional diffusion model of root-relative 3D poses in camera axes.

    Attributes:
        model: the denoiser.
        unit_m: metres per unit of the scaled pose.
        metadata: provenance stored in the checkpoint.
        sha256: digest of the checkpoint file.
    """

    def __init__(
        self, model: Denoiser, sigmas: Float[Tensor, "levels"], covariances: Float[Tensor, "levels 51 51"],
        metadata: dict[str, str] | None = None, sha256: str = "",
    ) -> None:  # fmt: skip
        self.model = model.eval().requires_grad_(False)
        self.unit_m = model.config.unit_m
        self.metadata = metadata or {}
        self.sha256 = sha256
        self._log_sigmas = torch.log(sigmas)
        self._covariances = covariances

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, sha256: str | None = None) -> PosePrior:
        """Load the packaged weights, or a ``.safetensors`` file.

        Args:
            path: the file; None: the packaged one, whose sha256 is known.
            sha256: refuse the file if its sha256 is another. Without it, the file must hold its own digest.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is damaged or of another kind; the message names the field.
        """
        if path is None:
            path, sha256 = packaged_checkpoint(), sha256 or PACKAGED_SHA256
        found = load_checkpoint(path, sha256)
        return cls(found.model, found.sigmas, found.covariances, found.metadata, found.sha256)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.root_mask.device

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> PosePrior:
        """Return this prior with its weights on ``device``, in ``dtype``."""
        if torch.device(device) == self.device and dtype == self.model.head.weight.dtype:
            return self
        model = Denoiser(self.model.config)
        model.load_state_dict(self.model.state_dict())
        return PosePrior(
            model.to(device).with_weights(dtype),
            self._log_sigmas.exp().to(device),
            self._covariances.to(device),
            self.metadata,
            self.sha256,
        )

    def denoise(self, x: Float[Tensor, "*batch 51"], sigma: float) -> Float[Tensor, "*batch 51"]:
        """D(x, s) = E[x0 | x], in units of the scaled pose."""
        return self.model(x, torch.full((1,) * (x.dim() - 1), sigma, device=x.device))

    def covariance(self, sigma: float) -> Float[Tensor, "51 51"]:
        """C(s), the covariance of x0 given the noisy x, in square units; log-linear between stored levels."""
        at = torch.log(torch.tensor(sigma, device=self._log_sigmas.device)).clamp(
            self._log_sigmas[-1], self._log_sigmas[0]
        )
        above = int((self._log_sigmas >= at).sum().clamp(1, len(self._log_sigmas) - 1)) - 1
        high, low = self._log_sigmas[above], self._log_sigmas[above + 1]
        part = (at - low) / (high - low)
        return part * self._covariances[above] + (1 - part) * self._covariances[above + 1]

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, steps: int = 40) -> Float[Tensor, "n 17 3"]:
        """Generate poses: metres, root-relative, camera axes (x right, y down, z forward).

        Heun's second-order solver of the probability-flow ODE (2206.00364, algorithm 1).
        """
        sigmas = [*karras_sigmas(steps, 0.02, 8.0).tolist(), 0.0]
        # The first level is p(x0) blurred: centred at the mean pose, whose ankles and head lie three units from zero.
        mean = self.denoise(torch.zeros(POSE_DIM, device=self.device), sigmas[0])
        x = mean + sigmas[0] * torch.randn(n, POSE_DIM, generator=generator, device=self.device)
        for s, s_next in itertools.pairwise(sigmas):
            slope = (x - self.denoise(x, s)) / s
            euler = x + (s_next - s) * slope
            if s_next > 0:
                slope = 0.5 * (slope + (euler - self.denoise(euler, s_next)) / s_next)
            x = x + (s_next - s) * slope
        joints = (x * self.unit_m).reshape(n, -1, 3)
        return joints - joints[:, :1]
