# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Bounds on linear functions of the joints: hands above the head, a body that stands on the ground."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.body import ANKLE_M
from diffpose_core.checks import checked, checked_std
from diffpose_core.likelihood.base import Linearised, RootGuess, at_least, joint_blocks, log_holds
from diffpose_core.observation import MISSING
from diffpose_core.skeleton import H36M17

UP = (0.0, -1.0, 0.0)
"""Upwards in the axes of a level camera."""
AIR_M = 1.0
"""Range over which the ankles' heights are uniform when no foot stands."""
_ANKLES = [H36M17.index("LAnkle"), H36M17.index("RAnkle")]


class LinearConstraint:
    """Linear functions of the joints are at least so large.

    A function whose weights sum to zero per axis, as in :meth:`above`, does not depend on the root.

    Args:
        weights: [K, 17, 3], of the joints' coordinates.
        at_least_m: [K] metres.
        std_m: softness of the bounds.
        persons: P, of whom the same is known.

    Raises:
        ValueError: naming the field that has a wrong shape or range.
    """

    def __init__(self, weights: Tensor, at_least_m: Tensor, std_m: float = 0.02, persons: int = 1) -> None:
        self.weights = checked("weights", weights, (None, len(H36M17), 3))
        self.at_least_m = checked("at_least_m", at_least_m, (len(self.weights),))
        self.std_m = float(checked_std("std_m", std_m, ()))
        if persons < 0:
            raise ValueError(f"persons must not be negative, got {persons}")
        self._persons = persons
        self._rows = self.weights.flatten(1)
        self._root_rows = self.weights.sum(1)

    @classmethod
    def above(
        cls, joint: str, other: str, margin_m: float = 0.0, std_m: float = 0.02, persons: int = 1,
        up: tuple[float, float, float] = UP,
    ) -> LinearConstraint:  # fmt: skip
        """``joint`` lies at least ``margin_m`` above ``other``, by names of H36M17; ``up`` is a unit vector.

        Raises:
            ValueError: a joint that does not exist, the two are one, or ``up`` is no unit vector.
        """
        a, b = H36M17.index(joint), H36M17.index(other)
        if a == b:
            raise ValueError(f"joint and other must differ, got {joint!r} twice")
        weights = torch.zeros(1, len(H36M17), 3)
        upwards = checked("up", torch.tensor(up), (3,))
        _check_unit("up", upwards)
        weights[0, a], weights[0, b] = upwards, -upwards
        return cls(weights, torch.tensor([margin_m]), std_m, persons)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return self._persons

    def to(self, device: torch.device) -> LinearConstraint:
        """Return a copy on ``device``."""
        return LinearConstraint(self.weights.to(device), self.at_least_m.to(device), self.std_m, self.persons)

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        return f"{len(self.weights)} linear bounds on the joints of {self.persons} persons, soft by {self.std_m:g} m"

    def status(self) -> Int[Tensor, "P 17"]:
        """MISSING: bounds place no joint."""
        return torch.full((self.persons, len(H36M17)), MISSING, device=self.weights.device)

    def _excess(self, joints: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """How far the functions exceed the bounds [P, S, K], and their variance [K]."""
        return joints.flatten(-2) @ self._rows.T - self.at_least_m, ((self._rows @ covariance) * self._rows).sum(-1)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Each bound as the Gaussian with the same effect (:func:`at_least`)."""
        excess, variance = self._excess(joints + root[:, :, None], covariance)
        return _bounds(excess, variance, self.std_m, self._rows, self._root_rows)

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Sum of the log probabilities that the bounds hold."""
        excess, variance = self._excess(joints, covariance)
        return log_holds(excess, variance, self.std_m).sum(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Bounds do not place the root."""
        return None

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root


def _check_unit(name: str, vector: Float[Tensor, "3"]) -> None:
    length = float(vector.norm())
    if abs(length - 1) > 1e-3:
        raise ValueError(f"{name} must be a unit vector, got one of length {length:g}")


def _bounds(excess: Tensor, variance: Tensor, std: float, rows: Tensor, root_rows: Tensor) -> Linearised:
    """Linearise bounds on linear functions: rows [K, 51] of the joints, [K, 3] of the root.

    The scale makes the whole the probability that the bounds hold, where their functions are independent.
    """
    bound = at_least(excess, variance, std)
    scale = log_holds(excess, variance, std) - bound.log_effect
    whitener = bound.whitener[..., None]
    return Linearised(bound.residual, whitener * rows, whitener * root_rows, scale.sum(-1))


class GroundPlane:
    """People stand above the ground, most often on it.

    Every joint lies above the plane; an ankle is about ``ANKLE_M`` above it for the foot that stands, with probability
    ``standing``; which foot that is, is not known.

    Args:
        plane: [4], (n, d) with n.x + d = height of a point x of the reference frame above the ground, metres; |n| = 1.
        persons: P.
        std_m: of the ankle's height, the ground's evenness and the plane's error.
        standing: probability that at least one foot stands on this ground.

    Raises:
        ValueError: naming the field that has a wrong shape or range.
    """

    def __init__(self, plane: Tensor, persons: int, std_m: float = 0.03, standing: float = 0.9) -> None:
        self.plane = checked("plane", plane, (4,))
        _check_unit("the normal of plane", self.plane[:3])
        if persons < 0:
            raise ValueError(f"persons must not be negative, got {persons}")
        if not 0 < standing < 1:
            raise ValueError(f"standing must lie between 0 and 1, got {standing}")
        self._persons = persons
        self.std_m = float(checked_std("std_m", std_m, ()))
        self.standing = standing

    @classmethod
    def below_camera(cls, height_m: float, persons: int, std_m: float = 0.03, standing: float = 0.9) -> GroundPlane:
        """Level ground under a level camera ``height_m`` above it, in that camera's frame."""
        return cls(torch.tensor([*UP, height_m]), persons, std_m, standing)

    @property
    def persons(self) -> int:
        """Number of persons observed."""
        return self._persons

    def to(self, device: torch.device) -> GroundPlane:
        """Return a copy on ``device``."""
        return GroundPlane(self.plane.to(device), self.persons, self.std_m, self.standing)

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""
        return f"ground {self.plane.tolist()} under {self.persons} persons, std {1000 * self.std_m:.0f} mm"

    def status(self) -> Int[Tensor, "P 17"]:
        """MISSING: the ground alone places no joint."""
        return torch.full((self.persons, len(H36M17)), MISSING, device=self.plane.device)

    def _heights(self, joints: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Heights of absolute joints above the ground [P, S, 17], and their variance [17]."""
        blocks = joint_blocks(covariance).diagonal(dim1=0, dim2=2)
        normal = self.plane[:3]
        return joints @ normal + self.plane[3], torch.einsum("a,abj,b->j", normal, blocks, normal)

    def _contact(self, height: Tensor, variance: Tensor) -> Tensor:
        """Log densities [P, S, 3] of the left foot standing, the right one, none (per metre, over ``AIR_M``)."""
        total = variance[_ANKLES] + self.std_m**2
        off = height[..., _ANKLES] - ANKLE_M
        on = -0.5 * (off**2 / total + torch.log(2 * math.pi * total)) + math.log(0.5 * self.standing)
        air = torch.full_like(on[..., :1], math.log((1 - self.standing) / AIR_M))
        return torch.cat([on, air], -1)

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Bounds as Gaussians of the same effect; which foot stands is drawn by responsibility."""
        height, variance = self._heights(joints + root[:, :, None], covariance)
        normal = self.plane[:3]
        rows = (torch.eye(17, device=normal.device)[..., None] * normal).flatten(1)
        above = _bounds(height, variance, self.std_m, rows, normal.expand(17, 3))
        logs = self._contact(height, variance)
        uniform = torch.rand(logs.shape, generator=generator, device=logs.device).clamp_(1e-9, 1 - 1e-7)
        foot = (logs - torch.log(-torch.log(uniform))).argmax(-1, keepdim=True)
        drawn = logs.gather(-1, foot) - logs.logsumexp(-1, keepdim=True)
        air = foot == len(_ANKLES)
        joint = torch.tensor(_ANKLES, device=foot.device)[foot.clamp_max(len(_ANKLES) - 1)]
        whitener = ~air / self.std_m
        residual = whitener * (ANKLE_M - height.gather(-1, joint))
        exact = math.log(0.5 * self.standing / (math.sqrt(2 * math.pi) * self.std_m))
        scale = torch.where(air, logs[..., -1:], exact) - exact - drawn
        return Linearised(
            torch.cat([above.residual, residual], -1),
            torch.cat([above.jacobian, whitener[..., None] * rows[joint]], -2),
            torch.cat([above.root_jacobian, whitener[..., None] * normal], -2),
            above.log_scale + scale[..., 0],
        )

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Log probability that all joints are above the ground, and log density of the ankles' heights, per metre."""
        height, variance = self._heights(joints, covariance)
        above = log_holds(height, variance, self.std_m).sum(-1)
        return above + self._contact(height, variance).logsumexp(-1)

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """The ground guesses no root: a camera's guess corrected by it is the sampler's work."""
        return None

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root as it is."""
        return root
