# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Poses of one split of prepared motion data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.data.prepared import RecordingInfo, open_prepared


@dataclass(frozen=True)
class MocapSet:
    """Poses of one split.

    Attributes:
        joints: [N, 17, 3] metres, world frame with z up, global position kept.
        subject: [N] counts into ``subjects``.
        recording: [N] counts into ``recordings``.
        subjects: names of all people of the file, in natural order.
        recordings: all recordings of the file.
    """

    joints: Float[Tensor, "n 17 3"]
    subject: Int[Tensor, "n"]
    recording: Int[Tensor, "n"]
    subjects: list[str]
    recordings: list[RecordingInfo]

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def people(self) -> list[str]:
        """Names of the subjects with poses in this split, in natural order."""
        return [self.subjects[i] for i in self.subject.unique().tolist()]

    def without(self, names: Collection[str]) -> MocapSet:
        """Return the poses of all recordings but the named ones."""
        keep = ~torch.tensor([r.name in names for r in self.recordings])[self.recording]
        return replace(self, joints=self.joints[keep], subject=self.subject[keep], recording=self.recording[keep])

    def weights(self, temper: float) -> Float[Tensor, "n"]:
        """Return each pose's probability if subjects are drawn in proportion to their poses ** ``temper``."""
        _, inverse, count = torch.unique(self.subject, return_inverse=True, return_counts=True)
        weight = (count.double() ** (temper - 1))[inverse]
        return weight / weight.sum()


def load_mocap(path: str | Path, split: str) -> MocapSet:
    """Read one split of a prepared file (:mod:`diffpose_core.data.prepared`).

    The poses are moved from z-up world axes into upright camera axes by
    :func:`diffpose_core.data.camera_rotation`, not here.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown split, or not a prepared file, or a damaged one.
    """
    data = open_prepared(path)
    subjects = data.subjects
    chosen = {r.name for r in data.of_split(split)}
    lengths = torch.tensor([r.length for r in data.recordings])
    recording = torch.arange(len(lengths)).repeat_interleave(lengths)
    subject = torch.tensor([subjects.index(r.subject) for r in data.recordings])[recording]
    keep = torch.tensor([r.name in chosen for r in data.recordings])[recording]
    return MocapSet(data.joints[keep], subject[keep], recording[keep], subjects, data.recordings)


def load_splits(path: str | Path, exclude: Collection[str] = ()) -> tuple[MocapSet, MocapSet]:
    """Read the training poses, less the recordings to exclude, and the validation poses.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is unusable, a split is empty, or a subject is in both.
    """
    sets = load_mocap(path, "train").without(exclude), load_mocap(path, "validation")
    for name, data in zip(("train", "validation"), sets, strict=True):
        if len(data) == 0:
            raise ValueError(f"{path}: split {name!r} holds no poses")
    shared = [name for name in sets[0].people if name in sets[1].people]
    if shared:
        raise ValueError(f"{path}: subjects {shared} are in split 'train' and in split 'validation'")
    return sets
