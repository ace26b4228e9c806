# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The request of the completion service, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffpose_core import H36M17

MAX_SKELETONS = 2000
"""Persons times hypotheses of one request: images wait for some seconds on two CPU cores, and the node for its end."""


@dataclass(frozen=True)
class Completion:
    """What :meth:`PoseEstimator.complete` takes.

    Attributes:
        joints: [P, 17, 3] metres; anything where not known.
        known: [P, 17].
        std: [P, 17] metres.
        root_relative: the joints are relative to the pelvis.
        num_hypotheses: S, skeletons per person.
    """

    joints: Tensor
    known: Tensor
    std: Tensor
    root_relative: bool
    num_hypotheses: int


def completion_from_request(request: Any, num_hypotheses: int) -> Completion:
    """Return the request of a ``diffpose/srv/Complete``; ``num_hypotheses`` serves where it asks for 0.

    Raises:
        ValueError: naming the field that is wrong.
    """
    count = len(H36M17)
    if request.skeleton != H36M17.name:
        raise ValueError(f"skeleton must be {H36M17.name}, got {request.skeleton!r}")
    persons, rest = divmod(len(request.known), count)
    if rest or not persons:
        raise ValueError(f"known must hold a positive multiple of {count} values, got {len(request.known)}")
    if len(request.joints) != persons * count * 3:
        raise ValueError(
            f"joints must hold {persons} x {count} x 3 = {persons * count * 3} values as known says, "
            f"got {len(request.joints)}"
        )
    if len(request.std) not in (1, persons * count):
        raise ValueError(f"std must hold 1 or {persons * count} values, got {len(request.std)}")
    samples = request.num_hypotheses or num_hypotheses
    if persons * samples > MAX_SKELETONS:
        raise ValueError(f"num_hypotheses x persons must be at most {MAX_SKELETONS}, got {samples} x {persons}")
    known = torch.tensor(list(request.known)).reshape(persons, count)
    if not known.any(-1).all():
        raise ValueError(f"known must hold at least one joint of person {int((~known.any(-1)).nonzero()[0])}")
    joints = torch.from_numpy(np.array(request.joints, np.float32)).reshape(persons, count, 3)
    std = torch.from_numpy(np.array(request.std, np.float32))
    std = std.expand(persons, count) if len(std) == 1 else std.reshape(persons, count)
    return Completion(joints, known, std, request.root_relative, samples)
