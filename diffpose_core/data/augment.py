# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Augmentation: from world poses of few people to camera-axes poses of many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.ranges import Ranges, check_ranges
from diffpose_core.skeleton import H36M17

_J = H36M17.index
# Bones that grow together, left and right alike: (group of child joints).
BONE_GROUPS: tuple[tuple[str, ...], ...] = (
    ("RHip", "LHip"), ("RKnee", "LKnee"), ("RAnkle", "LAnkle"), ("Spine",), ("Thorax",),
    ("Nose", "HeadTop"), ("RShoulder", "LShoulder"), ("RElbow", "LElbow"), ("RWrist", "LWrist"),
)  # fmt: skip
# Each limb from its root joint outwards.
ARMS = (("RShoulder", "RElbow", "RWrist"), ("LShoulder", "LElbow", "LWrist"))
LEGS = (("RHip", "RKnee", "RAnkle"), ("LHip", "LKnee", "LAnkle"))


@dataclass(frozen=True)
class AugmentConfig:
    """Spread of the augmentation; angles in degrees, standard deviations of lengths as fractions.

    Attributes:
        pitch_sd_deg: camera pitch about a level camera.
        roll_sd_deg: camera roll.
        scale_sd: whole-body scale.
        bone_sd: length of each of the nine left-right symmetric bone groups.
        definition_prob: fraction of poses whose joint definitions are varied, since data
            sets place hips, shoulders, nose and head top differently.
        mix_prob: fraction of poses that take the upper body of another pose drawn with them.
        arm_prob: probability of each arm to be held as in another pose drawn with it.
        leg_prob: the same of each leg.
    """

    pitch_sd_deg: float = 12.0
    roll_sd_deg: float = 4.0
    scale_sd: float = 0.03
    bone_sd: float = 0.07
    definition_prob: float = 0.5
    mix_prob: float = 0.0
    arm_prob: float = 0.0
    leg_prob: float = 0.0

    RANGES: ClassVar[Ranges] = {
        "pitch_sd_deg": (0, 90), "roll_sd_deg": (0, 90), "scale_sd": (0, 1), "bone_sd": (0, 1),
        "definition_prob": (0, 1), "mix_prob": (0, 1), "arm_prob": (0, 1), "leg_prob": (0, 1),
    }  # fmt: skip

    def __post_init__(self) -> None:
        check_ranges(self, self.RANGES)


def _uniform(n: int, low: float, high: float, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(n, 1, generator=generator, device=like.device) * (high - low) + low


def _normal(n: int, sd: float, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(n, generator=generator, device=like.device) * sd


def camera_rotation(
    yaw: Float[Tensor, "n"], pitch: Float[Tensor, "n"], roll: Float[Tensor, "n"]
) -> Float[Tensor, "n 3 3"]:
    """Rotation from the z-up world to the camera optical frame (x right, y down, z forward); radians.

    Positive pitch looks down. With all angles zero the camera looks along world +y.
    """
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    level = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=yaw.dtype, device=yaw.device)
    cy, sy = yaw.cos(), yaw.sin()
    turn = torch.stack([cy, -sy, zero, sy, cy, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    cp, sp = pitch.cos(), pitch.sin()
    tilt = torch.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).reshape(-1, 3, 3)
    cr, sr = roll.cos(), roll.sin()
    spin = torch.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return spin @ tilt @ level @ turn


def mirror(joints: Float[Tensor, "n 17 3"], which: Tensor) -> Float[Tensor, "n 17 3"]:
    """Reflect the chosen poses in x and exchange left and right joints."""
    reflected = joints[:, list(H36M17.mirror)] * joints.new_tensor([-1.0, 1.0, 1.0])
    return torch.where(which[:, None, None], reflected, joints)


def _rescale_bones(joints: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    n = len(joints)
    factor = torch.ones(n, len(H36M17), 1, device=joints.device)
    for group in BONE_GROUPS:
        f = torch.exp(_normal(n, config.bone_sd, joints, generator))[:, None]
        for name in group:
            factor[:, _J(name)] = f
    out = torch.zeros_like(joints)
    for child, parent in enumerate(H36M17.parents):  # every parent precedes its children in this order
        if parent >= 0:
            out[:, child] = out[:, parent] + (joints[:, child] - joints[:, parent]) * factor[:, child]
    return out * torch.exp(_normal(n, config.scale_sd, joints, generator))[:, None, None]


def _body_axes(origin_up: Tensor, lateral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    up = torch.nn.functional.normalize(origin_up, dim=-1)
    left = torch.nn.functional.normalize(lateral - (lateral * up).sum(-1, keepdim=True) * up, dim=-1)
    return left, up, torch.linalg.cross(left, up)


def vary_definition(
    joints: Float[Tensor, "n 17 3"], prob: float, generator: torch.Generator
) -> Float[Tensor, "n 17 3"]:
    """Shift joints along body-local axes as other data sets define them (z-up or camera axes alike)."""
    n = len(joints)
    out = joints.clone()
    thorax_up = joints[:, _J("Thorax")] - joints[:, _J("Pelvis")]
    left_h, _, _ = _body_axes(thorax_up, joints[:, _J("LHip")] - joints[:, _J("RHip")])
    left, up, forward = _body_axes(thorax_up, joints[:, _J("LShoulder")] - joints[:, _J("RShoulder")])

    def u(low_cm: float, high_cm: float) -> Tensor:
        return _uniform(n, low_cm / 100, high_cm / 100, joints, generator)

    hips = u(-1, 7)
    out[:, _J("LHip")] += hips * left_h
    out[:, _J("RHip")] -= hips * left_h
    out[:, _J("Spine")] += u(0, 4) * up
    out[:, _J("Thorax")] += u(0, 4) * up
    side, rise = u(-3, 3), u(-5, 3)
    for name, sign in (("LShoulder", 1), ("RShoulder", -1)):
        out[:, _J(name)] += sign * side * left + rise * up
    stretch = _uniform(n, 0.95, 1.4, joints, generator)
    for s in "LR":
        elbow = joints[:, _J(s + "Elbow")]
        out[:, _J(s + "Wrist")] = elbow + stretch * (joints[:, _J(s + "Wrist")] - elbow)
    out[:, _J("Nose")] += u(-1, 13) * forward + u(-4, 6) * up
    out[:, _J("HeadTop")] += u(-7, 10) * up
    which = torch.rand(n, generator=generator, device=joints.device) < prob
    return torch.where(which[:, None, None], out, joints)


def mix_bodies(joints: Float[Tensor, "n 17 3"], prob: float, generator: torch.Generator) -> Float[Tensor, "n 17 3"]:
    """Give some poses (z up) the upper body of another pose, turned about the vertical to face as the hips do."""
    n = len(joints)
    partner = joints[torch.randperm(n, generator=generator, device=joints.device)]

    def heading(pose: Tensor) -> Tensor:
        lateral = pose[:, _J("LHip")] - pose[:, _J("RHip")]
        return torch.atan2(lateral[:, 1], lateral[:, 0])

    angle = heading(joints) - heading(partner)
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    upper = list(range(_J("Spine"), len(H36M17)))
    mixed = joints.clone()
    mixed[:, upper] = torch.einsum("nij,nkj->nki", turn, partner - partner[:, :1])[:, upper] + joints[:, :1]
    which = torch.rand(n, generator=generator, device=joints.device) < prob
    return torch.where(which[:, None, None], mixed, joints)


def _trunk_axes(joints: Tensor, limb: tuple[str, ...]) -> Float[Tensor, "n 3 3"]:
    """Axes of the thorax for an arm, of the pelvis for a leg: columns left, up and forward."""
    low, high, side = ("Spine", "Thorax", "Shoulder") if limb in ARMS else ("Pelvis", "Spine", "Hip")
    lateral = joints[:, _J("L" + side)] - joints[:, _J("R" + side)]
    return torch.stack(_body_axes(joints[:, _J(high)] - joints[:, _J(low)], lateral), -1)


def exchange_limbs(
    joints: Float[Tensor, "n 17 3"], limbs: tuple[tuple[str, ...], ...], prob: float, generator: torch.Generator
) -> Float[Tensor, "n 17 3"]:
    """Hold each limb, with a probability, as another pose does, seen from its trunk; bones keep their lengths."""
    n = len(joints)
    out = joints.clone()
    for limb in limbs:
        partner = joints[torch.randperm(n, generator=generator, device=joints.device)]
        which = torch.rand(n, 1, generator=generator, device=joints.device) < prob
        turn = _trunk_axes(joints, limb) @ _trunk_axes(partner, limb).mT
        for parent, child in pairwise(map(_J, limb)):
            bone, taken = (pose[:, child] - pose[:, parent] for pose in (joints, partner))
            length = bone.norm(dim=-1, keepdim=True)
            turned = length * torch.nn.functional.normalize((turn @ taken[..., None])[..., 0], dim=-1)
            out[:, child] = torch.where(which, out[:, parent] + turned, joints[:, child])
    return out


def augment(
    world: Float[Tensor, "n 17 3"], config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "n 17 3"]:
    """Draw one augmented, root-relative pose in camera axes (metres) for every world pose (z up)."""
    n = len(world)
    joints = world - world[:, :1]
    joints = mirror(joints, torch.rand(n, generator=generator, device=world.device) < 0.5)
    if config.mix_prob > 0:
        joints = mix_bodies(joints, config.mix_prob, generator)
    for limbs, prob in ((ARMS, config.arm_prob), (LEGS, config.leg_prob)):
        if prob > 0:
            joints = exchange_limbs(joints, limbs, prob, generator)
    joints = _rescale_bones(joints, config, generator)
    if config.definition_prob > 0:
        joints = vary_definition(joints, config.definition_prob, generator)
    yaw = torch.rand(n, generator=generator, device=world.device) * (2 * math.pi)
    rotation = camera_rotation(
        yaw,
        _normal(n, math.radians(config.pitch_sd_deg), world, generator),
        _normal(n, math.radians(config.roll_sd_deg), world, generator),
    )
    joints = torch.einsum("nij,nkj->nki", rotation, joints)
    return joints - joints[:, :1]
