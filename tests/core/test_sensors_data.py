# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Synthetic depth images and further cameras, and the score that tells consistent observations apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import UPRIGHT

from diffpose_core import H36M17, Camera, PoseEstimator, PosePrior
from diffpose_core.body import BONE_RADIUS_M, BONES, JOINT_RADIUS_M
from diffpose_core.data import (
    DepthNoise,
    SyntheticConfig,
    measure_depth,
    render_depth,
    see_from,
    synthesize,
)
from diffpose_core.likelihood import HeatmapLikelihood, KnownLengths
from diffpose_core.metrics import bone_lengths, roc_auc
from diffpose_core.sampler import FUSED

STANDING = torch.tensor([UPRIGHT[name] for name in H36M17.joints], dtype=torch.float32)
CAMERA = Camera(100.0, 100.0, 50.0, 40.0, 101, 81)


def gathered(**places: tuple[float, float, float]) -> torch.Tensor:
    """All joints at 9 m on the axis but the named ones."""
    joints = torch.tensor([0.0, 0.0, 9.0]).repeat(17, 1)
    for name, place in places.items():
        joints[H36M17.index(name)] = torch.tensor(place)
    return joints


def test_bones_are_in_the_order_of_bone_lengths_and_both_sides_alike():
    joints = torch.randn(17, 3)
    torch.testing.assert_close(torch.stack([(joints[c] - joints[p]).norm() for p, c in BONES]), bone_lengths(joints))
    assert JOINT_RADIUS_M.shape == (17,)
    left, right = ([i for i in range(17) if H36M17.side(i) == side] for side in ("left", "right"))
    assert sorted(JOINT_RADIUS_M[left].tolist()) == sorted(JOINT_RADIUS_M[right].tolist())
    assert BONE_RADIUS_M.shape == (16,)


def test_a_ball_straight_ahead_is_a_radius_nearer():
    # All bones have no length: what is seen is the thickest ball.
    depth = render_depth(gathered()[None], CAMERA)
    assert float(depth[40, 50]) == pytest.approx(9 - 0.12, abs=1e-4)
    assert torch.isnan(depth[0, 0])
    # A ray (a, 0, 1) meets the ball of radius r about (0, 0, d) where z^2 (1 + a^2) - 2 z d + d^2 - r^2 = 0.
    a, d, r = 0.01, 9.0, 0.12
    expected = (d - math.sqrt(d * d - (1 + a * a) * (d * d - r * r))) / (1 + a * a)
    assert float(depth[40, 51]) == pytest.approx(expected, abs=1e-4)


def test_a_capsule_across_the_view_has_the_depth_of_its_cylinder():
    joints = gathered(LElbow=(-0.3, 0.2, 2.0), LWrist=(0.3, 0.2, 2.0))
    depth = render_depth(joints[None], CAMERA)
    # Along the axis y = 0.2, z = 2 the ray's slope is 0.1: at v = 50 it meets the axis square on.
    r, slope = 0.035, 0.1
    along = (0.2 * slope + 2.0) / (1 + slope**2)
    off = along**2 - (0.2**2 + 2.0**2 - r**2) / (1 + slope**2)
    expected = along - math.sqrt(off)
    for u in (40, 50, 60):
        assert float(depth[50, u]) == pytest.approx(expected, abs=1e-4)
    assert float(depth[50, 50]) == pytest.approx(2 - r / math.sqrt(1.01), abs=1e-4)


def test_the_nearer_person_hides_the_farther_one_and_the_wall():
    far, near = gathered(), gathered() - torch.tensor([0.0, 0.0, 4.0])
    for order in ((far, near), (near, far)):
        depth = render_depth(torch.stack(order), CAMERA, wall_m=7.0)
        assert float(depth[40, 50]) == pytest.approx(5 - 0.12, abs=1e-4)
        assert float(depth[0, 0]) == 7.0
    assert (render_depth(far[None], CAMERA, wall_m=7.0) == 7.0).all()


def test_nobody_and_people_behind_the_camera_leave_the_image_empty():
    assert torch.isnan(render_depth(torch.zeros(0, 17, 3), CAMERA)).all()
    assert torch.isnan(render_depth(-gathered()[None], CAMERA)).all()
    with pytest.raises(ValueError, match="joints must be finite"):
        render_depth(torch.full((1, 17, 3), torch.nan), CAMERA)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, (-0.1, 0.02, 0.0, 0.0)]))
def test_every_seen_point_lies_on_a_capsule_and_no_ray_went_through_one(seed, distortion):
    generator = torch.Generator().manual_seed(seed)
    camera = Camera(90.0, 95.0, 48.0, 41.0, 96, 80, distortion)
    joints = STANDING[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0])
    joints = joints + 0.05 * torch.randn(17, 3, generator=generator)
    joints = joints - joints[0] + torch.tensor([0.0, 0.0, 2.0 + 2 * float(torch.rand(1, generator=generator))])
    depth = render_depth(joints[None], camera)
    v, u = torch.nonzero(~depth.isnan()).unbind(-1)
    rays = torch.nn.functional.pad(camera.unproject(torch.stack([u, v], -1).float()), (0, 1), value=1.0)

    def clearance(points: torch.Tensor) -> torch.Tensor:
        """Distance to the nearest capsule's surface."""
        start, end = (joints[[bone[i] for bone in BONES]] for i in (0, 1))
        axis = end - start
        share = ((points[:, None] - start) * axis).sum(-1) / (axis**2).sum(-1)
        closest = start + share.clamp(0, 1)[..., None] * axis
        return ((points[:, None] - closest).norm(dim=-1) - BONE_RADIUS_M).amin(-1)

    at = depth[v, u]
    assert len(at) > 100
    assert clearance(rays * at[:, None]).abs().max() < 2e-3
    for part in (0.9, 0.97, 0.99):
        assert clearance(rays * (part * at)[:, None]).min() > 0


def test_the_surface_lies_before_the_joints_as_the_table_says():
    generator = torch.Generator().manual_seed(0)
    config = SyntheticConfig(width=320, height=180)
    before = []
    for _ in range(60):
        scene = synthesize(STANDING[None], config, generator)
        depth = render_depth(scene.joints, scene.camera)
        u, v = scene.camera.project(scene.joints)[0].round().long().unbind(-1)
        inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 180)
        seen = depth[v.clamp(0, 179), u.clamp(0, 319)]
        before.append(torch.where(inside, scene.joints[0, :, 2] - seen, torch.nan))
    offset = torch.stack(before)
    mean = offset.where(offset < 0.25, torch.nan).nanmean(0)
    torch.testing.assert_close(mean, JOINT_RADIUS_M, atol=0.03, rtol=0)


def test_noise_is_a_share_of_the_depth_and_holes_take_their_share():
    generator = torch.Generator().manual_seed(0)
    measured = measure_depth(torch.full((300, 400), 4.0), DepthNoise(), generator)
    holes = torch.isnan(measured)
    assert float(holes.float().mean()) == pytest.approx(0.1, abs=0.02)
    # Holes are patches, not single pixels.
    assert (holes[:, 1:] == holes[:, :-1]).float().mean() > 0.95
    assert float(measured[~holes].std()) == pytest.approx(0.08, rel=0.02)
    assert float(measured[~holes].mean()) == pytest.approx(4.0, abs=0.002)


def test_silhouettes_are_holes():
    depth = torch.full((20, 20), 3.0)
    depth[5:10, 5:10] = 2.0
    quiet = DepthNoise(sd=0.0, hole_share=0.0, silhouette_px=1)
    measured = measure_depth(depth, quiet, torch.Generator())
    assert torch.isnan(measured[4, 7])
    assert torch.isnan(measured[5, 7])
    assert float(measured[3, 7]) == 3.0
    assert float(measured[6, 7]) == 2.0
    wider = measure_depth(depth, DepthNoise(sd=0.0, hole_share=0.0, silhouette_px=2), torch.Generator())
    assert torch.isnan(wider[6, 7])
    assert float(wider[7, 7]) == 2.0
    none = measure_depth(depth, DepthNoise(sd=0.0, hole_share=0.0, silhouette_px=0), torch.Generator())
    assert torch.equal(none, depth)


@pytest.mark.parametrize(
    ("field", "value"), [("sd", -0.1), ("hole_share", 1.0), ("hole_px", 0), ("silhouette_px", -1), ("step_m", 0.0)]
)
def test_noise_that_is_none_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        DepthNoise(**{field: value})


def test_world_poses_are_carried_into_the_camera():
    world = STANDING.repeat(3, 1, 1) + torch.tensor([0.4, -0.3, 0.9])
    scene = synthesize(world, SyntheticConfig(), torch.Generator().manual_seed(1))
    rotation, origin = scene.camera_from_world[..., :3], scene.camera_from_world[..., 3]
    torch.testing.assert_close(world @ rotation.mT + origin[:, None], scene.joints, atol=1e-4, rtol=0)
    scaled = synthesize(world, SyntheticConfig(body_scale_sd=0.1), torch.Generator().manual_seed(1))
    factor = bone_lengths(scaled.joints)[:, :1, None] / bone_lengths(world)[:, :1, None]
    rotation, origin = scaled.camera_from_world[..., :3], scaled.camera_from_world[..., 3]
    torch.testing.assert_close((factor * world) @ rotation.mT + origin[:, None], scaled.joints, atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-180, 180))
def test_a_further_camera_sees_the_people_from_the_angle(seed, angle):
    generator = torch.Generator().manual_seed(seed)
    config = SyntheticConfig(pitch_sd_deg=0.0, roll_sd_deg=0.0)
    scene = synthesize(STANDING[None], config, generator)
    view = see_from(angle, scene.joints, config, generator)
    rotation, shift = view.camera_from_reference[:, :3], view.camera_from_reference[:, 3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1, abs=1e-5)
    cosine = (float(rotation.trace()) - 1) / 2
    assert cosine == pytest.approx(math.cos(math.radians(angle)), abs=1e-4)
    local = scene.joints @ rotation.T + shift
    assert 2.5 <= float(local[0, 0, 2]) <= 6.0
    assert (local[0, H36M17.index("HeadTop"), 1] < local[0, 0, 1]).all()  # upright there, too
    error = (view.heatmaps.means[0, :, 0] - view.camera.project(local)[0]) / view.sigma_px[0]
    assert error.abs().max() < 6


def test_a_camera_turned_by_a_right_angle_stands_to_the_left_and_looks_to_the_right():
    person = STANDING[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0])
    person = (person - person[0] + torch.tensor([0.0, 0.0, 4.0]))[None]
    config = SyntheticConfig(pitch_sd_deg=0.0, roll_sd_deg=0.0)
    view = see_from(90.0, person, config, torch.Generator().manual_seed(0))
    expected = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    torch.testing.assert_close(view.camera_from_reference[:, :3], expected, atol=1e-6, rtol=0)


def test_area_under_the_curve():
    assert roc_auc(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])) == 1
    assert roc_auc(torch.tensor([1.0, 2.0]), torch.tensor([3.0])) == 0
    assert roc_auc(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0])) == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    assert roc_auc(torch.tensor([torch.inf]), torch.tensor([-torch.inf])) == 1
    with pytest.raises(ValueError, match="lower"):
        roc_auc(torch.ones(2), torch.zeros(0))
    with pytest.raises(ValueError, match="higher"):
        roc_auc(torch.tensor([torch.nan]), torch.ones(1))


def test_sharp_observations_that_contradict_each_other_do_not_tear_bodies_apart():
    generator = torch.Generator().manual_seed(0)
    scene = synthesize(STANDING[None], SyntheticConfig(noise=0.002), generator)
    wrong = bone_lengths(scene.joints) * torch.exp(0.3 * torch.randn(1, 16, generator=generator))
    estimator = PoseEstimator(PosePrior.from_pretrained(), sampler=FUSED)
    observed = [HeatmapLikelihood(scene.heatmaps, scene.camera), KnownLengths.of_bones(wrong, 0.002)]
    post = estimator.infer(observed, 20, generator)
    assert bone_lengths(post.joints).max() < 1.5
