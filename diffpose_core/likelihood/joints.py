# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Known 3D joints: completion of a partly known pose."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diffpose_core.body import MAX_BODY_M
from diffpose_core.checks import checked, checked_std
from diffpose_core.likelihood.base import Linearised, RootGuess, joint_blocks
from diffpose_core.observation import INFERRED, MISSING, OBSERVED

MANY_SDS = 6.0
"""Standard deviations that no reading is off by."""

POSE_SD_M = 0.1
"""How far the mean offset of known joints is off while the pose is not known yet."""

FIT_SD_M = 0.01
"""How well a body of the prior fits a real one at best: two joints or more, known better, would bend it to fit."""


class KnownJoints:
    """Some joints' positions in the reference frame's axes (metres), with Gaussian errors of their own.

    Args:
        joints: [P, 17, 3] metres; entries that are not known are ignored.
        known: [P, 17].
        std: standard deviation in metres, the same in all directions, one number or [P, 17]; ``FIT_SD_M`` comes on
            top. Errors that differ by direction: :meth:`of_covariance`.
        root_relative: whether ``joints`` are relative to the pelvis, wherever that is, rather than absolute.

    Raises:
        ValueError: naming the field: a wrong shape, a known joint that is not finite, joints of a person more than
            ``MAX_BODY_M`` apart, a known pelvis that is not at the origin of joints relative to it, a std that is
            not positive.
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
        sd = checked_std("std", std, tuple(known.shape), known).to(joints.device)
        self.joints = torch.where(known[..., None], joints, 0.0)
        if root_relative:
            _check_pelvis(self.joints, MANY_SDS * sd)
        self.known = known
        self.root_relative = root_relative
        self._set_covariance(sd[..., None, None] ** 2 * torch.eye(3, device=joints.device))

    @classmethod
    def of_covariance(
        cls, joints: Tensor, known: Tensor, covariance_m2: Tensor, root_relative: bool = False
    ) -> KnownJoints:
        """Known joints with covariances [P, 17, 3, 3] m^2, in the axes of ``joints``; of the known ones only.

        Raises:
            ValueError: as of the class, or a covariance that is not symmetric and positive definite.
        """
        seen = cls(joints, known, FIT_SD_M, root_relative)
        covariance = torch.as_tensor(covariance_m2, dtype=torch.float32).to(seen.joints.device)
        if covariance.shape == (*seen.known.shape, 3, 3):
            covariance = torch.where(seen.known[..., None, None], covariance, torch.eye(3, device=seen.joints.device))
        covariance = checked("covariance_m2", covariance, (len(seen.known), 17, 3, 3), allow_nan=True)
        crooked = (covariance - covariance.mT).abs().amax((-1, -2)) > 1e-3 * covariance.abs().amax((-1, -2))
        for name, bad in (
            ("finite", ~torch.isfinite(covariance).all(-1).all(-1)),
            ("symmetric", crooked),
            ("positive definite", torch.linalg.cholesky_ex(covariance.nan_to_num(0.0))[1] > 0),
        ):
            for person, joint in bad.nonzero().tolist()[:1]:
                raise ValueError(
                    f"covariance_m2 must be {name}, got {covariance[person, joint].tolist()} of joint {joint} "
                    f"of person {person}"
                )
        seen._set_covariance(covariance)
        return seen

    def _set_covariance(self, told: Float[Tensor, "P 17 3 3"]) -> None:
        eye = torch.eye(3, device=told.device)
        self.covariance_m2 = told
        bends = (self.known.sum(-1) > 1)[:, None, None, None]  # one joint alone fits any body
        self._believed = told + FIT_SD_M**2 * bends * eye
        factor = torch.linalg.cholesky(self._believed)
        self._whitener = self.known[..., None, None] * torch.linalg.solve_triangular(factor, eye, upper=False)

    def moved(self, offset_m: Float[Tensor, "P 3"]) -> KnownJoints:
        """Return the same of people who stand elsewhere by ``offset_m``."""
        return KnownJoints.of_covariance(
            self.joints + offset_m[:, None], self.known, self.covariance_m2, self.root_relative
        )  # fmt: skip

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return len(self.joints)

    def to(self, device: torch.device) -> KnownJoints:
        """Return a copy on ``device``."""
        return KnownJoints.of_covariance(
            self.joints.to(device), self.known.to(device), self.covariance_m2.to(device), self.root_relative
        )

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        sd = self.covariance_m2.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
        sd_mm = 1000 * float(sd[self.known].median()) if self.known.any() else float("nan")
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
        where = joints if self.root_relative else joints + root[:, :, None]
        residual = (self._whitener[:, None] @ (self.joints[:, None] - where)[..., None])[..., 0]
        rows = torch.zeros(persons, 1, 17, 3, 17, 3, device=joints.device)
        each = torch.arange(17, device=joints.device)
        rows[:, :, each, :, each] = self._whitener.transpose(0, 1)[:, :, None]
        by_root = self._whitener[:, None].flatten(2, 3) * (not self.root_relative)
        return Linearised(
            residual.flatten(-2), rows.flatten(4, 5).flatten(2, 3).expand(persons, samples, 51, 51),
            by_root.expand(persons, samples, 51, 3), residual.new_zeros(persons, samples),
        )  # fmt: skip

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of Gaussian log densities over the known joints."""
        if self.root_relative:
            joints = joints - joints[:, :, :1]
        each = torch.arange(17, device=joints.device)
        factor = torch.linalg.cholesky(self._believed + joint_blocks(covariance)[each, :, each])[:, None]
        off = torch.linalg.solve_triangular(factor, (self.joints[:, None] - joints)[..., None], upper=False)
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        logs = -0.5 * (off[..., 0].square().sum(-1) + 3 * math.log(2 * math.pi)) - volume
        return torch.where(self.known[:, None], logs, 0.0).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Mean offset of the known joints."""
        if self.root_relative:
            return None
        weight = self.known[:, None, :, None] / self.known.sum(-1).clamp_min(1)[:, None, None, None]
        position = ((self.joints[:, None] - joints) * weight).sum(2)
        variance = self.covariance_m2.diagonal(dim1=-2, dim2=-1).amax(-1)
        precision = self.known.any(-1) / ((variance * self.known).amax(-1) + POSE_SD_M**2)
        return RootGuess(position, torch.diag_embed(precision[:, None, None].expand(position.shape)))

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is: known joints may lie anywhere."""
        return root


def _check_pelvis(joints: Float[Tensor, "P 17 3"], far_m: Float[Tensor, "P 17"]) -> None:
    off = joints[:, 0].norm(dim=-1) > far_m[:, 0] + FIT_SD_M
    for person in off.nonzero().flatten().tolist()[:1]:
        raise ValueError(
            f"joints must be relative to the pelvis where root_relative is true, "
            f"got it at {joints[person, 0].tolist()} of person {person}"
        )


def _check_size(joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"]) -> None:
    most = joints.masked_fill(~known[..., None], -torch.inf).amax(1)
    least = joints.masked_fill(~known[..., None], torch.inf).amin(1)
    size = (most - least).amax(-1)
    for person in (size > MAX_BODY_M).nonzero().flatten().tolist()[:1]:
        raise ValueError(
            f"joints must be metres, at most {MAX_BODY_M:g} apart, got {float(size[person]):g} of person {person}"
        )
