# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where bodies face, and the angles of their limbs in REP 155's human model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from diffpose_core import H36M17, PosePrior
from diffpose_core.kinematics import ANGLES, body_rotation, facing_known, joint_angles

# The model's revolute joints as human-tpl.xacro states them: axis for the left side, for the right side.
ARM_AXES = [((0, 0, -1), (0, 0, 1)), ((1, 0, 0), (-1, 0, 0)), ((0, 0, 1), (0, 0, -1)), ((0, -1, 0), (0, -1, 0))]
LEG_AXES = [((0, 0, -1), (0, 0, -1)), ((1, 0, 0), (-1, 0, 0)), ((0, -1, 0), (0, -1, 0)), ((0, -1, 0), (0, -1, 0))]
ARM_RANGES = [(-1.1, 1.9), (0.3, 2.9), (-1.7, 1.5), (0.4, 2.5)]
LEG_RANGES = [(-0.1, 0.6), (-0.4, 1.2), (-0.4, 0.7), (-2.5, -0.4)]
UPPER_M, LOWER_M, TRUNK_M = 0.3, 0.25, 0.5


def posed(angles):
    """[17, 3] joints of the model with these angles, in body axes, by forward kinematics."""
    joints = np.zeros((17, 3))
    torso = Rotation.from_rotvec(np.array([0.0, 1.0, 0.0]) * angles.get("waist", 0.0))
    place = lambda name, point: joints.__setitem__(H36M17.index(name), point)  # noqa: E731
    place("Spine", [0.0, 0.0, 0.25])
    place("Thorax", torso.apply([0.0, 0.0, TRUNK_M]))
    for name, height in (("Nose", 0.6), ("HeadTop", 0.75)):
        place(name, torso.apply([0.05, 0.0, height]))
    for number, side in enumerate("lr"):
        sign = 1 - 2 * number
        for limb, axes, names in (
            (("y_shoulder", "p_shoulder", "r_shoulder", "elbow"), ARM_AXES, ("Shoulder", "Elbow", "Wrist")),
            (("y_hip", "p_hip", "r_hip", "knee"), LEG_AXES, ("Hip", "Knee", "Ankle")),
        ):
            turns = [
                Rotation.from_rotvec(np.array(axis[number], float) * angles.get(f"{side}_{joint}", 0.0))
                for joint, axis in zip(limb, axes, strict=True)
            ]
            parent = torso if names[0] == "Shoulder" else Rotation.identity()
            root = (
                parent.apply([0.0, sign * 0.15, TRUNK_M]) if names[0] == "Shoulder" else np.array([0, sign * 0.13, 0])
            )
            upper = parent * turns[0] * turns[1] * turns[2]
            knee = root + upper.apply([0.0, 0.0, -UPPER_M])
            end = knee + (upper * turns[3]).apply([0.0, 0.0, -LOWER_M])
            for name, point in zip(names, (root, knee, end), strict=True):
                place(side.upper() + name, point)
    return joints


def found(joints):
    values = joint_angles(torch.as_tensor(joints, dtype=torch.float64))
    return dict(zip(ANGLES, values.tolist(), strict=True))


def drawn(rng):
    """Random angles of every joint, limbs bent."""
    ranges = {"waist": (-0.2, 1.0)}
    for side in "lr":
        for names, spans in (
            (("y_shoulder", "p_shoulder", "r_shoulder", "elbow"), ARM_RANGES),
            (("y_hip", "p_hip", "r_hip", "knee"), LEG_RANGES),
        ):
            ranges |= {f"{side}_{name}": span for name, span in zip(names, spans, strict=True)}
    return {name: rng.uniform(*span) for name, span in ranges.items()}


def test_the_names_are_those_of_the_model():
    assert ANGLES == (
        "waist", "l_y_shoulder", "l_p_shoulder", "l_r_shoulder", "l_elbow",
        "r_y_shoulder", "r_p_shoulder", "r_r_shoulder", "r_elbow",
        "l_y_hip", "l_p_hip", "l_r_hip", "l_knee", "r_y_hip", "r_p_hip", "r_r_hip", "r_knee",
    )  # fmt: skip


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_angles_of_the_model_are_found_again_wherever_it_stands(seed):
    rng = np.random.default_rng(seed)
    angles = drawn(rng)
    turn, place_m = Rotation.random(rng=rng), rng.normal(size=3) * 3
    joints = turn.apply(posed(angles)) + place_m
    np.testing.assert_allclose(body_rotation(torch.as_tensor(joints)).numpy(), turn.as_matrix(), atol=1e-6)
    for name, value in found(joints).items():
        assert value == pytest.approx(angles[name], abs=1e-5), name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"LElbow": (0.0, 0.45, 0.5), "LWrist": (0.0, 0.7, 0.5)}, {"l_p_shoulder": np.pi / 2}),
        ({"RElbow": (0.0, -0.45, 0.5), "RWrist": (0.0, -0.7, 0.5)}, {"r_p_shoulder": np.pi / 2}),
        ({"LWrist": (0.25, 0.15, 0.2)}, {"l_elbow": np.pi / 2}),
        ({"RWrist": (0.25, -0.15, 0.2)}, {"r_elbow": np.pi / 2}),
        (
            {"LKnee": (0.3, 0.13, 0.0), "LAnkle": (0.3, 0.13, -0.25)},
            {"l_r_hip": np.pi / 2, "l_knee": -np.pi / 2},
        ),
        (
            {"RKnee": (0.0, -0.13 - 0.15 * 3**0.5, -0.15), "RAnkle": (-0.25, -0.13 - 0.15 * 3**0.5, -0.15)},
            {"r_p_hip": np.pi / 3, "r_knee": -np.pi / 2},
        ),
    ],
)  # fmt: skip
def test_poses_that_have_names(changes, expected):
    """Hanging limbs are zero; arms to the side, forearms forward, a thigh as on a chair, a leg lifted to the side."""
    joints = posed({})
    for name, point in changes.items():
        joints[H36M17.index(name)] = point
    for name, value in found(joints).items():
        assert value == pytest.approx(expected.get(name, 0.0), abs=1e-6), name


def test_bending_forward_turns_the_waist_and_not_the_body():
    joints = posed({"waist": 0.8})
    assert found(joints)["waist"] == pytest.approx(0.8)
    np.testing.assert_allclose(body_rotation(torch.as_tensor(joints)).numpy(), np.eye(3), atol=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_limbs_of_people_point_where_the_model_says(seed):
    """Poses of the prior, straight limbs too: upper parts exactly, lower ones within 10 degrees."""
    joints = PosePrior.from_pretrained().sample(1, generator=torch.Generator().manual_seed(seed))[0].double()
    in_body = ((joints - joints[0]) @ body_rotation(joints)).numpy()
    model = posed(found(joints))
    for side in "LR":
        for names in (("Shoulder", "Elbow", "Wrist"), ("Hip", "Knee", "Ankle")):
            for a, b, limit_deg in ((names[0], names[1], 0.01), (names[1], names[2], 10.0)):
                one, two = (p[H36M17.index(side + b)] - p[H36M17.index(side + a)] for p in (in_body, model))
                cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
                assert np.degrees(np.arccos(min(cosine, 1.0))) < limit_deg, (side, a, b)


def test_the_twist_of_a_straight_limb_does_not_jump():
    """A knee that bends by half a degree, to any side, leaves the thigh's angles where they are."""
    straight = found(posed({}))
    for direction in np.linspace(0, 2 * np.pi, 16):
        joints = posed({})
        joints[H36M17.index("LAnkle")] += 0.002 * np.array([np.cos(direction), np.sin(direction), 0.0])
        for name, value in found(joints).items():
            assert value == pytest.approx(straight[name], abs=0.03), (name, direction)


def test_people_who_face_nowhere_are_known():
    joints = torch.as_tensor(posed({}))
    both_ways = joints.clone()
    for name in ("LHip", "RHip"):
        both_ways[H36M17.index(name)] = both_ways[0]
    flat = joints.clone()
    flat[H36M17.index("Spine")] = torch.tensor([0.0, 0.2, 0.03], dtype=torch.float64)
    assert facing_known(torch.stack([joints, both_ways, flat])).tolist() == [True, False, False]
    assert torch.isfinite(joint_angles(torch.stack([both_ways, flat, torch.zeros_like(joints)]))).all()
