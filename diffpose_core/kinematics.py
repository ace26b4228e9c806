# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where a body faces, and the joint angles of its limbs, from the positions of its joints.

Body axes are those of REP 155 (and 103): x forward, out of the body, y to the person's left, z toward the head.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffpose_core.skeleton import H36M17

_J = {name: index for index, name in enumerate(H36M17.joints)}

MIN_AXIS_M = 0.05
"""Hips closer together than this, or a spine this close to their line, do not tell where a body faces: the mean of
hypotheses that face opposite ways."""
SEEN_BEND = math.sin(math.radians(20))
"""Sine of the bend of an elbow or knee above which its direction alone decides the twist of the limb above."""

_ARM = ("y_shoulder", "p_shoulder", "r_shoulder", "elbow")
_LEG = ("y_hip", "p_hip", "r_hip", "knee")
ANGLES = ("waist", *(f"{side}_{joint}" for limb in (_ARM, _LEG) for side in "lr" for joint in limb))
"""Joints of the human model of REP 155 in the order of :func:`joint_angles`. Not among them are the head's: the
positions of nose and crown do not tell its turn."""

_SHOULDER_LIMITS_RAD = ((-1.1, 1.9), (-0.4, 3.3), (-1.7, 1.5))
_MIRROR = torch.tensor([1.0, -1.0, 1.0])


def body_rotation(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation from body axes to those of the joints: its columns are forward, left and up.

    Left is the line through the hips, up the part of pelvis to spine that is at a right angle to it. Meaningless where
    :func:`facing_known` is false.
    """
    left = _unit(_hips(joints))
    forward = _unit(torch.linalg.cross(left, _spine(joints)))
    return torch.stack([forward, left, torch.linalg.cross(forward, left)], -1)


def facing_known(joints: Float[Tensor, "*batch 17 3"]) -> Bool[Tensor, "*batch"]:
    """Return whether hips and spine tell where a body faces."""
    hips = _hips(joints)
    off_line = torch.linalg.cross(_unit(hips), _spine(joints)).norm(dim=-1)
    return (hips.norm(dim=-1) >= MIN_AXIS_M) & (off_line >= MIN_AXIS_M)


def joint_angles(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17"]:
    """Return the angles of the joints ``ANGLES``, radians; axes and signs: ``human-tpl.xacro`` of human_description.

    In that model the trunk bends forward only, shoulders and hips have three axes that meet, elbows and knees one. The
    directions of upper arms and thighs are met exactly; so are those of forearms and shins, where elbow or knee is bent
    by more than 20 degrees. The straighter, the less the bend tells of the twist above, which goes over to that of the
    shortest way from the limb hanging down; forearm and shin are then met within 10 degrees. Angles may lie outside the
    model's limits.
    """
    body = body_rotation(joints)
    trunk = _in(body, joints[..., _J["Thorax"], :] - joints[..., _J["Pelvis"], :])
    waist = torch.atan2(trunk[..., 0], trunk[..., 2])
    torso = body @ _about_y(waist)
    arms = [_shoulder(*_limb(joints, torso, side, ("Shoulder", "Elbow", "Wrist"), forward=True)) for side in "LR"]
    legs = [_hip(*_limb(joints, body, side, ("Hip", "Knee", "Ankle"), forward=False)) for side in "LR"]
    # Of the model's axes only the hips' first one is not mirrored.
    legs[1] = legs[1] * legs[1].new_tensor([-1.0, 1.0, 1.0, 1.0])
    return torch.cat([waist[..., None], *arms, *legs], -1)


def _limb(
    joints: Tensor, parent: Tensor, side: str, names: tuple[str, str, str], forward: bool
) -> tuple[Tensor, Tensor]:
    """Return the rotation of the upper part of a limb in its parent's axes, and the bend, as of a left limb.

    The limb's axes: z from its lower end to its upper one, x where it bends to, or for legs where it bends from.
    """
    top, middle, end = (joints[..., _J[side + name], :] for name in names)
    mirror = _MIRROR.to(joints) if side == "R" else torch.ones_like(_MIRROR).to(joints)
    upper, lower = (_unit(_in(parent, part)) * mirror for part in (middle - top, end - middle))
    across = lower - (lower * upper).sum(-1, keepdim=True) * upper
    bend = across if forward else -across
    unseen = (SEEN_BEND - across.norm(dim=-1, keepdim=True)).clamp_min(0.0)
    x = _unit(bend + unseen * _swung_x(upper))
    rotation = torch.stack([x, torch.linalg.cross(-upper, x), -upper], -1)
    return rotation, torch.atan2((lower * x).sum(-1), (lower * upper).sum(-1))


def _swung_x(upper: Tensor) -> Tensor:
    """Return where the x axis goes when the shortest rotation takes (0, 0, -1) to ``upper``."""
    x, y, z = upper.unbind(-1)
    rest = (1 - z).clamp_min(1e-6)
    return torch.stack([1 - x * x / rest, -x * y / rest, x], -1)


def _shoulder(rotation: Tensor, bend: Tensor) -> Tensor:
    """Return the angles of yaw (about -z), pitch (x), roll (z) and elbow (-y) of a left arm."""
    r = rotation
    size = torch.hypot(r[..., 0, 2], r[..., 1, 2])
    # Hanging or raised exactly, the first and the third axis are one.
    free = size > 1e-6
    yaw = torch.where(free, torch.atan2(-r[..., 0, 2], -r[..., 1, 2]), 0.0)
    alone = torch.atan2(r[..., 1, 0] * r[..., 2, 2].sign(), r[..., 0, 0])
    roll = torch.where(free, torch.atan2(r[..., 2, 0], r[..., 2, 1]), alone)
    one = torch.stack([yaw, torch.atan2(size, r[..., 2, 2]), roll], -1)
    other = torch.stack([_half_turn(one[..., 0]), -one[..., 1], _half_turn(one[..., 2])], -1)
    # Both turn the arm alike: take the one that is nearer to what shoulders can do.
    better = (_overshoot(other) < _overshoot(one))[..., None]
    return torch.cat([torch.where(better, other, one), bend[..., None]], -1)


def _hip(rotation: Tensor, bend: Tensor) -> Tensor:
    """Return the angles of yaw (about -z), pitch (x), roll (-y) and knee (-y) of a left leg."""
    r = rotation
    yaw = torch.atan2(r[..., 0, 1], r[..., 1, 1])
    pitch = torch.asin(r[..., 2, 1].clamp(-1.0, 1.0))
    roll = torch.atan2(r[..., 2, 0], r[..., 2, 2])
    return torch.stack([yaw, pitch, roll, bend], -1)


def _overshoot(angles: Tensor) -> Tensor:
    low, high = angles.new_tensor(_SHOULDER_LIMITS_RAD).unbind(-1)
    return ((low - angles).clamp_min(0.0) + (angles - high).clamp_min(0.0)).sum(-1)


def _half_turn(angle: Tensor) -> Tensor:
    return torch.where(angle > 0, angle - math.pi, angle + math.pi)


def _about_y(angle: Tensor) -> Tensor:
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([torch.stack(row, -1) for row in ((c, o, s), (o, i, o), (-s, o, c))], -2)


def _in(axes: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("...ji,...j->...i", axes, vector)


def _hips(joints: Tensor) -> Tensor:
    return joints[..., _J["LHip"], :] - joints[..., _J["RHip"], :]


def _spine(joints: Tensor) -> Tensor:
    return joints[..., _J["Spine"], :] - joints[..., _J["Pelvis"], :]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-9)
