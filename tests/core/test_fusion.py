# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Who is who across cameras, and one posterior per person in a chosen frame."""

import math

import pytest
import torch

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.fusion import View, associate, fuse, inverse, level_frame
from diffpose_core.sampler import FUSED

CAMERA = Camera.from_field_of_view(640, 480, 60.0)
HERE = torch.eye(4)[:3]


def looking_from(degrees: float) -> torch.Tensor:
    """[3, 4] pose in the reference frame of a camera turned about a point 4 m ahead."""
    a = math.radians(degrees)
    rotation = torch.tensor([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    centre = torch.tensor([0.0, 0.0, 4.0])
    return torch.cat([rotation, (centre - rotation @ centre)[:, None]], 1)


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(PosePrior.from_pretrained(), sampler=FUSED)


@pytest.fixture(scope="module")
def people(estimator) -> torch.Tensor:
    """Three persons about 4 m ahead, 1.2 m apart [3, 17, 3]."""
    apart = torch.tensor([[-1.2, 0.0, 4.2], [0.0, 0.0, 3.8], [1.2, 0.0, 4.0]])
    return estimator.prior.sample(3, torch.Generator().manual_seed(2)) + apart[:, None]


def seen(joints: torch.Tensor, reference_from_camera: torch.Tensor, sigma_px: float = 4.0, seed: int = 0) -> View:
    pose = inverse(reference_from_camera)
    pixels = CAMERA.project(joints @ pose[:, :3].T + pose[:, 3])
    pixels = pixels + sigma_px * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    covariance = sigma_px**2 * torch.eye(2).expand(len(joints), 17, 2, 2)
    heat = Heatmaps.from_keypoints(pixels, covariance, torch.ones(len(joints), 17), H36M17)
    return View(heat, CAMERA, reference_from_camera)


def test_the_inverse_of_a_pose_undoes_it():
    point = torch.tensor([0.3, -0.2, 1.0])
    there, back = looking_from(70.0), inverse(looking_from(70.0))
    torch.testing.assert_close(back[:, :3] @ (there[:, :3] @ point + there[:, 3]) + back[:, 3], point)
    # seen from 90 degrees to the side, the point 4 m ahead is 4 m ahead as well
    side = inverse(looking_from(90.0))
    torch.testing.assert_close(side[:, :3] @ torch.tensor([0.0, 0.0, 4.0]) + side[:, 3], torch.tensor([0.0, 0.0, 4.0]))


def test_the_level_frame_of_a_camera_that_looks_down_from_the_ceiling():
    """In a map with z up, 3 m high, looking along y and 40 degrees down; then straight down, the image's top at +x."""
    a = math.radians(40.0)
    down, ahead = torch.tensor([0.0, -math.sin(a), -math.cos(a)]), torch.tensor([0.0, math.cos(a), -math.sin(a)])
    columns = torch.stack([torch.tensor([1.0, 0.0, 0.0]), down, ahead, torch.tensor([2.0, 1.0, 3.0])], 1)
    level = level_frame(columns)
    expected = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, -1.0, 0.0, 3.0]])
    torch.testing.assert_close(level, expected)
    straight = torch.tensor([[0.0, -1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 3.0]])
    expected = torch.tensor([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 3.0]])
    torch.testing.assert_close(level_frame(straight), expected)
    assert torch.linalg.det(level_frame(straight)[:, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", [60.0, 90.0, 120.0])
def test_people_are_found_again_in_another_order(estimator, people, degrees):
    views = [seen(people, HERE), seen(people[[2, 0, 1]], looking_from(degrees), seed=1)]
    assert associate(estimator, views) == [(0, 1), (1, 2), (2, 0)]


def test_who_is_seen_by_one_camera_only_is_kept_and_who_by_neither_is_not_made_up(estimator, people):
    views = [seen(people[[0, 1]], HERE), seen(people[[2, 1]], looking_from(90.0), seed=1)]
    assert associate(estimator, views) == [(0, None), (1, 1), (None, 0)]


def test_a_crowd_is_told_apart_in_parts(estimator, people, monkeypatch):
    monkeypatch.setattr("diffpose_core.fusion.AT_ONCE", 4)  # of nine pairs
    views = [seen(people, HERE), seen(people[[2, 0, 1]], looking_from(90.0), seed=1)]
    assert associate(estimator, views) == [(0, 1), (1, 2), (2, 0)]


def test_three_cameras(estimator, people):
    views = [
        seen(people[[0, 1]], HERE), seen(people[[1, 2]], looking_from(80.0), seed=1),
        seen(people[[2, 0, 1]], looking_from(-60.0), seed=2),
    ]  # fmt: skip
    assert associate(estimator, views) == [(0, None, 1), (1, 0, 2), (None, 1, 0)]


def test_one_posterior_per_person_in_the_order_of_the_members(estimator, people):
    views = [seen(people[[0, 1]], HERE), seen(people[[2, 1]], looking_from(90.0), seed=1)]
    fusion = fuse(estimator, views, 30, torch.Generator().manual_seed(0))
    assert fusion.members == [(0, None), (1, 1), (None, 0)]
    assert fusion.posterior.joints.shape == (3, 30, 17, 3)
    error_m = (fusion.posterior.mean[:, 0] - people[[0, 1, 2], 0]).norm(dim=-1)
    assert error_m[1] < 0.06
    assert (error_m < 1.0).all()
    assert fusion.agreement[0] == 0
    assert fusion.agreement[1] > 5
    assert fusion.agreement[2] == 0
    again = fuse(estimator, views, 30, torch.Generator().manual_seed(0))
    assert torch.equal(again.posterior.joints, fusion.posterior.joints)


def test_the_reference_frame_may_be_none_of_the_cameras(estimator, people):
    """A frame a metre above the first camera, turned by 40 degrees: joints come out in it."""
    frame = looking_from(40.0)
    frame = torch.cat([frame[:, :3], frame[:, 3:] + torch.tensor([[0.0], [1.0], [0.0]])], 1)
    moved = people @ frame[:, :3].T + frame[:, 3]
    poses = [torch.cat([frame[:, :3] @ p[:, :3], frame[:, :3] @ p[:, 3:] + frame[:, 3:]], 1)
             for p in (HERE, looking_from(90.0))]  # fmt: skip
    views = [seen(moved, pose, seed=i) for i, pose in enumerate(poses)]
    fusion = fuse(estimator, views, 30, torch.Generator().manual_seed(0))
    assert fusion.members == [(0, 0), (1, 1), (2, 2)]
    assert (fusion.posterior.mean[:, 0] - moved[:, 0]).norm(dim=-1).max() < 0.06


def test_depth_settles_how_far_a_person_is(people):
    estimator = PoseEstimator(PosePrior.from_pretrained(), sampler=SamplerConfig(steps=10))
    view = seen(people[:1], HERE)
    depth = torch.full((480, 640), 7.0)
    for joint, (x, y) in zip(people[0], CAMERA.project(people[0]).round().long().tolist(), strict=True):
        depth[y - 10 : y + 10, x - 10 : x + 10] = float(joint[2]) - 0.08
    plain, measured = (
        fuse(estimator, [v], 40, torch.Generator().manual_seed(0)).posterior
        for v in (view, View(view.heatmaps, CAMERA, HERE, depth))
    )
    assert measured.joints[0, :, 0, 2].std() < 0.5 * plain.joints[0, :, 0, 2].std()
    assert (measured.mean[0, 0, 2] - people[0, 0, 2]).abs() < 0.15


def test_nobody_anywhere(estimator):
    nobody = seen(torch.zeros(0, 17, 3), HERE)
    fusion = fuse(estimator, [nobody, nobody], 7)
    assert fusion.members == []
    assert fusion.posterior.joints.shape == (0, 7, 17, 3)
    assert len(fusion.agreement) == 0


def test_somebody_in_one_view_and_nobody_in_the_other(estimator, people):
    fusion = fuse(estimator, [seen(torch.zeros(0, 17, 3), HERE), seen(people[:1], looking_from(30.0))], 7)
    assert fusion.members == [(None, 0)]


def test_bad_views_are_refused_by_name(people):
    view = seen(people, HERE)
    with pytest.raises(ValueError, match="reference_from_camera must hold a rotation"):
        View(view.heatmaps, CAMERA, 2 * HERE)
    with pytest.raises(ValueError, match="depth_m must have shape 480x640, got"):
        View(view.heatmaps, CAMERA, HERE, torch.ones(10, 10))
    with pytest.raises(ValueError, match="views must hold at least one view"):
        fuse(PoseEstimator(PosePrior.from_pretrained()), [])


def test_a_posterior_moves_between_frames_and_joins_others(estimator, people):
    post = fuse(estimator, [seen(people, HERE)], 9, torch.Generator().manual_seed(0)).posterior
    pose = looking_from(50.0)
    moved = post.transformed(pose)
    torch.testing.assert_close(moved.mean, post.mean @ pose[:, :3].T + pose[:, 3], atol=1e-4, rtol=0)
    rotated = pose[:, :3] @ post.covariance @ pose[:, :3].T
    torch.testing.assert_close(moved.covariance, rotated, atol=1e-4, rtol=1e-3)
    assert torch.equal(moved.log_evidence, post.log_evidence)
    joined = PosePosterior.concatenate([post.of([2]), post.of([0, 1])]).of([1, 2, 0])
    assert torch.equal(joined.joints, post.joints)
    assert torch.equal(joined.log_evidence, post.log_evidence)
    with pytest.raises(ValueError, match="parts must agree in their number of hypotheses"):
        PosePosterior.concatenate([])
