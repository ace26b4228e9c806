# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether skeletons are those of a body."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from diffpose_core.skeleton import H36M17

_CHILDREN = [i for i, parent in enumerate(H36M17.parents) if parent >= 0]
_LEFT = [_CHILDREN.index(i) for i in _CHILDREN if H36M17.side(i) == "left"]
_RIGHT = [_CHILDREN.index(H36M17.mirror[_CHILDREN[i]]) for i in _LEFT]


def bone_lengths(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 16"]:
    """Distance of every joint but the root from its parent, metres, in the order of the joints."""
    parents = [H36M17.parents[i] for i in _CHILDREN]
    return (joints[..., _CHILDREN, :] - joints[..., parents, :]).norm(dim=-1)


def bone_asymmetry(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch"]:
    """Mean difference between the lengths of left and right bones, metres."""
    length = bone_lengths(joints)
    return (length[..., _LEFT] - length[..., _RIGHT]).abs().mean(-1)


def bone_length_error(
    predicted: Float[Tensor, "*batch 17 3"], truth: Float[Tensor, "*#batch 17 3"]
) -> Float[Tensor, "*batch"]:
    """Mean difference of the bones' lengths from the true ones, metres."""
    return (bone_lengths(predicted) - bone_lengths(truth)).abs().mean(-1)
