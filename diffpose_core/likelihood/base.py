"""The interface that every observation offers to the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Linearised:
    """An observation linearised about a pose X and root position T: y = h + H dX + G dT + noise.

    All in standard deviations of the noise (whitened), so that the noise is N(0, I). A row of zeros is not observed.

    Attributes:
        residual: y - h(X + T).
        jacobian: H, derivative with respect to the root-relative joints in metres.
        root_jacobian: G, derivative with respect to the root position in metres.
    """

    residual: Float[Tensor, "P S D"]
    jacobian: Float[Tensor, "P S D 51"]
    root_jacobian: Float[Tensor, "P S D 3"]


def stack(parts: list[Linearised]) -> Linearised:
    """Combine independent observations into one."""
    if len(parts) == 1:
        return parts[0]
    return Linearised(
        torch.cat([p.residual for p in parts], -1),
        torch.cat([p.jacobian for p in parts], -2),
        torch.cat([p.root_jacobian for p in parts], -2),
    )


@runtime_checkable
class Likelihood(Protocol):
    """What the sampler needs of an observation of P persons."""

    @property
    def persons(self) -> int:
        """Number of persons observed."""

    def to(self, device: torch.device) -> Likelihood:
        """Return a copy on ``device``."""

    def linearise(
        self, joints: Float[Tensor, "P S 17 3"], root: Float[Tensor, "P S 3"],
        covariance: Float[Tensor, "51 51"], generator: torch.Generator,
    ) -> Linearised:  # fmt: skip
        """Linearise about root-relative ``joints`` and ``root`` (metres, optical frame).

        ``covariance`` is that of the joints at this noise level; a multi-modal
        observation draws one mode per hypothesis by its responsibility under it.
        """

    def log_density(
        self, joints: Float[Tensor, "P S 17 3"], covariance: Float[Tensor, "51 51"]
    ) -> Float[Tensor, "P S"]:
        """Log p(y | x) of absolute joints, widened by the joints' ``covariance``; differentiable."""

    def start_root(self, joints: Float[Tensor, "P S 17 3"]) -> Float[Tensor, "P S 3"] | None:
        """Return a first guess of the root position, or None if this observation cannot give one."""

    def status(self) -> Int[Tensor, "P 17"]:
        """OBSERVED, INFERRED or MISSING per joint."""
