# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Posteriors of the same people over time: a filter of what differs from frame to frame.

The error of a posterior's mean has two parts. One lasts: how far off the person is, how a limb is foreshortened;
looking again does not tell. The other is the detector's noise, drawn anew with every frame, and only this one may be
averaged away. So a Kalman filter runs on the means with a *share* of the posterior's covariance as its noise, and the
rest of that covariance is published as it was: carried over any number of frames, the prior counts once.

Motion is of damped velocity with random accelerations (Singer 1970, "Estimating optimal tracking filter performance
for manned maneuvering targets", with the velocity in place of the acceleration). Where a new mean surprises, the
prediction's covariance grows, with the square of how much (a "fading" filter; Xia et al. 1994, "Adaptive fading Kalman
filter with an application").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.observation import MISSING
from diffpose_core.posterior import COVARIANCE_FLOOR_M, PosePosterior


@dataclass(frozen=True)
class TemporalConfig:
    """Constants of the filter, chosen on validation subjects (docs/tracking.md).

    Attributes:
        fresh: share of the posterior's covariance that is drawn anew with every frame, 0..1.
        body_acceleration_m_s2: standard deviation of the pelvis' acceleration per axis.
        limb_acceleration_m_s2: of every other joint's beside the pelvis.
        body_damping_s: time in which the pelvis' velocity is forgotten.
        limb_damping_s: the other joints'.
        speed_m_s: standard deviation of the velocity, per axis, of somebody seen for the first time.
        surprise: squared distance per axis, in variances, from which on a new mean counts as motion.
        max_gap_s: after so long unseen a person is begun anew.

    Raises:
        ValueError: naming the field that is out of range.
    """

    fresh: float = 0.3
    body_acceleration_m_s2: float = 0.3
    limb_acceleration_m_s2: float = 0.15
    body_damping_s: float = 2.0
    limb_damping_s: float = 0.3
    speed_m_s: float = 1.0
    surprise: float = 2.75
    max_gap_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} must be positive and finite, got {value}")
        if self.fresh >= 1:
            raise ValueError(f"fresh must lie below 1, got {self.fresh}")


@dataclass(frozen=True)
class _State:
    """One person: the pelvis and, relative to it, the other joints; each [position, velocity] with its covariance."""

    stamp_s: float
    mean: Float[Tensor, "17 6"]
    covariance: Float[Tensor, "17 6 6"]


class TemporalFilter:
    """Carries the posteriors of people from frame to frame, by their ids."""

    def __init__(self, config: TemporalConfig | None = None) -> None:
        self.config = config or TemporalConfig()
        self._states: dict[int, _State] = {}
        self._stamp_s = -math.inf

    def __len__(self) -> int:
        """Return the number of persons carried."""
        return len(self._states)

    def reset(self) -> None:
        """Forget everybody."""
        self._states.clear()
        self._stamp_s = -math.inf

    def __call__(self, posterior: PosePosterior, ids: Sequence[int], stamp_s: float) -> PosePosterior:
        """Return the posterior given the earlier frames too.

        Every hypothesis is moved by as much as the mean is, and drawn nearer to it by what the earlier frames made
        surer; weights stay. Of somebody seen for the first time, or of whom nothing is known, the result is the
        posterior's very bits. A stamp that is not later than the last one, as when a recording begins again, makes
        everybody new.

        Args:
            posterior: of this frame alone, of P persons; in the same frame of reference as the earlier ones.
            ids: P different numbers.
            stamp_s: when it was seen, seconds.

        Raises:
            ValueError: ids that are not P different numbers, or a stamp that is not finite.
        """
        if len(ids) != len(posterior) or len(set(ids)) != len(ids):
            raise ValueError(f"ids must be {len(posterior)} different numbers, got {list(ids)}")
        if not math.isfinite(stamp_s):
            raise ValueError(f"stamp_s must be finite, got {stamp_s}")
        if stamp_s <= self._stamp_s:
            self.reset()
        self._stamp_s = stamp_s
        oldest_s = stamp_s - self.config.max_gap_s
        self._states = {key: state for key, state in self._states.items() if state.stamp_s >= oldest_s}
        means, spreads = _moments(posterior)
        joints = posterior.joints.clone()
        for p, number in enumerate(ids):
            if (posterior.status[p] == MISSING).all():
                continue
            noise = self.config.fresh * spreads[p]
            before = self._states.get(number)
            now = self._begin(stamp_s, means[p], noise)
            if before is not None:
                now = self._update(before, stamp_s, means[p], noise)
                joints[p] = self._moved(posterior.joints[p], means[p], noise, now)
            self._states[number] = now
        return replace(posterior, joints=joints)

    def _begin(self, stamp_s: float, mean: Float[Tensor, "17 3"], noise: Float[Tensor, "17 3 3"]) -> _State:
        covariance = mean.new_zeros(17, 6, 6)
        covariance[:, :3, :3] = noise
        covariance[:, 3:, 3:] = self.config.speed_m_s**2 * torch.eye(3, dtype=mean.dtype)
        return _State(stamp_s, torch.cat([mean, torch.zeros_like(mean)], -1), covariance)

    def _update(
        self, before: _State, stamp_s: float, seen: Float[Tensor, "17 3"], noise: Float[Tensor, "17 3 3"]
    ) -> _State:
        """Predict, observe the position."""
        move, shaken = self._motion(stamp_s - before.stamp_s)
        mean = (move @ before.mean[..., None])[..., 0]
        covariance = move @ before.covariance @ move.mT + shaken
        off = seen - mean[:, :3]
        distance = (off * torch.linalg.solve(covariance[:, :3, :3] + noise, off)).sum(-1)
        covariance = (distance / (3 * self.config.surprise)).clamp_min(1).square()[:, None, None] * covariance
        gain = torch.linalg.solve(covariance[:, :3, :3] + noise, covariance[:, :3, :]).mT
        mean = mean + (gain @ off[..., None])[..., 0]
        covariance = covariance - gain @ covariance[:, :3, :]
        return _State(stamp_s, mean, 0.5 * (covariance + covariance.mT))

    def _motion(self, elapsed_s: float) -> tuple[Float[Tensor, "17 6 6"], Float[Tensor, "17 6 6"]]:
        """Return the transition over a time, and the covariance of what accelerations may add in it."""
        config, eye = self.config, torch.eye(3, dtype=torch.float64)
        damping_s = eye.new_tensor([config.body_damping_s] + [config.limb_damping_s] * 16)[:, None, None]
        sd = eye.new_tensor([config.body_acceleration_m_s2] + [config.limb_acceleration_m_s2] * 16)[:, None, None]
        kept = torch.exp(-elapsed_s / damping_s)
        move = torch.eye(6, dtype=torch.float64).repeat(17, 1, 1)
        move[:, :3, 3:], move[:, 3:, 3:] = damping_s * (1 - kept) * eye, kept * eye
        pushes = torch.cat([sd * elapsed_s**2 / 2 * eye, sd * elapsed_s * eye], 1)
        return move, pushes @ pushes.mT

    def _moved(
        self, joints: Float[Tensor, "S 17 3"], mean: Float[Tensor, "17 3"], noise: Float[Tensor, "17 3 3"], now: _State
    ) -> Float[Tensor, "S 17 3"]:
        """Return hypotheses about the filtered mean; of their fresh variance is left what the filter left of it."""
        left = torch.linalg.solve(noise, now.covariance[:, :3, :3]).diagonal(dim1=-2, dim2=-1).mean(-1)
        factor = (1 - self.config.fresh * (1 - left.clamp(0, 1))).sqrt()[:, None]
        parts = (_about_pelvis(joints) - mean.to(joints)) * factor.to(joints) + now.mean[:, :3].to(joints)
        return torch.cat([parts[:, :1], parts[:, 1:] + parts[:, :1]], 1)


def _about_pelvis(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17 3"]:
    """Return the pelvis as it is and the other joints relative to it."""
    return torch.cat([joints[..., :1, :], joints[..., 1:, :] - joints[..., :1, :]], -2)


def _moments(posterior: PosePosterior) -> tuple[Float[Tensor, "P 17 3"], Float[Tensor, "P 17 3 3"]]:
    """Mean and covariance of the pelvis and of the other joints relative to it; float64, on the CPU."""
    parts, weights = _about_pelvis(posterior.joints).cpu().double(), posterior.weights.cpu().double()
    mean = torch.einsum("ps,psjc->pjc", weights, parts)
    off = parts - mean[:, None]
    spread = torch.einsum("ps,psja,psjb->pjab", weights, off, off)
    return mean, spread + COVARIANCE_FLOOR_M**2 * torch.eye(3, dtype=torch.float64)
