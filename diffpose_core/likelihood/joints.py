"""Known 3D joints: completion of a partly known pose."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diffpose_core.body import MAX_BODY_M
from diffpose_core.checks import checked_std
from diffpose_core.likelihood.base import Linearised, RootGuess
from diffpose_core.observation import INFERRED, MISSING, OBSERVED

POSE_SD_M = 0.1
"""How far the mean offset of known joints is off while the pose is not known yet."""

FIT_SD_M = 0.01
"""How well a body of the prior fits a real one at best; joints known better than that would bend it to fit."""


class KnownJoints:
    """Some joints' positions in the reference frame's axes (metres), with independent Gaussian errors.

    Args:
        joints: [P, 17, 3] metres; entries that are not known are ignored.
        known: [P, 17].
        std: standard deviation in metres, one number or [P, 17]; ``FIT_SD_M`` comes on top.
        root_relative: whether ``joints`` are relative to the pelvis, wherever that is, rather than absolute.

    Raises:
        ValueError: naming the field: a wrong shape, a known joint that is not finite, joints of a person more than
            ``MAX_BODY_M`` apart, a std that is not positive.
    """

    def __init__(
        self, joints: Tensor, known: Tensor, std: float | Tensor, root_relative: bool = False
    ) -> None:  # shapes are checked below, with an error that names the field
        joints = torch.as_tensor(joints, dtype=torch.float32)
        known = torch.as_tensor(known)
        if joints.ndim != 3 or joints.shape[1:] != (17, 3):
            raise ValueError(f"joints must have shape *x17x3, got {tuple(joints.shape)}")
        if known.shape != joints.shape[:2] or known.dtype != torch.bool:
            raise ValueError(
                f"known must be bool of shape {tuple(joints.shape[:2])}, got {known.dtype} {tuple(known.shape)}"
            )
        bad = known[..., None] & ~torch.isfinite(joints)
        if bad.any():
            index = tuple(int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"joints holds a value that is not finite where known is true, at index {index}: {float(joints[index])}"
            )
        _check_size(joints, known)
        sd = checked_std("std", std, tuple(known.shape)).to(joints.device)
        self.joints = torch.where(known[..., None], joints, 0.0)
        self.known = known
        self.std = sd
        self._variance_m2 = self.std**2 + FIT_SD_M**2
        self.root_relative = root_relative

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.joints)

    def to(self, device: torch.device) -> KnownJoints:
        """Return a copy on ``device``."""
        return KnownJoints(self.joints.to(device), self.known.to(device), self.std.to(device), self.root_relative)

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        sd_mm = 1000 * float(self.std[self.known].median()) if self.known.any() else float("nan")
        kind = "root-relative" if self.root_relative else "absolute"
        return f"{int(self.known.sum())} known {kind} joints of {self.persons} persons, std {sd_mm:.0f} mm"

    def status(self) -> Int[Tensor, "P 17"]:
        """OBSERVED where known; MISSING everywhere for a person of whom nothing is known."""
        status = torch.where(self.known, OBSERVED, INFERRED)
        return torch.where(self.known.any(-1, keepdim=True), status, MISSING)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Exact: the observation is linear."""
        persons, samples = joints.shape[:2]
        precision = (self.known / self._variance_m2.sqrt())[:, None, :, None]
        where = joints if self.root_relative else joints + root[:, :, None]
        residual = precision * (self.joints[:, None] - where)
        rows = torch.diag_embed(precision.expand(persons, 1, 17, 3).flatten(-2))
        each = torch.eye(3, device=joints.device).repeat(17, 1) * (not self.root_relative)
        return Linearised(
            residual.flatten(-2), rows.expand(persons, samples, 51, 51), (rows @ each).expand(persons, samples, 51, 3),
            residual.new_zeros(persons, samples),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of Gaussian log densities over the known joints."""
        if self.root_relative:
            joints = joints - joints[:, :, :1]
        variance = self._variance_m2[:, None, :, None] + covariance.diagonal().reshape(17, 3)
        logs = -0.5 * ((self.joints[:, None] - joints) ** 2 / variance + torch.log(2 * math.pi * variance))
        return torch.where(self.known[:, None, :, None], logs, 0.0).sum((-1, -2))

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Mean offset of the known joints."""
        if self.root_relative:
            return None
        weight = self.known[:, None, :, None] / self.known.sum(-1).clamp_min(1)[:, None, None, None]
        position = ((self.joints[:, None] - joints) * weight).sum(2)
        sd = (self.std * self.known).amax(-1)
        precision = self.known.any(-1) / (sd**2 + POSE_SD_M**2)
        return RootGuess(position, torch.diag_embed(precision[:, None, None].expand(position.shape)))

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is: known joints may lie anywhere."""
        return root


def _check_size(joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"]) -> None:
    most = joints.masked_fill(~known[..., None], -torch.inf).amax(1)
    least = joints.masked_fill(~known[..., None], torch.inf).amin(1)
    size = (most - least).amax(-1)
    for person in (size > MAX_BODY_M).nonzero().flatten().tolist()[:1]:
        raise ValueError(
            f"joints must be metres, at most {MAX_BODY_M:g} apart, got {float(size[person]):g} of person {person}"
        )
