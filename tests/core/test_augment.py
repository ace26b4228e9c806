# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Augmentation changes what it names and nothing else."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core import H36M17
from diffpose_core.data import AugmentConfig, augment
from diffpose_core.data.augment import (
    ARMS,
    LEGS,
    _rescale_bones,
    camera_rotation,
    exchange_limbs,
    mirror,
    mix_bodies,
    vary_definition,
)

LOWER = [H36M17.index(n) for n in ("Pelvis", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")]
UPPER = [i for i in range(17) if i not in LOWER]


def people(n, seed=0):
    """Rough standing people (z up), each turned and bent at random, far from the origin."""
    g = torch.Generator().manual_seed(seed)
    joints = torch.zeros(n, 17, 3)
    for child, parent in enumerate(H36M17.parents):
        if parent >= 0:
            joints[:, child] = joints[:, parent] + 0.25 * torch.nn.functional.normalize(
                torch.randn(n, 3, generator=g), dim=-1
            )
    return joints + torch.tensor([3.0, -2.0, 1.0])


def bones(joints):
    return torch.stack([(joints[:, c] - joints[:, p]).norm(dim=-1) for c, p in enumerate(H36M17.parents) if p >= 0], 1)


def heading(joints):
    lateral = joints[:, H36M17.index("LHip")] - joints[:, H36M17.index("RHip")]
    return torch.nn.functional.normalize(lateral[:, :2], dim=-1)


def test_the_camera_axes():
    zero = torch.zeros(1)
    level = camera_rotation(zero, zero, zero)[0]
    torch.testing.assert_close(level @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0]))  # up is -y
    torch.testing.assert_close(level @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))  # ahead is z
    down = camera_rotation(zero, torch.tensor([math.radians(30)]), zero)[0]
    # What lies straight ahead of the level camera is seen above the middle by one that looks down.
    assert float((down @ torch.tensor([0.0, 1.0, 0.0]))[1]) == pytest.approx(-0.5, abs=1e-6)


@given(st.floats(-3, 3), st.floats(-1, 1), st.floats(-1, 1))
def test_the_camera_rotation_is_one(yaw, pitch, roll):
    r = camera_rotation(*(torch.tensor([v], dtype=torch.float64) for v in (yaw, pitch, roll)))[0]
    torch.testing.assert_close(r @ r.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(r)) == pytest.approx(1)


def test_mirroring_exchanges_the_sides_and_twice_is_nothing():
    joints, all_of_them = people(5), torch.ones(5, dtype=torch.bool)
    once = mirror(joints, all_of_them)
    torch.testing.assert_close(
        once[:, H36M17.index("LWrist")], joints[:, H36M17.index("RWrist")] * torch.tensor([-1.0, 1.0, 1.0])
    )
    assert torch.equal(mirror(once, all_of_them), joints)
    assert torch.equal(mirror(joints, ~all_of_them), joints)


def test_mixed_bodies_keep_their_legs_and_take_a_whole_upper_body_that_faces_as_the_hips_do():
    joints = people(64)
    mixed = mix_bodies(joints, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(mixed[:, LOWER], joints[:, LOWER])
    # Every upper body is that of one person of the batch, moved and turned about the vertical.
    height = joints[:, UPPER, 2] - joints[:, :1, 2]
    partner = torch.cdist(mixed[:, UPPER, 2] - mixed[:, :1, 2], height).argmin(1)
    assert sorted(partner.tolist()) == list(range(64))
    assert not torch.equal(partner, torch.arange(64))
    torch.testing.assert_close(mixed[:, UPPER, 2] - mixed[:, :1, 2], height[partner])
    # Seen from its own hips it points where it pointed seen from its former owner's.
    wrist = H36M17.index("LWrist")

    def along_hips(pose, hips):
        return ((pose[:, wrist] - pose[:, 0])[:, :2] * heading(hips)).sum(-1)

    torch.testing.assert_close(along_hips(mixed, joints), along_hips(joints, joints)[partner], atol=1e-5, rtol=0)


def test_no_mixing_changes_nothing_and_half_changes_about_half():
    joints = people(400)
    g = torch.Generator().manual_seed(1)
    assert torch.equal(mix_bodies(joints, 0.0, g), joints)
    changed = (mix_bodies(joints, 0.5, g) != joints).flatten(1).any(1).float().mean()
    assert 0.4 < float(changed) < 0.6


MOVED = {limb: [H36M17.index(n) for n in limb[1:]] for limb in (*ARMS, *LEGS)}
TRUNK = {"Shoulder": ("Spine", "Thorax"), "Hip": ("Pelvis", "Spine")}


def seen_from_trunk(joints, limb):
    """Directions of a limb's two bones along the trunk's left, up and forward axes: [n, 2, 3]."""
    at = {name: joints[:, i] for i, name in enumerate(H36M17.joints)}
    side = limb[0][1:]
    low, high = TRUNK[side]
    up = at[high] - at[low]
    forward = torch.linalg.cross(at["L" + side] - at["R" + side], up)
    axes = torch.nn.functional.normalize(torch.stack([torch.linalg.cross(up, forward), up, forward], 1), dim=-1)
    bones = torch.stack([at[b] - at[a] for a, b in (limb[:2], limb[1:])], 1)
    return torch.nn.functional.normalize(bones, dim=-1) @ axes.mT


@pytest.mark.parametrize("limb", [*ARMS, *LEGS], ids=lambda limb: limb[0])
def test_an_exchanged_limb_is_held_as_another_pose_holds_it(limb):
    joints = people(64)
    changed = exchange_limbs(joints, (limb,), 1.0, torch.Generator().manual_seed(1))
    kept = [i for i in range(17) if i not in MOVED[limb]]
    assert torch.equal(changed[:, kept], joints[:, kept])
    torch.testing.assert_close(bones(changed), bones(joints))
    before, after = (seen_from_trunk(pose, limb).flatten(1) for pose in (joints, changed))
    partner = torch.cdist(after, before).argmin(1)
    torch.testing.assert_close(after, before[partner], atol=1e-5, rtol=0)
    assert sorted(partner.tolist()) == list(range(64))
    assert not torch.equal(partner, torch.arange(64))


def test_arms_are_exchanged_and_keep_their_own_length():
    at = {name: torch.zeros(2, 3) for name in H36M17.joints}  # both upright, hips and shoulders along x
    at["Spine"][:, 2], at["Thorax"][:, 2] = 0.2, 0.5
    at["LShoulder"][:], at["RShoulder"][:] = torch.tensor([0.2, 0, 0.5]), torch.tensor([-0.2, 0, 0.5])
    at["LElbow"][:] = torch.tensor([[0.2, 0.0, 0.2], [0.8, 0.0, 0.5]])  # the first's hangs, the second's points aside
    at["LWrist"][:] = torch.tensor([[0.2, 0.0, 0.0], [0.8, 0.4, 0.5]])  # ... with the forearm along y
    joints = torch.stack([at[name] for name in H36M17.joints], 1)
    draws = [exchange_limbs(joints, ARMS[1:], 1.0, torch.Generator().manual_seed(s)) for s in range(20)]
    swapped = next(d for d in draws if float((d - joints).abs().max()) > 0.01)
    elbow, wrist = (H36M17.index(n) for n in ("LElbow", "LWrist"))
    torch.testing.assert_close(swapped[:, elbow], torch.tensor([[0.5, 0.0, 0.5], [0.2, 0.0, -0.1]]))
    torch.testing.assert_close(swapped[:, wrist], torch.tensor([[0.5, 0.2, 0.5], [0.2, 0.0, -0.5]]))


@given(st.floats(0, 1))
def test_each_limb_is_exchanged_as_often_as_said(prob):
    joints = people(400)
    changed = exchange_limbs(joints, ARMS + LEGS, prob, torch.Generator().manual_seed(1))
    for moved in MOVED.values():
        share = ((changed - joints)[:, moved].norm(dim=-1) > 1e-5).all(1).float().mean()
        assert float(share) == pytest.approx(prob, abs=0.1)


def test_arms_and_legs_are_exchanged_as_configured_and_not_at_all_by_default():
    joints = people(50)
    still = {"pitch_sd_deg": 0, "roll_sd_deg": 0, "scale_sd": 0, "bone_sd": 0, "definition_prob": 0}

    def augmented(**config):
        return augment(joints, AugmentConfig(**still, **config), torch.Generator().manual_seed(0))

    def angles(pose, limbs):  # at elbows or knees, which no turn and no mirror changes
        return torch.stack([seen_from_trunk(pose, limb).prod(1).sum(-1) for limb in limbs], 1).sort(1).values

    plain = augmented()
    assert torch.equal(plain, augmented(arm_prob=0, leg_prob=0))
    for config, changed, kept in (({"arm_prob": 1}, ARMS, LEGS), ({"leg_prob": 1}, LEGS, ARMS)):
        result = augmented(**config)
        torch.testing.assert_close(angles(result, kept), angles(plain, kept), atol=1e-5, rtol=0)
        assert ((angles(result, changed) - angles(plain, changed)).abs().amax(1) > 1e-4).float().mean() > 0.9


def test_a_probability_of_zero_draws_no_random_number():
    """So that trainings of before the exchange of limbs come out the same, bit for bit."""
    used, expected = (torch.Generator().manual_seed(3) for _ in range(2))
    joints = people(8)
    config = AugmentConfig(definition_prob=0)
    result = augment(joints, config, used)
    mirrored = mirror(joints - joints[:, :1], torch.rand(8, generator=expected) < 0.5)
    bent = _rescale_bones(mirrored, config, expected)
    yaw = torch.rand(8, generator=expected) * (2 * math.pi)
    pitch, roll = (math.radians(sd) * torch.randn(8, generator=expected) for sd in (12.0, 4.0))
    turned = torch.einsum("nij,nkj->nki", camera_rotation(yaw, pitch, roll), bent)
    assert torch.equal(result, turned - turned[:, :1])
    assert torch.equal(used.get_state(), expected.get_state())


def test_definitions_move_hips_apart_and_leave_knees_alone():
    joints = people(50)
    varied = vary_definition(joints, 1.0, torch.Generator().manual_seed(0))
    kept = [H36M17.index(n) for n in ("Pelvis", "RKnee", "LKnee", "RAnkle", "LAnkle", "RElbow", "LElbow")]
    assert torch.equal(varied[:, kept], joints[:, kept])
    hips = [H36M17.index(n) for n in ("LHip", "RHip")]
    assert float((varied[:, hips] - joints[:, hips]).norm(dim=-1).max()) <= 0.07 + 1e-5


def test_without_spread_augmentation_is_a_mirror_and_a_turn():
    joints = people(30)
    still = AugmentConfig(pitch_sd_deg=0, roll_sd_deg=0, scale_sd=0, bone_sd=0, definition_prob=0, mix_prob=0)
    result = augment(joints, still, torch.Generator().manual_seed(0))
    assert torch.equal(result[:, 0], torch.zeros(30, 3))
    torch.testing.assert_close(bones(result).sort(1).values, bones(joints).sort(1).values)


def test_bones_vary_as_much_as_said_and_alike_on_both_sides():
    joints = people(1, seed=2).expand(4000, 17, 3)
    config = AugmentConfig(pitch_sd_deg=0, roll_sd_deg=0, scale_sd=0, bone_sd=0.05, definition_prob=0, mix_prob=0)
    result = augment(joints, config, torch.Generator().manual_seed(0))
    ratio = (bones(result) / bones(joints)).log()
    assert float(ratio.std(0).mean()) == pytest.approx(0.05, rel=0.05)
    torch.testing.assert_close(ratio[:, 1], ratio[:, 4], atol=1e-5, rtol=0)  # both thighs
