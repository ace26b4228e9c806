# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import pytest
import torch

from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PoseEstimator, PosePrior, SamplerConfig
from diffpose_core.baselines import GaussianPrior
from diffpose_core.likelihood import HeatmapLikelihood, KnownJoints
from diffpose_core.metrics import mpjpe, root_relative
from diffpose_core.observation import INFERRED, MISSING, OBSERVED, ObservationModel
from diffpose_core.sampler import PRECISIONS, ROOT_MEAN_M, ROOT_SD_M, _cholesky, run

CAMERA = Camera.from_field_of_view(1280, 720, 60.0)


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


@pytest.fixture(scope="module")
def people(prior) -> torch.Tensor:
    """Poses that the prior finds likely, 3.5 m before the camera."""
    return prior.sample(3, torch.Generator().manual_seed(3)) + torch.tensor([0.2, 0.1, 3.5])


def observe(
    joints: torch.Tensor, sigma_px: float = 4.0, visibility: torch.Tensor | None = None, skeleton=H36M17
) -> Heatmaps:
    keypoints = torch.einsum("kj,pjc->pkc", ObservationModel.of(skeleton).weights, joints)
    n, k = keypoints.shape[:2]
    covariance = sigma_px**2 * torch.eye(2).expand(n, k, 2, 2)
    return Heatmaps.from_keypoints(
        CAMERA.project(keypoints), covariance, torch.ones(n, k) if visibility is None else visibility, skeleton
    )


@pytest.mark.parametrize(
    "sampler",
    [SamplerConfig(), SamplerConfig(guidance="gradient"), SamplerConfig(guidance="gradient", steps=10, repeats=5)],
    ids=["kalman", "gradient", "gradient-repeated"],
)
@pytest.mark.parametrize("skeleton", [H36M17, COCO17], ids=["h36m", "coco"])
def test_posterior_agrees_with_what_was_seen(prior, people, sampler, skeleton):
    estimator = PoseEstimator(prior, sampler=sampler)
    post = estimator(observe(people, skeleton=skeleton), CAMERA, 30, torch.Generator().manual_seed(0))
    assert post.joints.shape == (3, 30, 17, 3)
    torch.testing.assert_close(torch.logsumexp(post.log_weights, -1), torch.zeros(3), atol=1e-5, rtol=0)
    reprojection_px = (CAMERA.project(post.mean) - CAMERA.project(people)).norm(dim=-1)
    assert reprojection_px.median() < 12
    assert mpjpe(root_relative(post.mean), root_relative(people)).mean() < 0.12
    assert ((post.joints[:, :, 0, 2].median(1).values - 3.5).abs() < 0.8).all()
    assert torch.linalg.eigvalsh(post.covariance).min() > 0


def gaussian_prior() -> GaussianPrior:
    """Gaussian poses about zero, the root joint at zero."""
    mix = torch.randn(51, 51, generator=torch.Generator().manual_seed(5)) / 51**0.5
    mix[:3] = 0
    return GaussianPrior(torch.zeros(51), mix @ mix.T, 0.28)


@pytest.mark.parametrize("repeats", [1, 2])
def test_kalman_draws_from_the_exact_posterior_of_a_gaussian_prior(repeats):
    prior = gaussian_prior()
    truth = torch.linalg.cholesky(prior.spread + 1e-6 * torch.eye(51)) @ torch.randn(
        51, generator=torch.Generator().manual_seed(1)
    )
    joints = (prior.unit_m * truth).reshape(1, 17, 3) + torch.tensor([0.3, -0.2, 4.0])
    known = torch.arange(17)[None] % 2 == 0
    std_m = 0.15
    config = SamplerConfig(repeats=repeats)
    relative, root = run(prior, [KnownJoints(joints, known, std_m)], 1500, config, torch.Generator().manual_seed(2))
    # y = x + T + noise with x ~ N(0, C) and T ~ N(ROOT_MEAN_M, ROOT_SD_M^2), both 51 + 3 numbers Gaussian
    rows = known[0].repeat_interleave(3)
    h = torch.cat([torch.eye(51), torch.eye(3).repeat(17, 1)], 1)[rows].double()
    before = torch.block_diag(prior.unit_m**2 * prior.spread, torch.diag(torch.tensor(ROOT_SD_M) ** 2)).double()
    start = torch.cat([torch.zeros(51), torch.tensor(ROOT_MEAN_M)]).double()
    gain = before @ h.T @ torch.linalg.inv(h @ before @ h.T + std_m**2 * torch.eye(len(h)))
    mean = start + gain @ (joints.flatten()[rows].double() - h @ start)
    covariance = before - gain @ h @ before
    drawn = torch.cat([relative[0].flatten(1), root[0]], 1).double()
    sd = covariance.diagonal().clamp_min(0).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 0.15 * sd + 1e-3).all()
    ratio = drawn.std(0)[3:] / sd[3:]
    assert (ratio - 1).abs().max() < 0.1
    difference = torch.cov(drawn.T)[3:51, 3:51] - covariance[3:51, 3:51]
    assert difference.norm() < 0.2 * covariance[3:51, 3:51].norm()


def test_what_moves_all_joints_alike_does_not_blur_the_heatmaps(people):
    """The root is solved for, so only the spread of the joints about their centre is the heatmaps' business."""

    class Swaying(GaussianPrior):
        sway = 0.0

        def covariance(self, sigma: float) -> torch.Tensor:
            return super().covariance(sigma) + self.sway * torch.eye(3).repeat(17, 17)

    def infer(sway: float) -> torch.Tensor:
        still = gaussian_prior()
        prior = Swaying(still.mean, still.spread, still.unit_m)
        prior.sway = sway
        config = SamplerConfig(guidance="gradient", steps=3)
        return run(prior, [HeatmapLikelihood(observe(people), CAMERA)], 4, config, torch.Generator().manual_seed(0))[0]

    torch.testing.assert_close(infer(4.0), infer(0.0), atol=1e-3, rtol=0)


def test_same_seed_same_bits(prior, people):
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=4))
    a, b, c = (estimator(observe(people), CAMERA, 5, torch.Generator().manual_seed(s)).joints for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_other_steps_are_those_of_another_estimator(prior, people):
    estimator, heatmaps = PoseEstimator(prior), observe(people)
    few = PoseEstimator(prior, sampler=SamplerConfig(steps=3))
    bits = [
        made(heatmaps, CAMERA, 5, torch.Generator().manual_seed(1)).joints for made in (few, estimator.with_steps(3))
    ]
    assert torch.equal(*bits)
    assert estimator.sampler.steps == SamplerConfig().steps


def test_hidden_joints_are_inferred_and_less_certain(prior, people):
    visibility = torch.ones(3, 17)
    legs = [H36M17.index(j) for j in ("RKnee", "RAnkle", "LKnee", "LAnkle")]
    visibility[:, legs] = 0
    full = PoseEstimator(prior)(observe(people), CAMERA, 40, torch.Generator().manual_seed(0))
    part = PoseEstimator(prior)(observe(people, visibility=visibility), CAMERA, 40, torch.Generator().manual_seed(0))
    assert (part.status[:, legs] == INFERRED).all()
    assert (part.status[:, 11:] == OBSERVED).all()
    assert (
        part.covariance[:, legs].diagonal(dim1=-2, dim2=-1).sum()
        > full.covariance[:, legs].diagonal(dim1=-2, dim2=-1).sum()
    )
    spread = [root_relative(p.joints).var(1).sum(-1)[:, legs].mean() for p in (full, part)]
    assert spread[1] > 1.5 * spread[0]


def test_all_invisible_is_missing_finite_and_leaves_others_alone(prior, people):
    visibility = torch.ones(3, 17)
    visibility[1] = 0
    post = PoseEstimator(prior, sampler=SamplerConfig(steps=8))(
        observe(people, visibility=visibility), CAMERA, 20, torch.Generator().manual_seed(0)
    )
    assert (post.status[1] == MISSING).all()
    assert (post.status[[0, 2]] == OBSERVED).all()
    assert torch.isfinite(post.joints).all()
    assert post.covariance[1, 0, 2, 2] > 1.0
    assert post.covariance[0, 0, 2, 2] < 0.5


@pytest.mark.parametrize("field", ["joints", "log_weights", "log_evidence"])
def test_what_is_no_number_never_leaves(prior, people, field):
    post = PoseEstimator(prior)(observe(people[:1]), CAMERA, 2)
    with pytest.raises(FloatingPointError, match=field):
        replace(post, **{field: torch.full_like(getattr(post, field), torch.nan)})


def test_no_person(prior):
    post = PoseEstimator(prior)(observe(torch.zeros(0, 17, 3)), CAMERA, 7)
    assert post.joints.shape == (0, 7, 17, 3)
    assert post.mean.shape == (0, 17, 3)
    assert post.covariance.shape == (0, 17, 3, 3)


def test_two_peaks_stay_two_modes(prior, people):
    """A wrist seen in two places is found in both, not between them."""
    heat = observe(people[:1])
    wrist = H36M17.index("LWrist")
    means = heat.means.repeat(1, 1, 2, 1)
    means[0, wrist, 1] += torch.tensor([0.0, 45.0])
    two = Heatmaps.from_mixture(
        means, heat.covariances.repeat(1, 1, 2, 1, 1), torch.tensor([0.2, 0.8]).expand(1, 17, 2), heat.visibility,
        heat.outlier, torch.tensor([[0.0, 0.0, 1280.0, 720.0]]), H36M17,
    )  # fmt: skip
    post = PoseEstimator(prior)(two, CAMERA, 100, torch.Generator().manual_seed(0))
    pixels = CAMERA.project(post.joints[0, :, wrist])
    to_first, to_second = ((pixels - means[0, wrist, m]).norm(dim=-1) for m in (0, 1))
    assert torch.minimum(to_first, to_second).median() < 12
    assert 0.02 < (to_first < to_second).float().mean() < 0.98


def test_completion_keeps_the_known_and_spreads_the_unknown(prior, people):
    known = torch.ones(3, 17, dtype=torch.bool)
    arm = [H36M17.index("LElbow"), H36M17.index("LWrist")]
    known[:, arm] = False
    joints = people.clone()
    joints[:, arm] = torch.nan
    post = PoseEstimator(prior).complete(joints, known, 0.01, 30, torch.Generator().manual_seed(0))
    assert (post.mean - people)[known].norm(dim=-1).max() < 0.04
    assert (post.status[:, arm] == INFERRED).all()
    sd = post.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
    assert (sd[:, arm[1]] > 3 * sd[:, 1]).all()


def test_of_whom_nothing_is_known_may_be_anywhere_in_the_room_before_the_camera(prior):
    nothing = torch.zeros(1, 17, dtype=torch.bool)
    post = PoseEstimator(prior).complete(torch.zeros(1, 17, 3), nothing, 0.01, 200, torch.Generator().manual_seed(0))
    mean = post.joints[0, :, 0].mean(0)
    assert (mean - torch.tensor([0.0, 0.0, 5.0])).abs().max() < 0.6


def test_a_pelvis_that_is_not_the_origin_of_relative_joints_is_refused(prior, people):
    known = torch.ones(len(people), 17, dtype=torch.bool)
    with pytest.raises(ValueError, match="joints must be relative to the pelvis where root_relative is true"):
        PoseEstimator(prior).complete(people, known, 0.01, 5, root_relative=True)
    known[:, 0] = False
    PoseEstimator(prior).complete(people - people[:, :1], known, 0.01, 5, root_relative=True)


def test_the_mode_of_the_caller_changes_nothing(prior, people):
    known = torch.ones(len(people), 17, dtype=torch.bool)
    known[:, 11:] = False
    estimator = PoseEstimator(prior)
    usual = estimator.complete(people, known, 0.01, 5, torch.Generator().manual_seed(1)).joints
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            found = estimator.complete(people, known, 0.01, 5, torch.Generator().manual_seed(1)).joints
        torch.testing.assert_close(found.clone(), usual)


def test_observations_add_up(prior, people):
    """Depth from known joints, direction from the image: together the root is where both say."""
    known = torch.zeros(3, 17, dtype=torch.bool)
    known[:, 10] = True
    estimator = PoseEstimator(prior)
    image = HeatmapLikelihood(observe(people), CAMERA)
    alone = estimator.infer([image], 40, torch.Generator().manual_seed(0))
    both = estimator.infer([image, KnownJoints(people, known, 0.01)], 40, torch.Generator().manual_seed(0))
    assert (both.mean[:, 10] - people[:, 10]).norm(dim=-1).max() < 0.05
    assert both.covariance[:, 0, 2, 2].mean() < 0.5 * alone.covariance[:, 0, 2, 2].mean()


def test_bad_arguments_are_named(prior, people):
    estimator = PoseEstimator(prior)
    with pytest.raises(ValueError, match="num_hypotheses"):
        estimator(observe(people), CAMERA, 0)
    with pytest.raises(ValueError, match="likelihoods"):
        estimator.infer([])
    with pytest.raises(ValueError, match="std"):
        estimator.complete(people, torch.ones(3, 17, dtype=torch.bool), -0.01)
    with pytest.raises(ValueError, match="known"):
        estimator.complete(people, torch.ones(3, 16, dtype=torch.bool), 0.01)
    with pytest.raises(ValueError, match="guidance"):
        SamplerConfig(guidance="magic")
    with pytest.raises(ValueError, match="steps"):
        SamplerConfig(steps=0)
    with pytest.raises(ValueError, match=r"sigma_min < sigma_max, got 1\.0 and 1\.0"):
        SamplerConfig(sigma_min=1.0, sigma_max=1.0)
    with pytest.raises(ValueError, match=r"repeats must lie in 1\.\.100, got 0"):
        SamplerConfig(repeats=0)
    with pytest.raises(ValueError, match=r"precision must be one of .* got 'int8'"):
        SamplerConfig(precision="int8")


def test_lower_precision_moves_poses_little(prior, people):
    x = torch.randn(500, 51, generator=torch.Generator().manual_seed(2))
    for sigma in (0.07, 0.5, 2.0):
        exact, rough = (p.denoise(x, sigma) for p in (prior, prior.to("cpu", torch.bfloat16)))
        off_m = prior.unit_m * (rough - exact).pow(2).mean().sqrt()
        assert 0 < off_m < 0.002
    posts = [
        PoseEstimator(prior, sampler=SamplerConfig(steps=10, precision=p))(
            observe(people), CAMERA, 200, torch.Generator().manual_seed(0)
        )
        for p in PRECISIONS
    ]
    torch.testing.assert_close(root_relative(posts[0].mean), root_relative(posts[1].mean), atol=0.04, rtol=0)


def test_no_silent_fallback_to_the_cpu(prior):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is present, so asking for one is answered")
    with pytest.raises(ValueError, match="no CUDA here"):
        PoseEstimator(prior, device="cuda")


def test_gpu_gives_the_cpu_result_within_tolerance(prior, people):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    posts = [
        PoseEstimator(prior, device=d)(observe(people), CAMERA, 400, torch.Generator(d).manual_seed(0))
        for d in ("cpu", "cuda")
    ]
    torch.testing.assert_close(posts[0].mean, posts[1].mean.cpu(), atol=0.05, rtol=0)


def test_completion_does_not_care_where_the_person_is(prior, people):
    known = torch.zeros(3, 17, dtype=torch.bool)
    known[:, :9] = True
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=6))
    away = torch.tensor([40.0, -3.0, -120.0])
    here, there = (
        estimator.complete(people + offset, known, 0.01, 8, torch.Generator().manual_seed(0))
        for offset in (torch.zeros(3), away)
    )
    torch.testing.assert_close(there.joints, here.joints + away, atol=5e-3, rtol=0)
    torch.testing.assert_close(there.log_evidence, here.log_evidence, atol=0.2, rtol=0)


def test_matrices_that_rounding_left_indefinite_are_factored_and_the_others_stay_as_they_are() -> None:
    sound = torch.tensor([[4.0, 1.0], [1.0, 3.0]])
    broken = torch.tensor([[1.0, 1.0], [1.0, 1.0 - 1e-6]])
    factor = _cholesky(torch.stack([sound, broken]))
    assert torch.equal(factor[0], torch.linalg.cholesky(sound))
    torch.testing.assert_close(factor[1] @ factor[1].mT, broken, atol=2e-5, rtol=0)
