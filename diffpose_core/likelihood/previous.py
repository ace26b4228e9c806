# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What was inferred a moment ago, as an observation of now."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.likelihood.base import Linearised, RootGuess
from diffpose_core.observation import INFERRED, MISSING
from diffpose_core.posterior import PosePosterior

BODY_SPEED_M_S = 1.0
LIMB_SPEED_M_S = 1.5
"""Standard deviations of the speed of the whole body and of a joint beside it: walking, and hands at work."""
ALIKE = 3.0
"""Factor on the previous covariance: it holds the prior already, and errors of successive frames are alike."""


class PreviousPosterior:
    """The previous frame's posterior under a random walk: a Gaussian over the absolute joints, wider with time.

    Nothing is known of the motion's direction, so this holds poses together without predicting them.

    Args:
        posterior: of the same P persons, in the same frame.
        elapsed_s: time since then, seconds.
        body_speed_m_s: standard deviation of the whole body's speed per axis.
        limb_speed_m_s: of every joint's own speed per axis.

    Raises:
        ValueError: a time or speed that is not positive and finite.
    """

    def __init__(
        self, posterior: PosePosterior, elapsed_s: float,
        body_speed_m_s: float = BODY_SPEED_M_S, limb_speed_m_s: float = LIMB_SPEED_M_S,
    ) -> None:  # fmt: skip
        speeds = {"body_speed_m_s": body_speed_m_s, "limb_speed_m_s": limb_speed_m_s}
        for name, value in {"elapsed_s": elapsed_s, **speeds}.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        self.posterior, self.elapsed_s = posterior, elapsed_s
        self.body_speed_m_s, self.limb_speed_m_s = body_speed_m_s, limb_speed_m_s
        device = posterior.joints.device
        each = torch.eye(3, device=device).repeat(17, 1)
        off = (posterior.joints - posterior.mean[:, None]).flatten(-2)
        spread = ALIKE * torch.einsum("ps,psi,psj->pij", posterior.weights, off, off)
        spread = spread + (body_speed_m_s * elapsed_s) ** 2 * each @ each.T
        spread = spread + (limb_speed_m_s * elapsed_s) ** 2 * torch.eye(51, device=device)
        self._mean = posterior.mean
        self._covariance = spread
        self._known = (posterior.status != MISSING).any(-1)
        whitener = torch.linalg.inv(torch.linalg.cholesky(spread))
        self._whitener = torch.where(self._known[:, None, None], whitener, 0.0)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.posterior)

    def to(self, device: torch.device) -> PreviousPosterior:
        """Return a copy on ``device``."""
        return PreviousPosterior(
            self.posterior.to(device), self.elapsed_s, self.body_speed_m_s, self.limb_speed_m_s
        )  # fmt: skip

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        return f"poses of {self.persons} persons {1000 * self.elapsed_s:.0f} ms ago"

    def status(self) -> Int[Tensor, "P 17"]:
        """INFERRED where something was known; never OBSERVED, for nothing was seen now."""
        known = torch.where(self._known, INFERRED, MISSING)
        return known[:, None].expand(self.persons, 17)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Exact: the observation is linear."""
        persons, samples = joints.shape[:2]
        off = (self._mean[:, None] - joints - root[:, :, None]).flatten(-2)
        each = torch.eye(3, device=joints.device).repeat(17, 1)
        return Linearised(
            off @ self._whitener.mT, self._whitener[:, None].expand(persons, samples, 51, 51),
            (self._whitener @ each)[:, None].expand(persons, samples, 51, 3), off.new_zeros(persons, samples),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Gaussian log density of the absolute joints."""
        factor = torch.linalg.cholesky(self._covariance + covariance)
        off = (joints - self._mean[:, None]).flatten(-2)
        white = torch.linalg.solve_triangular(factor, off.mT, upper=False).square().sum(-2)
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)[:, None]
        return torch.where(self._known[:, None], -0.5 * (white + 51 * math.log(2 * math.pi)) - volume, 0.0)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Where the root was."""
        root = self._mean[:, None, 0].expand(*joints.shape[:2], 3)
        precision = torch.where(self._known[:, None, None], torch.linalg.inv(self._covariance[:, :3, :3]), 0.0)
        return RootGuess(root, precision[:, None].expand(*root.shape, 3))

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root
