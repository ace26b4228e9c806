# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Several cameras at one instant: who is who across the views, and one posterior for each person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.checks import checked_transform
from diffpose_core.estimator import PoseEstimator
from diffpose_core.heatmap import Heatmaps
from diffpose_core.likelihood import DepthImage, HeatmapLikelihood, Likelihood
from diffpose_core.posterior import PosePosterior

AT_ONCE = 32
"""Explanations whose evidence is taken together: memory must not grow with the crowd."""

Group = tuple[int | None, ...]
"""A person's number in every view, None where it is not seen."""


@dataclass(frozen=True)
class View:
    """What one camera saw.

    Attributes:
        heatmaps: of P persons.
        camera: that saw them.
        reference_from_camera: [3, 4] rigid transform in metres, this camera's optical frame to the reference frame,
            whose y axis must point about downwards (:class:`diffpose_core.likelihood.Likelihood`).
        depth_m: [H, W] depth image in metres, aligned with the camera; 0 or NaN is a hole. None: none.

    Raises:
        ValueError: the transform is not rigid or the depth image has another size than the camera's.
    """

    heatmaps: Heatmaps
    camera: Camera
    reference_from_camera: Float[Tensor, "3 4"]
    depth_m: Float[Tensor, "H W"] | None = None

    def __post_init__(self) -> None:
        checked_transform("reference_from_camera", self.reference_from_camera)
        if self.depth_m is not None:
            DepthImage(self.depth_m, self.camera, 0)

    def likelihoods(self, persons: Sequence[int]) -> list[Likelihood]:
        """Observations of some persons of this view, by number."""
        pose = inverse(self.reference_from_camera)
        heat: list[Likelihood] = [HeatmapLikelihood(self.heatmaps.of(persons), self.camera, pose)]
        if self.depth_m is None:
            return heat
        return [*heat, DepthImage(self.depth_m, self.camera, len(persons), camera_from_reference=pose)]


@dataclass(frozen=True)
class Fusion:
    """One posterior of all persons that any view saw.

    Attributes:
        posterior: of F persons in the reference frame.
        members: F tuples, the person's number in every view; None where that view does not show the person.
        agreement: [F] log Bayes factor of one person behind all members against one behind each, nats; 0 for one
            member. Little above zero: perhaps two people, or a wrong calibration.
    """

    posterior: PosePosterior
    members: list[Group]
    agreement: Float[Tensor, "F"]


def inverse(transform: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
    """Inverse of a rigid transform."""
    rotation = transform[:, :3].T
    return torch.cat([rotation, -rotation @ transform[:, 3:]], 1)


def level_frame(target_from_camera: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
    """Return the frame of a level camera at a camera's place, in a target frame whose z axis points up (REP 103).

    y points down and z where the camera looks, levelled. The prior knows people before nearly level cameras: with views
    given in this frame a camera that looks steeply down costs nothing.
    """
    looks, image_up = target_from_camera[:2, 2], -target_from_camera[:2, 1]
    # A camera that looks straight down has its heading in the image's upward direction.
    heading = looks if float(looks.norm()) > 0.1 else image_up
    x, y = (heading / heading.norm()).tolist()
    rotation = target_from_camera.new_tensor([[y, 0.0, x], [-x, 0.0, y], [0.0, -1.0, 0.0]])
    return torch.cat([rotation, target_from_camera[:, 3:]], 1)


def associate(estimator: PoseEstimator, views: Sequence[View]) -> list[Group]:
    """Find who is who: view by view, the assignment with the largest total agreement (Hungarian algorithm).

    A person of a view joins a group where log p(group and person) - log p(group) - log p(person) is above
    zero: where one person is likelier than two. Otherwise it begins a new one.
    """
    groups: list[Group] = []
    for index, view in enumerate(views):
        count = len(view.heatmaps)
        alone: list[Group] = [(*(None,) * index, c) for c in range(count)]
        partner: dict[int, int] = {}
        if groups and count:
            pairs = [(*group, c) for group in groups for c in range(count)]
            together = log_evidence(estimator, views, pairs).reshape(len(groups), count)
            apart = log_evidence(estimator, views, groups)[:, None] + log_evidence(estimator, views, alone)
            gain = (together - apart).cpu().numpy()
            rows, columns = linear_sum_assignment(gain.clip(min=0), maximize=True)
            partner = {r: c for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if gain[r, c] > 0}
        groups = [(*group, partner.get(g)) for g, group in enumerate(groups)]
        groups += [person for c, person in enumerate(alone) if c not in partner.values()]
    return groups


def _by_views(groups: Sequence[Group]) -> dict[tuple[int, ...], list[int]]:
    """Numbers of the groups that the same views see, under those views."""
    result: dict[tuple[int, ...], list[int]] = {}
    for number, group in enumerate(groups):
        result.setdefault(tuple(v for v, person in enumerate(group) if person is not None), []).append(number)
    return result


def _observations(views: Sequence[View], groups: Sequence[Group], seen: tuple[int, ...]) -> list[Likelihood]:
    """Likelihoods of groups that the same views see."""
    observations: list[Likelihood] = []
    for v in seen:
        observations += views[v].likelihoods([person for group in groups if (person := group[v]) is not None])
    return observations


def log_evidence(estimator: PoseEstimator, views: Sequence[View], groups: Sequence[Group]) -> Float[Tensor, "G"]:
    """Log evidence of one person behind every group, nats (:meth:`PoseEstimator.log_evidence`)."""
    result = torch.zeros(len(groups), device=estimator.device)
    for seen, numbers in _by_views(groups).items():
        for some in (numbers[i : i + AT_ONCE] for i in range(0, len(numbers), AT_ONCE)):
            result[some] = estimator.log_evidence(_observations(views, [groups[n] for n in some], seen))
    return result


def fuse(
    estimator: PoseEstimator, views: Sequence[View], num_hypotheses: int = 50, generator: torch.Generator | None = None
) -> Fusion:
    """Associate the persons of all views and infer each from all views that see it.

    Args:
        estimator: with ``SamplerConfig`` ``FUSED`` spread stays calibrated where views leave little open.
        views: of one instant.
        num_hypotheses: S, skeletons per person.
        generator: on the estimator's device.

    Raises:
        ValueError: no views, or as :meth:`PoseEstimator.infer`.
    """
    if not views:
        raise ValueError("views must hold at least one view")
    generator = generator or torch.Generator(estimator.device)
    groups = associate(estimator, views)
    if not groups:
        nobody = estimator.infer(views[0].likelihoods([]), num_hypotheses, generator)
        return Fusion(nobody, [], torch.zeros(0, device=estimator.device))
    parts, order = [], []
    for seen, numbers in _by_views(groups).items():
        observed = _observations(views, [groups[n] for n in numbers], seen)
        parts.append(estimator.infer(observed, num_hypotheses, generator))
        order += numbers
    posterior = PosePosterior.concatenate(parts).of([order.index(n) for n in range(len(groups))])
    assert posterior.log_evidence is not None
    several = [sum(person is not None for person in group) > 1 for group in groups]
    agreement = torch.where(torch.tensor(several, device=estimator.device), posterior.log_evidence, 0.0)
    for v in range(len(views)):
        numbers = [n for n, group in enumerate(groups) if several[n] and group[v] is not None]
        alone = [tuple(p if w == v else None for w, p in enumerate(groups[n])) for n in numbers]
        agreement[numbers] -= log_evidence(estimator, views, alone)
    return Fusion(posterior, groups, agreement)
