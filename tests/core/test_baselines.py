# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The ways of steering that the benchmark compares with."""

import itertools

import pytest
import torch

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.baselines import BASELINES, GaussianPrior, NearestNeighbours
from diffpose_core.metrics import root_relative

CAMERA = Camera.from_field_of_view(1280, 720, 60.0)


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


@pytest.fixture(scope="module")
def people(prior) -> torch.Tensor:
    return prior.sample(4, torch.Generator().manual_seed(3)) + torch.tensor([0.2, 0.1, 3.5])


def observe(joints: torch.Tensor, sigma_px: float = 8.0) -> Heatmaps:
    n = len(joints)
    return Heatmaps.from_keypoints(
        CAMERA.project(joints), sigma_px**2 * torch.eye(2).expand(n, 17, 2, 2), torch.ones(n, 17), H36M17
    )


def residual_px(post, people: torch.Tensor) -> torch.Tensor:
    return (CAMERA.project(post.mean) - CAMERA.project(people)).norm(dim=-1).median()


@pytest.fixture(scope="module")
def training(prior) -> torch.Tensor:
    """Poses with z up, as motion data has them."""
    camera_axes = prior.sample(3000, torch.Generator().manual_seed(5))
    return torch.stack([camera_axes[..., 0], camera_axes[..., 2], -camera_axes[..., 1]], -1)


@pytest.fixture(scope="module")
def drawn(prior, people, training) -> dict[str, list[PosePosterior]]:
    """Every method twice with the same seed."""
    estimators = {name: build(prior, "cpu", lambda: training) for name, build in BASELINES.items()}
    estimators["gradient"] = PoseEstimator(prior, "cpu", SamplerConfig(guidance="gradient"))
    return {
        name: [e(observe(people), CAMERA, 20, torch.Generator().manual_seed(0)) for _ in range(2)]
        for name, e in estimators.items()
    }


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_agree_with_what_was_seen(prior, people, drawn, name):
    post, again = drawn[name]
    assert torch.equal(post.joints, again.joints)
    assert torch.isfinite(post.joints).all()
    nothing_seen = prior.sample(4, torch.Generator().manual_seed(9)) + torch.tensor([0.2, 0.1, 3.5])
    blind_px = (CAMERA.project(nothing_seen) - CAMERA.project(people)).norm(dim=-1).median()
    assert residual_px(post, people) < 0.5 * blind_px


def test_each_baseline_steers_in_its_own_way(drawn):
    for a, b in itertools.combinations(drawn, 2):
        assert (drawn[a][0].joints - drawn[b][0].joints).abs().max() > 0.01, (a, b)


def test_the_nearest_neighbour_of_a_training_pose_is_that_pose(prior, training):
    """The camera looks along world +y: the pose stands before it as its own augmentation does."""
    neighbours = NearestNeighbours(prior, "cpu", training, candidates=400)
    wanted = neighbours.poses[:3]
    post = neighbours(observe(wanted + torch.tensor([0.0, 0.0, 4.0]), 1.0), CAMERA, 1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(root_relative(post.joints[:, 0]), wanted, atol=1e-5, rtol=0)


def test_the_gaussian_prior_has_the_moments_of_the_poses_it_is_made_like(prior):
    gaussian = GaussianPrior.like(prior, 1000)
    poses = prior.sample(1000, torch.Generator().manual_seed(1))
    drawn = gaussian.sample(4000, torch.Generator().manual_seed(2))
    torch.testing.assert_close(drawn.mean(0), poses.mean(0), atol=0.04, rtol=0)
    torch.testing.assert_close(drawn.std(0)[1:], poses.std(0)[1:], atol=0.04, rtol=0)


def test_the_gaussian_prior_denoises_exactly():
    """In one dimension: x0 of mean 2 and variance 4, seen with noise of variance 1, 10 away from the mean."""
    spread = torch.zeros(51, 51)
    spread[5, 5] = 4.0
    mean = torch.zeros(51)
    mean[5] = 2.0
    prior = GaussianPrior(mean, spread, 0.28)
    x = torch.zeros(51)
    x[5] = 12.0
    assert float(prior.denoise(x, 1.0)[5]) == pytest.approx(2 + 10 * 4 / 5)
    assert float(prior.covariance(1.0)[5, 5]) == pytest.approx(4 / 5)
    assert float(prior.covariance(1.0).abs().sum()) == pytest.approx(4 / 5)
