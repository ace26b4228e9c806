# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Known lengths of the body: bones, height, scale."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.body import ANKLE_M, BONES
from diffpose_core.checks import checked, checked_std
from diffpose_core.likelihood.base import Linearised, RootGuess, joint_blocks
from diffpose_core.observation import MISSING
from diffpose_core.skeleton import H36M17

_PARENTS, _CHILDREN = (list(ends) for ends in zip(*BONES, strict=True))
_HEIGHT = {"Spine": 1.0, "Thorax": 1.0, "Nose": 1.0, "HeadTop": 1.0} | {
    side + joint: 0.5 for side in "LR" for joint in ("Knee", "Ankle")
}

MAX_LENGTH_M = 20.0
"""More than the bones of the tallest person together: other units than metres are refused."""


class KnownLengths:
    """Weighted sums of the 16 bones' lengths are known, with Gaussian errors.

    Args:
        weights: [K, 16], of the bones in the order of ``diffpose_core.body.BONES``.
        lengths_m: [P, K] metres; NaN where a length is not known.
        std_m: standard deviation, one number or [P, K].

    Raises:
        ValueError: naming the field: a wrong shape, a length beyond 0..``MAX_LENGTH_M``, a std that is not positive.
    """

    def __init__(self, weights: Tensor, lengths_m: Tensor, std_m: float | Tensor) -> None:
        self.weights = checked("weights", weights, (None, len(BONES)))
        lengths = checked("lengths_m", lengths_m, (None, len(self.weights)), allow_nan=True)
        self.known = ~torch.isnan(lengths)
        _check_range("lengths_m", lengths, 0.0)
        self.std_m = checked_std("std_m", std_m, tuple(lengths.shape), self.known).to(lengths.device)
        self.lengths_m = torch.where(self.known, lengths, 0.0)
        joints = torch.eye(len(H36M17), device=lengths.device)
        self._ends = joints[_CHILDREN] - joints[_PARENTS]

    @classmethod
    def of_bones(cls, lengths_m: Tensor, std_m: float | Tensor = 0.01) -> KnownLengths:
        """Bones [P, 16] in the order of ``diffpose_core.body.BONES``."""
        return cls(torch.eye(len(BONES)), lengths_m, std_m)

    @classmethod
    def of_height(cls, height_m: Tensor, std_m: float | Tensor = 0.03) -> KnownLengths:
        """Body height [P]: from the ground up one leg (the mean of both) and the spine to the top of the head.

        The joints' path is ``ANKLE_M`` shorter than the height, and longer than it by what the spine and the
        neck bend: ``std_m`` should cover that.
        """
        weights = torch.tensor([[_HEIGHT.get(H36M17.joints[child], 0.0) for _, child in BONES]])
        return cls._of_one(weights, "height_m", height_m, ANKLE_M, std_m)

    @classmethod
    def of_scale(cls, total_m: Tensor, std_m: float | Tensor = 0.1) -> KnownLengths:
        """Sum of all bones [P]: the body's scale, as the sum over another pose of the same person gives it."""
        return cls._of_one(torch.ones(1, len(BONES)), "total_m", total_m, 0.0, std_m)

    @classmethod
    def _of_one(
        cls, weights: Tensor, name: str, length_m: Tensor, beyond_m: float, std_m: float | Tensor
    ) -> KnownLengths:
        length = checked(name, length_m, (None,), allow_nan=True)
        _check_range(name, length, beyond_m)
        return cls(weights, length[:, None] - beyond_m, checked_std("std_m", std_m, tuple(length.shape))[:, None])

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.lengths_m)

    def to(self, device: torch.device) -> KnownLengths:
        """Return a copy on ``device``."""
        lengths = torch.where(self.known, self.lengths_m, torch.nan)
        return KnownLengths(self.weights.to(device), lengths.to(device), self.std_m.to(device))

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        sd_mm = 1000 * float(self.std_m[self.known].median()) if self.known.any() else float("nan")
        return f"{int(self.known.sum())} known lengths of {self.persons} persons, std {sd_mm:.0f} mm"

    def status(self) -> Int[Tensor, "P 17"]:
        """MISSING: lengths place no joint."""
        return torch.full((self.persons, len(H36M17)), MISSING, device=self.lengths_m.device)

    def _moments(self, joints: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bones' root mean square lengths [P, S, 16], their gradient by the bones' vectors, and excess variance.

        A mean of poses has shorter bones than the poses: E |v|^2 = |E v|^2 + tr C. Of the Gaussian's variance of |v|
        the linear term has v' C v / |v|^2; tr C^2 / (2 |v|^2) is what it lacks.
        """
        bones = joints[:, :, _CHILDREN] - joints[:, :, _PARENTS]
        blocks = joint_blocks(covariance)
        child, parent = torch.tensor(_CHILDREN), torch.tensor(_PARENTS)
        spread = blocks[child, :, child] + blocks[parent, :, parent] - 2 * blocks[child, :, parent]
        spread = 0.5 * (spread + spread.mT)
        length = (bones.square().sum(-1) + spread.diagonal(dim1=-2, dim2=-1).sum(-1)).clamp_min(1e-6).sqrt()
        excess = spread.square().sum((-1, -2)) / (2 * length.square())
        return length, bones / length[..., None], excess

    def _rows(self, gradient: Tensor) -> Tensor:
        """Derivative [P, S, K, 51] of the weighted sums by the joints, of the bones' by their vectors [P, S, 16, 3]."""
        return torch.einsum("kb,psbc,bj->pskjc", self.weights, gradient, self._ends).flatten(-2)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linearise the lengths; what is beyond linear at this noise level widens the noise."""
        length, gradient, excess = self._moments(joints, covariance)
        variance = self.std_m[:, None] ** 2 + excess @ (self.weights**2).T
        whitener = self.known[:, None] * variance.rsqrt()
        residual = whitener * (self.lengths_m[:, None] - length @ self.weights.T)
        jacobian = whitener[..., None] * self._rows(gradient)
        # Narrower than the widened noise: relative to a pose that explains the length exactly.
        scale = 0.5 * torch.log(self.std_m[:, None] ** 2 / variance)
        return Linearised(
            residual, jacobian, residual.new_zeros(*residual.shape, 3),
            torch.where(self.known[:, None], scale, 0.0).sum(-1),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of Gaussian log densities of the lengths, per metre."""
        length, gradient, excess = self._moments(joints, covariance)
        rows = self._rows(gradient)
        linear = ((rows @ covariance) * rows).sum(-1)
        variance = self.std_m[:, None] ** 2 + linear + excess @ (self.weights**2).T
        logs = -0.5 * ((self.lengths_m[:, None] - length @ self.weights.T) ** 2 / variance)
        logs = logs - 0.5 * torch.log(2 * math.pi * variance)
        return torch.where(self.known[:, None], logs, 0.0).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Lengths say nothing of the root."""
        return None

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root


def _check_range(name: str, lengths_m: Tensor, low_m: float) -> None:
    wrong = lengths_m[(lengths_m <= low_m) | (lengths_m > MAX_LENGTH_M)]
    if len(wrong):
        raise ValueError(f"{name} must be metres above {low_m:g}, at most {MAX_LENGTH_M:g}, got {float(wrong[0]):g}")
