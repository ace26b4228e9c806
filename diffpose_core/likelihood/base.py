# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The interface that every observation offers to the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.checks import checked_transform


@dataclass(frozen=True)
class Linearised:
    """An observation linearised about a pose X and root position T: y = h + H dX + G dT + noise.

    All in standard deviations of the noise (whitened), so that the noise is N(0, I). A row of zeros is not observed.

    Attributes:
        residual: y - h(X + T).
        jacobian: H, derivative with respect to the root-relative joints in metres.
        root_jacobian: G, derivative with respect to the root position in metres.
        log_scale: log p(y | x) + |residual|^2 / 2, in nats, relative to a pose that explains y exactly: 0 for a
            Gaussian observation of fixed noise, less where a minor mode or an outlier was taken.
        sizes: D of every observation that was stacked; empty for one alone.
    """

    residual: Float[Tensor, "P S D"]
    jacobian: Float[Tensor, "P S D 51"]
    root_jacobian: Float[Tensor, "P S D 3"]
    log_scale: Float[Tensor, "P S"]
    sizes: tuple[int, ...] = ()


class RootGuess(NamedTuple):
    """A first guess of the root position, as sure as it is."""

    position: Float[Tensor, "P S 3"]
    """Metres, reference frame."""
    precision: Float[Tensor, "P S 3 3"]
    """1 / m^2; zeros where nothing can be said."""


def stack(parts: Sequence[Linearised]) -> Linearised:
    """Combine independent observations into one."""
    if len(parts) == 1:
        return parts[0]
    return Linearised(
        torch.cat([p.residual for p in parts], -1),
        torch.cat([p.jacobian for p in parts], -2),
        torch.cat([p.root_jacobian for p in parts], -2),
        torch.stack([p.log_scale for p in parts]).sum(0),
        tuple(p.residual.shape[-1] for p in parts),
    )


@runtime_checkable
class Likelihood(Protocol):
    """What the sampler needs of an observation of P persons.

    Joints and roots are in the reference frame: the optical frame of the first camera, or any other frame whose y axis
    points about downwards, as in the poses that the prior was trained on.
    """

    @property
    def persons(self) -> int:
        """Number of persons observed."""

    def to(self, device: torch.device) -> Likelihood:
        """Return a copy on ``device``."""

    def describe(self) -> str:
        """Say in one line what was observed, how surely, of how many persons."""

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linearise about root-relative ``joints`` and ``root`` (metres, reference frame).

        ``covariance`` is that of the joints at this noise level; a multi-modal
        observation draws one mode per hypothesis by its responsibility under it.
        """

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Log p(y | x) of absolute joints, widened by the joints' ``covariance``; differentiable."""

    def start_root(self, joints: Float[Tensor, "P S 17 3"], so_far: Float[Tensor, "P S 3"] | None) -> RootGuess | None:
        """Return a first guess of the root position, or None if this observation says nothing of it.

        ``so_far`` is what the observations before this one in the list guess.
        """

    def bound_root(self, root: Float[Tensor, "P S 3"]) -> Float[Tensor, "P S 3"]:
        """Return the root moved to where the observation is possible at all: before the camera that saw the person."""

    def status(self) -> Int[Tensor, "P 17"]:
        """OBSERVED, INFERRED or MISSING per joint; MISSING where this observation alone cannot place the joint."""


def joint_blocks(covariance: Float[Tensor, "51 51"]) -> Float[Tensor, "17 3 17 3"]:
    """View a covariance of flattened joints joint by joint."""
    return covariance.reshape(17, 3, 17, 3)


def checked_pose(camera_from_reference: Tensor | None, device: torch.device) -> Float[Tensor, "3 4"] | None:
    """Return where a camera is, on ``device``; None: the reference frame is its own.

    Raises:
        ValueError: it is not a rigid transform.
    """
    if camera_from_reference is None:
        return None
    return checked_transform("camera_from_reference", camera_from_reference).to(device)


def in_camera(points: Float[Tensor, "*batch 3"], pose: Float[Tensor, "3 4"] | None) -> Float[Tensor, "*batch 3"]:
    """Move points from the reference frame to that of a camera (:func:`checked_pose`)."""
    return points if pose is None else points @ pose[:, :3].T + pose[:, 3]


class Bound(NamedTuple):
    """A Gaussian pseudo-observation of a quantity that has a bound; all zeros where the bound holds anyway."""

    whitener: Tensor
    """Root of the precision of its noise, per unit of the quantity."""
    residual: Tensor
    """Pseudo-observed value less the present mean, in standard deviations of its noise."""
    log_effect: Tensor
    """What it contributes by itself to log p(y), nats."""


FAR = 6.0
"""Standard deviations below a bound from which a series stands for the ratio of density and probability."""


def at_least(excess: Float[Tensor, "*batch"], variance: Float[Tensor, "*#batch"], std: float) -> Bound:
    """Turn "the quantity is at least the bound" into a Gaussian observation with the same posterior mean and variance.

    The quantity is N(bound + excess, variance), the bound soft by a Gaussian of ``std``: the moments of the truncated
    Gaussian, as a site of expectation propagation (Minka 2001; probit likelihood, Rasmussen & Williams 2006, eq. 3.58).
    """
    total = variance + std**2
    alpha = excess * total.rsqrt()
    ratio = torch.exp(-0.5 * alpha**2 - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(alpha))
    # The ratio nearly cancels far below the bound: there its asymptotic series.
    far = (-alpha).clamp_min(FAR)
    slope = torch.where(alpha < -FAR, 1 / far - 2 / far**3 + 10 / far**5, ratio + alpha)
    ratio = torch.where(alpha < -FAR, slope - alpha, ratio)
    curvature = ratio * slope / total
    # 1 - variance * curvature is at least the share of the softness in the total variance.
    precision = curvature / (1 - variance * curvature).clamp_min(1e-6)
    residual = (precision * total).sqrt() / slope
    spread = 1 + precision * variance
    return Bound(precision.sqrt(), residual, -0.5 * (residual**2 / spread + torch.log(spread)))


def log_holds(
    excess: Float[Tensor, "*batch"], variance: Float[Tensor, "*#batch"], std: float
) -> Float[Tensor, "*batch"]:
    """Log probability that the quantity of :func:`at_least` reaches its bound."""
    return torch.special.log_ndtr(excess * (variance + std**2).rsqrt())
