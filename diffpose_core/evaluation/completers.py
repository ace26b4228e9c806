# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Simple ways to complete a partly known pose, to compare with; reachable from the completion report only.

Each gives hypotheses of all joints in the axes of the known ones, upright camera axes (y down, metres); only the
missing joints are meant. Poses are placed by turning them about the vertical and moving them onto the known joints,
which is the best such move in the least-squares sense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffpose_core.skeleton import H36M17

_J = H36M17.index
ANYWHERE_M = 100.0
"""Standard deviation of the root's position where nothing is known of it."""

Completer = Callable[
    [Float[Tensor, "P 17 3"], Bool[Tensor, "P 17"], float, int, torch.Generator], Float[Tensor, "P S 17 3"]
]
"""From joints, which are known, their standard deviation in metres, how many hypotheses, and a generator."""


def turn(joints: Float[Tensor, "*batch J 3"], angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch J 3"]:
    """Turn poses about the camera's y axis through the origin; radians."""
    c, s = angle.cos()[..., None], angle.sin()[..., None]
    x, y, z = joints.unbind(-1)
    return torch.stack([c * x + s * z, y, c * z - s * x], -1)


def centred(
    joints: Float[Tensor, "*batch J 3"], known: Bool[Tensor, "*#batch J"]
) -> tuple[Float[Tensor, "*batch J 3"], Float[Tensor, "*batch 1 3"]]:
    """Return the poses about the mean of their known joints, and that mean."""
    weight = (known / known.sum(-1, keepdim=True))[..., None].to(joints.dtype)
    mean = (torch.where(known[..., None], joints, 0.0) * weight).sum(-2, keepdim=True)
    return joints - mean, mean


def best_turn(
    joints: Float[Tensor, "*batch J 3"], onto: Float[Tensor, "*#batch J 3"], known: Bool[Tensor, "*#batch J"]
) -> Float[Tensor, "*batch"]:
    """Return the angle by which :func:`turn` brings centred poses nearest to others at the known joints."""
    onto = torch.where(known[..., None], onto, 0.0)
    cosine = (joints[..., 0] * onto[..., 0] + joints[..., 2] * onto[..., 2]).sum(-1)
    sine = (joints[..., 2] * onto[..., 0] - joints[..., 0] * onto[..., 2]).sum(-1)
    return torch.atan2(sine, cosine)


class Gaussian(NamedTuple):
    """Mean and covariance of flattened joints, metres, double precision."""

    mean: Float[Tensor, "51"]
    covariance: Float[Tensor, "51 51"]

    @classmethod
    def of(cls, poses: Float[Tensor, "n 17 3"]) -> Gaussian:
        """Return the moments of poses."""
        flat = poses.double().flatten(1)
        return cls(flat.mean(0), torch.cov(flat.T))

    def given(self, joints: Float[Tensor, "17 3"], known: Bool[Tensor, "17"], std_m: float) -> Gaussian:
        """Condition on known joints with independent errors, exactly."""
        seen = known.repeat_interleave(3)
        across = self.covariance[:, seen]
        noise = std_m**2 * torch.eye(int(seen.sum()), dtype=torch.float64)
        gain = torch.linalg.solve(across[seen] + noise, across.T).T
        innovation = joints.double().flatten()[seen] - self.mean[seen]
        return Gaussian(self.mean + gain @ innovation, self.covariance - gain @ across.T)

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 17 3"]:
        """Draw poses."""
        values, axes = torch.linalg.eigh(self.covariance)
        noise = torch.randn(n, len(values), dtype=torch.float64, generator=generator)
        return (self.mean + (noise * values.clamp_min(0).sqrt()) @ axes.T).unflatten(-1, (-1, 3))


class GaussianAsSeen:
    """A Gaussian of root-relative training poses in camera axes, at any yaw, conditioned on the known joints."""

    def __init__(self, poses: Float[Tensor, "n 17 3"]) -> None:
        relative = Gaussian.of(poses)
        anywhere = torch.eye(3, dtype=torch.float64).repeat(len(H36M17), len(H36M17))
        self.gaussian = Gaussian(relative.mean, relative.covariance + ANYWHERE_M**2 * anywhere)

    def __call__(
        self, joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"], std_m: float, hypotheses: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "P S 17 3"]:  # fmt: skip
        """Draw from the conditional Gaussian."""
        each = [
            self.gaussian.given(j, k, std_m).draw(hypotheses, generator) for j, k in zip(joints, known, strict=True)
        ]
        return torch.stack(each).float()


class AlignedPoses:
    """Training poses placed onto their own mean by the joints that are known: as a missing part differs given them."""

    ROUNDS = 3

    def __init__(self, poses: Float[Tensor, "n 17 3"]) -> None:
        self.poses = poses
        self._fits: dict[tuple[bool, ...], Gaussian] = {}

    def fit(self, known: Bool[Tensor, "17"]) -> Gaussian:
        """Return the Gaussian of the placed poses (generalised Procrustes analysis), about their known joints' mean."""
        key = tuple(known.tolist())
        if key not in self._fits:
            poses, _ = centred(self.poses, known)
            mean = poses[0]
            for _ in range(self.ROUNDS):
                poses = turn(poses, best_turn(poses, mean, known))
                mean = poses.mean(0)
            self._fits[key] = Gaussian.of(poses)
        return self._fits[key]

    def place(
        self, joints: Float[Tensor, "17 3"], known: Bool[Tensor, "17"]
    ) -> tuple[Gaussian, Float[Tensor, "17 3"], Callable[[Tensor], Tensor]]:
        """Return the fit, the joints turned onto its mean, and the way back for poses like it."""
        gaussian = self.fit(known)
        seen, middle = centred(joints, known)
        angle = best_turn(seen, gaussian.mean.reshape(-1, 3).float(), known)
        return gaussian, turn(seen, angle), lambda poses: turn(poses, -angle.expand(poses.shape[:-2])) + middle

    def complete(
        self, joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"],
        draw: Callable[[Gaussian, Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "P n 17 3"]:  # fmt: skip
        """Return what ``draw`` makes of each person's fit, placed joints and mask, [n, 17, 3], moved back to them."""
        completed = []
        for pose, mask in zip(joints, known, strict=True):
            gaussian, seen, back = self.place(pose, mask)
            completed.append(back(draw(gaussian, seen, mask).float()))
        return torch.stack(completed)


class MeanPose:
    """The mean training pose, placed: one hypothesis, repeated."""

    def __init__(self, training: AlignedPoses) -> None:
        self.training = training

    def __call__(
        self, joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"], std_m: float, hypotheses: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "P S 17 3"]:  # fmt: skip
        """Place the mean pose."""
        one = self.training.complete(joints, known, lambda gaussian, *_: gaussian.mean.reshape(1, -1, 3))
        return one.expand(-1, hypotheses, -1, -1)


class GaussianAligned:
    """A Gaussian of training poses placed by the known joints, conditioned on them."""

    def __init__(self, training: AlignedPoses) -> None:
        self.training = training

    def __call__(
        self, joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"], std_m: float, hypotheses: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "P S 17 3"]:  # fmt: skip
        """Draw from the conditional Gaussian."""
        return self.training.complete(
            joints, known, lambda gaussian, seen, mask: gaussian.given(seen, mask, std_m).draw(hypotheses, generator)
        )


class NearestPoses:
    """The training poses that fit the known joints best once placed, each as one hypothesis."""

    def __init__(self, poses: Float[Tensor, "n 17 3"]) -> None:
        self.poses = poses

    def __call__(
        self, joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"], std_m: float, hypotheses: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "P S 17 3"]:  # fmt: skip
        """Find and place the nearest ones."""
        found = []
        for pose, mask in zip(joints, known, strict=True):
            wanted, middle = centred(pose, mask)
            candidates, _ = centred(self.poses[:, mask], mask[mask])
            placed = turn(candidates, best_turn(candidates, wanted[mask], mask[mask]))
            misfit = ((placed - wanted[mask]) ** 2).sum((-1, -2))
            best, _ = centred(self.poses[misfit.topk(hypotheses, largest=False).indices], mask)
            found.append(turn(best, best_turn(best, wanted, mask)) + middle)
        return torch.stack(found)


class _Half(NamedTuple):
    """Where the plane that mirrors a pair of limbs lies: through a joint, along the trunk, across it to either side."""

    centre: str
    trunk: str
    side: str
    limb: tuple[str, ...]


HALVES = (
    _Half("Pelvis", "Spine", "Hip", ("Hip", "Knee", "Ankle")),
    _Half("Thorax", "Spine", "Shoulder", ("Shoulder", "Elbow", "Wrist")),
)


def mirrored(
    joints: Float[Tensor, "P 17 3"], known: Bool[Tensor, "P 17"]
) -> tuple[Float[Tensor, "P 17 3"], Bool[Tensor, "P 17"]]:
    """Put missing joints of a limb where the other side's lie, mirrored in the plane of the trunk.

    The plane goes through the pelvis for legs and the thorax for arms, and along the spine there; across it lies the
    one hip or shoulder that is known, or both; one alone is taken to lie straight across. One hypothesis, and only of
    joints for which all of that is known.

    Returns:
        The joints with the mirrored ones in place, and which those are.
    """
    result, given = joints.clone(), torch.zeros_like(known)
    for half in HALVES:
        centre, trunk = _J(half.centre), _J(half.trunk)
        axis = torch.nn.functional.normalize(joints[:, trunk] - joints[:, centre], dim=-1)
        across = torch.zeros_like(axis)
        for sign, side in ((1, "L"), (-1, "R")):
            joint = _J(side + half.side)
            across += torch.where(known[:, joint, None], sign * (joints[:, joint] - joints[:, centre]), 0.0)
        normal = torch.nn.functional.normalize(across - (across * axis).sum(-1, keepdim=True) * axis, dim=-1)
        plane = known[:, centre] & known[:, trunk] & (known[:, _J("L" + half.side)] | known[:, _J("R" + half.side)])
        for name in half.limb:
            for joint in (_J("L" + name), _J("R" + name)):
                other = H36M17.mirror[joint]
                possible = ~known[:, joint] & known[:, other] & plane
                distance = ((joints[:, other] - joints[:, centre]) * normal).sum(-1, keepdim=True)
                image = joints[:, other] - 2 * distance * normal
                result[:, joint] = torch.where(possible[:, None], image, result[:, joint])
                given[:, joint] = possible
    return result, given
