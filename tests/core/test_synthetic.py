# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the benchmark's scenarios promise of their cameras, heatmaps and people."""

import pytest
import torch
from test_training import UPRIGHT

from diffpose_core import H36M17
from diffpose_core.data import SCENARIOS, SyntheticConfig, synthesize

PEOPLE = 600
STANDING = torch.tensor([UPRIGHT[name] for name in H36M17.joints], dtype=torch.float32)
LIMB_JOINTS = {H36M17.index(s + j) for s in "LR" for j in ("Elbow", "Wrist", "Knee", "Ankle")}


def view(config: SyntheticConfig, people: int = PEOPLE, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    turn = torch.rand(people, generator=generator) * 6.283
    c, s, zero, one = turn.cos(), turn.sin(), torch.zeros(people), torch.ones(people)
    about_z = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    world = torch.einsum("nij,kj->nki", about_z, STANDING)
    return synthesize(world, config, generator)


def box_px(scene) -> torch.Tensor:
    pixels = scene.camera.project(scene.joints)
    return (pixels.amax(1) - pixels.amin(1)).amax(-1)


@pytest.mark.parametrize("name", [n for n in SCENARIOS if n not in ("clean", "focal length 10 % wrong")])
def test_the_true_peak_is_as_wrong_as_its_heatmap_says(name):
    scene = view(SCENARIOS[name])
    residual = (scene.heatmaps.means[:, :, 0] - scene.camera.project(scene.joints)) / scene.sigma_px[:, None, None]
    assert abs(residual.mean()) < 0.03
    assert abs(residual.std() - 1) < 0.03
    torch.testing.assert_close(
        scene.heatmaps.covariances[:, 3, 0], scene.sigma_px[:, None, None] ** 2 * torch.eye(2).expand(PEOPLE, 2, 2)
    )
    torch.testing.assert_close(scene.sigma_px, SCENARIOS[name].noise * box_px(scene))


def test_clean_keypoints_are_right():
    scene = view(SCENARIOS["clean"])
    torch.testing.assert_close(scene.heatmaps.means[:, :, 0], scene.camera.project(scene.joints))
    torch.testing.assert_close(scene.sigma_px, 0.005 * box_px(scene))


def test_the_estimator_is_told_a_wrong_focal_length():
    wrong, right = view(SCENARIOS["focal length 10 % wrong"]), view(SCENARIOS["noise 2.5 %"])
    assert wrong.camera.fx == pytest.approx(1.1 * right.camera.fx)
    assert wrong.camera.cx == right.camera.cx
    assert torch.equal(wrong.heatmaps.means, right.heatmaps.means)


def test_people_from_behind_look_where_the_camera_looks():
    scene = view(SCENARIOS["from behind"])
    nose, left, right = (scene.joints[:, H36M17.index(j)] for j in ("Nose", "LShoulder", "RShoulder"))
    assert (left[:, 0] < right[:, 0]).all()
    facing = (nose - scene.joints[:, H36M17.index("Thorax")])[:, [0, 2]]
    assert (facing[:, 1] > 0.4 * facing.norm(dim=-1)).all()


def test_far_people_are_forty_pixels_tall():
    size = box_px(view(SCENARIOS["far"]))
    assert size.min() > 37
    assert size.max() < 43


def test_limbs_are_hidden_whole():
    hidden = ~view(SCENARIOS["hidden limb"]).heatmaps.seen
    assert (hidden.sum(1) == 2).all()
    limbs = {tuple(row.nonzero()[:, 0].tolist()) for row in hidden}
    pairs = (("RKnee", "RAnkle"), ("LKnee", "LAnkle"), ("LElbow", "LWrist"), ("RElbow", "RWrist"))
    assert limbs == {tuple(H36M17.index(j) for j in pair) for pair in pairs}
    legs = ~view(SCENARIOS["cut legs"], 3).heatmaps.seen
    assert [row.nonzero()[:, 0].tolist() for row in legs] == [[2, 3, 5, 6]] * 3


@pytest.mark.parametrize(("name", "joints"), [("two peaks", 2), ("swapped limbs", 4)])
def test_peaks_are_as_likely_as_they_weigh(name, joints):
    scene = view(SCENARIOS[name], 4000)
    weight = scene.heatmaps.weights[..., 0]
    torch.testing.assert_close(scene.heatmaps.weights.sum(-1), torch.ones_like(weight))
    two = weight < 1
    assert (two.sum(1) == joints).all()
    assert set(two.nonzero()[:, 1].tolist()) == LIMB_JOINTS
    first = weight[two]
    assert first.min() >= 0.3
    assert first.max() <= 0.7
    heavier = torch.maximum(first, 1 - first)
    assert abs((first > 0.5).float().mean() - heavier.mean()) < 0.02


def test_second_peaks_lie_where_they_should():
    scene = view(SCENARIOS["two peaks"])
    two = scene.heatmaps.weights[..., 0] < 1
    apart = (scene.heatmaps.means[:, :, 0] - scene.heatmaps.means[:, :, 1]).norm(dim=-1) / box_px(scene)[:, None]
    assert apart[~two].max() == 0
    assert apart[two].min() > 0.02  # 0.15 to 0.3, less or more two noises of 0.025
    assert apart[two].max() < 0.43
    assert abs(apart[two].mean() - 0.225) < 0.01
    scene = view(SCENARIOS["swapped limbs"])
    two = scene.heatmaps.weights[..., 0] < 1
    other = scene.camera.project(scene.joints)[:, list(H36M17.mirror)]
    residual = (scene.heatmaps.means[:, :, 1] - other)[two] / scene.sigma_px[:, None].expand(-1, 17)[two][:, None]
    assert abs(residual.std() - 1) < 0.05


def test_many_cameras_differ_in_lens_and_people_in_size():
    scenes = [view(SCENARIOS["many cameras"], 50, seed) for seed in range(20)]
    k1 = torch.tensor([s.camera.distortion[0] for s in scenes])
    assert k1.min() < -0.03
    assert k1.max() > 0.03
    assert k1.abs().max() <= 0.1
    thigh = torch.cat([(s.joints[:, 2] - s.joints[:, 1]).norm(dim=-1) for s in scenes])
    expected = (STANDING[2] - STANDING[1]).norm()
    assert abs((thigh / expected).log().std() - 0.05) < 0.005
    depth = torch.cat([s.joints[:, 0, 2] for s in scenes])
    assert 2 <= depth.min() < 2.2
    assert 7.8 < depth.max() <= 8


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match=r"hidden must be one of .* got 'head'"):
        SyntheticConfig(hidden="head")
    with pytest.raises(ValueError, match=r"second_peak must be one of .* got 'up'"):
        SyntheticConfig(second_peak="up")
