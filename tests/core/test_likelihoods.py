# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Every likelihood against finite differences, its own density, its limits and bad input."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.baselines import GaussianPrior
from diffpose_core.body import ANKLE_M, BONES, JOINT_RADIUS_M
from diffpose_core.evidence import Evidence
from diffpose_core.likelihood import (
    DepthImage,
    GroundPlane,
    HeatmapLikelihood,
    HiddenJoints,
    JointDepth,
    KnownJoints,
    KnownLengths,
    Likelihood,
    LinearConstraint,
    PreviousPosterior,
)
from diffpose_core.likelihood.base import at_least, log_holds
from diffpose_core.metrics import bone_lengths, root_relative
from diffpose_core.observation import INFERRED, MISSING, OBSERVED
from diffpose_core.sampler import FUSED, ROOT_MEAN_M, ROOT_SD_M

CAMERA = Camera.from_field_of_view(640, 480, 60.0)
NOTHING = torch.zeros(51, 51)
J = H36M17.index


def from_the_side(degrees: float = 90.0, centre=(0.0, 0.0, 4.0)) -> torch.Tensor:
    """[3, 4] of a camera that looks at a point from another side, as far from it as the reference camera is."""
    a = math.radians(degrees)
    rotation = torch.tensor([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    where = torch.tensor(centre)
    return torch.cat([rotation, (where - rotation @ where)[:, None]], 1)


SIDE = from_the_side()


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


@pytest.fixture(scope="module")
def people(prior) -> torch.Tensor:
    """Two persons 4 m before the camera [2, 17, 3]."""
    return prior.sample(2, torch.Generator().manual_seed(3)) + torch.tensor([0.1, 0.0, 4.0])


def seen_by(joints: torch.Tensor, pose: torch.Tensor | None = None, sigma_px: float = 5.0) -> HeatmapLikelihood:
    points = joints if pose is None else joints @ pose[:, :3].T + pose[:, 3]
    pixels = CAMERA.project(points)[:, :, None]
    covariance = sigma_px**2 * torch.eye(2).expand(len(joints), 17, 1, 2, 2)
    ones = torch.ones(len(joints), 17)
    # A floor over a box that grows with the noise, so that endless noise says nothing at all.
    size = 1000.0 + 100 * sigma_px
    box = torch.tensor([-size, -size, size, size]).expand(len(joints), 4)
    heat = Heatmaps.from_mixture(pixels, covariance, ones[..., None], ones, 1e-9 * ones, box, H36M17)
    return HeatmapLikelihood(heat, CAMERA, pose)


def a_moment_ago(joints: torch.Tensor) -> PosePosterior:
    generator = torch.Generator().manual_seed(8)
    samples = joints[:, None] + 0.03 * torch.randn(len(joints), 60, 17, 3, generator=generator)
    return PosePosterior(samples, torch.full((len(joints), 60), -math.log(60)), torch.zeros(len(joints), 17).long())


def wall(distance_m: float = 3.9) -> torch.Tensor:
    return torch.full((CAMERA.height, CAMERA.width), distance_m)


ALL = torch.ones(2, 17, dtype=torch.bool)
MASK = torch.zeros(480, 640, dtype=torch.bool)
MASK[:, :300] = True
SLANTED = (0.02**2 * torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, 2.0]])).expand(2, 17, 3, 3)
KINDS: dict[str, Callable[[torch.Tensor, float], Likelihood]] = {
    # observations of the people, their noise some factor times what is usual
    "heatmaps": lambda x, k: seen_by(x, sigma_px=5 * k),
    "second camera": lambda x, k: seen_by(x, SIDE, 5 * k),
    "known joints": lambda x, k: KnownJoints(x, ALL, 0.02 * k),
    "known joints with covariances": lambda x, k: KnownJoints.of_covariance(x, ALL, k**2 * SLANTED),
    "known joints about the root": lambda x, k: KnownJoints(x - x[:, :1], ALL, 0.02 * k, root_relative=True),
    "bones": lambda x, k: KnownLengths.of_bones(bone_lengths(x), 0.01 * k),
    "height": lambda x, k: KnownLengths.of_height(torch.tensor([1.7, 1.8]), 0.02 * k),
    "scale": lambda x, k: KnownLengths.of_scale(bone_lengths(x).sum(-1), 0.05 * k),
    "joint depth": lambda x, k: JointDepth(x[..., 2] + 0.01, 0.08 * k),
    "joint depth from the side": lambda x, k: JointDepth((x @ SIDE[:, :3].T + SIDE[:, 3])[..., 2], 0.08 * k, SIDE),
    "depth image": lambda x, k: DepthImage(wall(), CAMERA, 2, noise=0.02 * k),
    "above": lambda x, k: LinearConstraint.above("LWrist", "HeadTop", 0.1, 0.05 * k, persons=2),
    "ground": lambda x, k: GroundPlane.below_camera(float(x[..., 1].max()) + ANKLE_M, 2, 0.03 * k),
    "previous": lambda x, k: PreviousPosterior(a_moment_ago(x), 0.1 * k),
    "hidden": lambda x, k: HiddenJoints(ALL, CAMERA, MASK, missed=1e-4, std_px=20.0 * k),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def linearised(y: Likelihood, joints: torch.Tensor, root: torch.Tensor, covariance=NOTHING, seed: int = 0):
    return y.linearise(joints, root, covariance, torch.Generator().manual_seed(seed))


@each_kind
def test_the_jacobian_is_the_derivative_of_the_residual(kind, people):
    y = KINDS[kind](people + 0.02, 1.0)
    generator = torch.Generator().manual_seed(1)
    root = people[:, None, 0] + 0.01 * torch.randn(2, 3, 3, generator=generator)
    joints = root_relative(people)[:, None] + 0.02 * torch.randn(2, 3, 17, 3, generator=generator)
    seen = linearised(y, joints, root)
    direction = torch.randn(joints.shape, generator=generator)
    aside = torch.randn(root.shape, generator=generator)
    bounds = kind in ("above", "ground", "hidden")
    step = 5e-3 if bounds else 2e-4
    ahead, back = (linearised(y, joints + s * direction, root + s * aside) for s in (step, -step))
    if bounds:  # there a whitener grows with the residual: the rows' direction counts
        norm = seen.jacobian.norm(dim=-1)
        assert (norm > 0).any()
        unit = seen.jacobian / norm.clamp_min(1e-9)[..., None]
        slope = (unit @ direction.flatten(-2)[..., None])[..., 0]
        slope = slope + (seen.root_jacobian @ aside[..., None])[..., 0] / norm.clamp_min(1e-9)
        change = (ahead.residual - back.residual) / (2 * step)
        counted = (ahead.residual != 0) & (back.residual != 0)  # not drawn as missed on one side
        moving = counted & (norm > 1e-3) & (change.abs() > 1e-2)
        assert moving.sum() >= 2
        assert (torch.sign(change) == -torch.sign(slope))[moving].all()
        return
    change = (ahead.residual - back.residual) / (2 * step)
    expected = -(seen.jacobian @ direction.flatten(-2)[..., None] + seen.root_jacobian @ aside[..., None])[..., 0]
    # A reading at the edge of an outlier may be drawn as one on one side of the step only.
    alike = (ahead.jacobian != 0).any(-1) == (back.jacobian != 0).any(-1)
    assert (~alike).sum() <= 2
    change, expected = change[alike], expected[alike]
    torch.testing.assert_close(change, expected, atol=0.02 * float(expected.abs().max()), rtol=0.02)


@each_kind
def test_linearised_and_density_tell_the_same(kind, people):
    y = KINDS[kind](people, 1.0)
    generator = torch.Generator().manual_seed(2)
    joints = people[:, None] + 0.02 * torch.randn(2, 5, 17, 3, generator=generator)
    seen = linearised(y, root_relative(joints), joints[:, :, 0])
    value = seen.log_scale - 0.5 * seen.residual.square().sum(-1)
    density = y.log_density(joints, NOTHING)
    # Readings of a depth image differ in height from pose to pose; all others from their density by a constant.
    difference = value - density
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=2e-2, rtol=1e-3)


@each_kind
def test_the_gradient_of_the_density_is_its_slope(kind, people):
    y = KINDS[kind](people, 1.0)
    covariance = 1e-4 * torch.eye(51)
    joints = (people[:, None] + 0.03 * torch.randn(2, 2, 17, 3, generator=torch.Generator().manual_seed(4))).double()
    joints = joints.float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(y.log_density(joints, covariance).sum(), joints)
    direction = gradient / gradient.norm().clamp_min(1e-9)
    step = 1e-3
    with torch.no_grad():
        ahead, back = (y.log_density(joints + s * direction, covariance).sum() for s in (step, -step))
    slope = float(ahead - back) / (2 * step)
    assert slope == pytest.approx(float(gradient.norm()), rel=0.05, abs=1e-3)
    assert slope > 0 or kind == "hidden"


@each_kind
def test_says_whom_and_what_it_observes(kind, people):
    y = KINDS[kind](people, 1.0)
    assert isinstance(y, Likelihood)
    assert y.persons == 2
    assert "2 persons" in y.describe()
    status = y.to(torch.device("cpu")).status()
    assert status.shape == (2, 17)
    placing = {"heatmaps", "second camera", *(k for k in KINDS if k.startswith("known joints"))}
    expected = OBSERVED if kind in placing else INFERRED if kind == "previous" else MISSING
    assert (status == expected).all()


@each_kind
def test_endless_noise_leaves_the_result_as_it_was(kind, prior, people):
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=6))
    alone, beside = (
        estimator.infer(observed, 8, torch.Generator().manual_seed(1))
        for observed in ([seen_by(people)], [seen_by(people), KINDS[kind](people, 1e6)])
    )
    torch.testing.assert_close(beside.joints, alone.joints, atol=2e-3, rtol=0)


@settings(deadline=None, max_examples=40)
@given(excess=st.floats(-6, 6), spread=st.floats(0.05, 3.0), std=st.floats(0.02, 1.0))
def test_a_bound_is_the_gaussian_with_the_same_moments(excess, spread, std):
    bound = at_least(torch.tensor(excess), torch.tensor(spread**2), std)
    precision = float(bound.whitener) ** 2
    variance = 1 / (1 / spread**2 + precision)
    mean = excess + variance * float(bound.whitener) * float(bound.residual)

    t = np.linspace(excess - 9 * spread, excess + 9 * spread, 20_001)
    density = stats.norm.pdf(t, excess, spread) * stats.norm.cdf(t / std)

    def moment(power: int) -> float:
        return float(np.trapezoid(t**power * density, t))

    mass = moment(0)
    if mass < 1e-7:
        return
    exact = moment(1) / mass
    exact_variance = moment(2) / mass - exact**2
    assert mean == pytest.approx(exact, abs=0.02 * spread + 2e-3)
    assert variance == pytest.approx(exact_variance, rel=0.05, abs=1e-4)
    log_mass = float(log_holds(torch.tensor(excess), torch.tensor(spread**2), std))
    assert log_mass == pytest.approx(math.log(mass), abs=1e-2)


@settings(deadline=None, max_examples=60)
@given(excess=st.floats(-3, -0.1), std=st.floats(0.02, 0.1))
def test_the_further_below_its_bound_the_stronger_it_pulls(excess, std):
    near, far = (at_least(torch.tensor(e), torch.tensor(0.0), std).residual for e in (excess, excess - 0.003))
    assert far > near


def test_what_is_known_in_one_direction_is_left_open_in_the_others(prior, people):
    """The wrist's height is known to a centimetre, its place in the plane to a metre."""
    known = torch.zeros(2, 17, dtype=torch.bool)
    known[:, J("LWrist")] = True
    covariance = torch.diag(torch.tensor([1.0, 1e-4, 1.0])).expand(2, 17, 3, 3)
    raised = people - torch.tensor([0.0, 0.15, 0.0])
    post = PoseEstimator(prior, sampler=SamplerConfig(steps=10)).infer(
        [KnownJoints.of_covariance(raised, known, covariance)], 60, torch.Generator().manual_seed(0)
    )
    wrist = post.joints[:, :, J("LWrist")]
    assert (wrist[..., 1].mean(1) - raised[:, J("LWrist"), 1]).abs().max() < 0.03
    assert (wrist[..., 1].std(1) < 0.05).all()
    assert (wrist[..., [0, 2]].std(1) > 0.3).all()


def test_lengths_of_a_known_skeleton():
    joints = torch.zeros(1, 1, 17, 3)
    for parent, child in sorted(BONES, key=lambda bone: bone[1]):
        joints[..., child, :] = joints[..., parent, :] + torch.tensor([0.0, 0.1 + 0.01 * child, 0.0])
    lengths = torch.tensor([[0.1 + 0.01 * child for _, child in BONES]])
    exact = KnownLengths.of_bones(lengths, 0.01)
    assert float(linearised(exact, joints, torch.zeros(1, 1, 3)).residual.abs().max()) < 1e-4
    # leg 0.12 + 0.13 and 0.15 + 0.16, halved; spine to head 0.17 + 0.18 + 0.19 + 0.20; the ankle 0.08
    height = KnownLengths.of_height(torch.tensor([0.28 + 0.74 + 0.08]), 0.01)
    assert float(linearised(height, joints, torch.zeros(1, 1, 3)).residual.abs().max()) < 1e-4
    scale = KnownLengths.of_scale(torch.tensor([float(lengths.sum()) + 0.02]), 0.01)
    assert float(linearised(scale, joints, torch.zeros(1, 1, 3)).residual) == pytest.approx(2.0, abs=1e-3)


def test_a_mean_of_poses_has_shorter_bones_than_the_poses():
    """A bone of 0.4 m in any direction: the mean of its ends' vectors is zero, and yet nothing is to be mended."""
    block = 0.4**2 / 3 * torch.eye(3)
    covariance = torch.zeros(17, 3, 17, 3)
    covariance[J("RKnee"), :, J("RKnee")] = block
    lengths = torch.full((1, 16), torch.nan)
    lengths[0, [child for _, child in BONES].index(J("RKnee"))] = 0.4
    seen = linearised(
        KnownLengths.of_bones(lengths), torch.zeros(1, 1, 17, 3), torch.zeros(1, 1, 3), covariance.reshape(51, 51)
    )
    assert float(seen.residual.abs().max()) < 1e-3


def test_a_depth_image_is_read_at_the_joints_and_its_holes_are_not(people):
    image = wall(3.5)
    pixels = CAMERA.project(people[:1])[0].round().long()
    wrist = pixels[J("LWrist")]
    image[wrist[1], wrist[0]] = 0.0
    image[pixels[J("HeadTop")][1], pixels[J("HeadTop")][0]] = torch.nan
    y = DepthImage(image, CAMERA, 1, noise=1e-6, surface_std_m=0.5, outlier=1e-6)
    seen = linearised(y, root_relative(people[:1])[:, None], people[:1, None, 0])
    expected = (3.5 + JOINT_RADIUS_M - people[0, :, 2]) / 0.5
    same = [i for i in range(17) if all((pixels[i] != pixels[k]).any() for k in (J("LWrist"), J("HeadTop")))]
    torch.testing.assert_close(seen.residual[0, 0, same], expected[same], atol=1e-4, rtol=0)
    assert seen.residual[0, 0, J("LWrist")] == 0
    assert (seen.jacobian[0, 0, J("HeadTop")] == 0).all()


def test_pixels_that_err_by_themselves_are_averaged_over_the_joint(people):
    root = people[:1, None, 0]
    pose = root_relative(people[:1])[:, None]
    generator = torch.Generator().manual_seed(0)
    image = wall(float(people[0, J("LWrist"), 2])) + 0.02 * torch.randn(480, 640, generator=generator)
    u, v = CAMERA.project(people[0, J("LWrist")]).round().long().tolist()
    # The wrist's surface is 5 cm wide at either side, 8 pixels: all 25 count, but for the hole and the wall behind.
    image[v - 1, u - 2], image[v, u + 1] = torch.nan, 8.0
    known = [image[v + i, u + k] for i in range(-2, 3) for k in range(-2, 3) if (i, k) not in ((-1, -2), (0, 1))]
    y, coarse = (DepthImage(image, CAMERA, 1, 0.02, 0.01, 1e-6, noise_width_px=width) for width in (1.0, 5.0))
    mean = float(torch.stack(known).mean())
    for seen, share in ((linearised(y, pose, root), 23), (linearised(coarse, pose, root), 1)):
        sd = ((0.02 * mean) ** 2 / share + 0.01**2) ** 0.5
        expected = (mean + float(JOINT_RADIUS_M[J("LWrist")]) - float(people[0, J("LWrist"), 2])) / sd
        assert float(seen.residual[0, 0, J("LWrist")]) == pytest.approx(expected, abs=1e-3)
        assert float(seen.jacobian[0, 0, J("LWrist")].norm()) == pytest.approx(1 / sd, rel=1e-4)


def test_a_patch_at_the_edge_of_a_depth_image_is_what_lies_inside():
    image = wall(3.0)
    image[:3, :3] = torch.arange(9.0).reshape(3, 3) * 0.01 + 3.0
    root = torch.tensor([*CAMERA.unproject(torch.zeros(2)).tolist(), 1.0]) * (3.04 + float(JOINT_RADIUS_M[0]))
    y = DepthImage(image, CAMERA, 1, noise=0.02, surface_std_m=0.01, outlier=1e-6, noise_width_px=1.0)
    seen = linearised(y, torch.zeros(1, 1, 17, 3), root[None, None])
    sd = ((0.02 * 3.04) ** 2 / 9 + 0.01**2) ** 0.5
    assert float(seen.jacobian[0, 0, 0].norm()) == pytest.approx(1 / sd, rel=1e-4)


def test_a_wall_behind_the_person_does_not_pull_them(prior, people):
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=8))
    body = wall(8.0)
    for person in people[:1]:
        for x, y in CAMERA.project(person).round().long().tolist():
            body[y - 12 : y + 12, x - 12 : x + 12] = float(person[:, 2].mean()) - 0.1
    post = estimator.infer(
        [seen_by(people[:1]), DepthImage(body, CAMERA, 1)], 40, torch.Generator().manual_seed(0)
    )  # fmt: skip
    assert (post.joints[0, :, 0, 2] < 5.0).all()
    alone = estimator.infer([seen_by(people[:1])], 40, torch.Generator().manual_seed(0))
    error = [float((p.mean[0, 0, 2] - people[0, 0, 2]).abs()) for p in (post, alone)]
    assert error[0] < 0.12


def test_a_second_camera_makes_depth_as_sure_as_width(prior, people):
    estimator = PoseEstimator(prior, sampler=FUSED)
    one, two = (
        estimator.infer(observed, 60, torch.Generator().manual_seed(0))
        for observed in ([seen_by(people)], [seen_by(people), seen_by(people, SIDE)])
    )
    assert (two.mean[:, 0] - people[:, 0]).norm(dim=-1).max() < 0.05
    spread = [p.joints[:, :, 0, 2].std(1) for p in (one, two)]
    assert (spread[1] < 0.2 * spread[0]).all()


def test_a_camera_that_does_not_see_the_person_changes_nothing_and_does_not_pull_them_before_it(prior, people):
    """The second camera looks the other way: the person is behind it."""
    away = from_the_side(180.0, (0.0, 0.0, 0.0))
    blind = seen_by(people, away)
    blind.heatmaps.visibility[:] = 0
    blind = HeatmapLikelihood(blind.heatmaps, CAMERA, away)
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=6))
    alone, beside, before = (
        estimator.infer(observed, 8, torch.Generator().manual_seed(1))
        for observed in ([seen_by(people)], [seen_by(people), blind], [blind, seen_by(people)])
    )
    torch.testing.assert_close(beside.joints, alone.joints, atol=2e-3, rtol=0)
    assert (before.mean - people).norm(dim=-1).mean() < 0.6


@pytest.mark.parametrize("pose", [None, torch.eye(3, 4)], ids=["reference", "the same with a pose"])
def test_who_is_behind_the_reference_camera_is_found_by_another(prior, pose):
    """A robot with a camera to the front, whose frame is the reference, and one to the rear."""
    joints = prior.sample(1, torch.Generator().manual_seed(5)) + torch.tensor([0.2, 0.0, -4.0])
    rear = torch.cat([torch.diag(torch.tensor([-1.0, 1.0, -1.0])), torch.zeros(3, 1)], 1)
    turned = joints @ rear[:, :3].T
    seen = Heatmaps.from_keypoints(
        CAMERA.project(turned), 4 * torch.eye(2).expand(1, 17, 2, 2), torch.ones(1, 17), H36M17
    )
    blind = Heatmaps.from_keypoints(
        torch.zeros(1, 17, 2), 4 * torch.eye(2).expand(1, 17, 2, 2), torch.zeros(1, 17), H36M17
    )
    likelihoods = [HeatmapLikelihood(blind, CAMERA, pose), HeatmapLikelihood(seen, CAMERA, rear)]
    found = PoseEstimator(prior).infer(likelihoods, 30, torch.Generator().manual_seed(0))
    assert (found.mean - joints).norm(dim=-1).mean() < 1  # as far as one view tells
    assert (found.joints[..., 0, 2] < -2).all()


@pytest.mark.parametrize("with_depth", [False, True])
def test_an_unseen_keypoint_that_no_ray_of_the_lens_reaches_says_nothing(prior, with_depth):
    """Detectors write 0, 0 for what they do not see; there the lens's formula cannot be undone."""
    camera = Camera(500.0, 500.0, 320.0, 240.0, 640, 480, (-0.35, 0.0, 0.0, 0.0))
    assert not torch.isfinite(camera.unproject(torch.zeros(2))).all()
    joints = prior.sample(1, torch.Generator().manual_seed(6)) + torch.tensor([0.0, 0.0, 2.5])
    pixels, visibility = camera.project(joints), torch.ones(1, 17)
    pixels[:, J("LWrist")], visibility[:, J("LWrist")] = 0.0, 0.0
    seen = Heatmaps.from_keypoints(pixels, 4 * torch.eye(2).expand(1, 17, 2, 2), visibility, H36M17)
    likelihoods: list[Likelihood] = [HeatmapLikelihood(seen, camera)]
    if with_depth:
        likelihoods.append(JointDepth(joints[..., 2], 0.03))
    found = PoseEstimator(prior).infer(likelihoods, 30, torch.Generator().manual_seed(0))
    assert abs(float(found.mean[0, 0, 2]) - 2.5) < 0.4


def test_a_depth_alone_says_how_far_somebody_is(prior):
    """No joint is observed by it, and yet the person has a place."""
    found = PoseEstimator(prior).infer(
        [JointDepth(torch.full((1, 17), 3.0), 0.03)], 50, torch.Generator().manual_seed(0)
    )
    depth_m = found.joints[0, :, 0, 2]
    assert abs(float(depth_m.mean()) - 3) < 0.1
    assert float(depth_m.std()) < 0.2
    assert (found.status == MISSING).all()


def test_what_is_said_of_unknown_entries_does_not_count(people):
    known = torch.zeros(2, 17, dtype=torch.bool)
    known[:, :3] = True
    std = torch.where(known, 0.02, torch.nan)
    covariance = torch.where(known[..., None, None], 0.0004 * torch.eye(3), torch.inf)
    depth = torch.where(known, people[..., 2], torch.nan)
    lengths = torch.full((2, len(BONES)), torch.nan)
    lengths[:, 0] = 0.2
    for one, other in (
        (KnownJoints(people, known, std), KnownJoints(people, known, 0.02)),
        (KnownJoints.of_covariance(people, known, covariance), KnownJoints(people, known, 0.02)),
        (JointDepth(depth, std), JointDepth(depth, 0.02)),
        (KnownLengths.of_bones(lengths, torch.where(lengths.isnan(), 0.0, 0.01)), KnownLengths.of_bones(lengths, 0.01)),
    ):
        torch.testing.assert_close(
            one.log_density(people[:, None], NOTHING), other.log_density(people[:, None], NOTHING)
        )


def test_agreement_tells_one_person_from_two_and_a_right_calibration_from_a_wrong_one(prior):
    estimator = PoseEstimator(prior)
    people = prior.sample(12, torch.Generator().manual_seed(6)) + torch.tensor([0.0, 0.0, 4.0])
    first = seen_by(people)
    same = estimator.agreement([first, seen_by(people, SIDE)])
    other = estimator.agreement([first, seen_by(people.roll(1, 0), SIDE)])
    rotation = SIDE[:, :3].T
    swapped = torch.cat([rotation, -rotation @ SIDE[:, 3:]], 1)
    wrong = estimator.agreement([first, HeatmapLikelihood(seen_by(people, SIDE).heatmaps, CAMERA, swapped)])
    assert (same > 0).all()
    assert (same[:, None] > other[None]).float().mean() > 0.95
    assert (same[:, None] > wrong[None]).float().mean() > 0.95


def test_evidence_of_a_gaussian_prior_is_exact():
    mix = torch.randn(51, 51, generator=torch.Generator().manual_seed(5)) / 51**0.5
    mix[:3] = 0
    prior = GaussianPrior(torch.zeros(51), mix @ mix.T, 0.28)
    known = torch.zeros(3, 17, dtype=torch.bool)
    known[:, [2, 5, 9]] = True
    joints = 0.3 * torch.randn(3, 17, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor([0.0, 0.0, 4.0])
    std_m = 0.2
    rows = known[0].repeat_interleave(3)
    each = torch.eye(3).repeat(17, 1)
    covariance = prior.unit_m**2 * prior.spread + each @ torch.diag(torch.tensor(ROOT_SD_M) ** 2) @ each.T
    covariance = (covariance + std_m**2 * torch.eye(51))[rows][:, rows].double()
    off = joints.flatten(1)[:, rows].double() - torch.tensor(ROOT_MEAN_M).repeat(3).double()
    gauss = torch.distributions.MultivariateNormal(torch.zeros(9).double(), covariance)
    # relative to a pose that explains the nine numbers exactly
    expected = gauss.log_prob(off) + 9 * math.log(std_m * math.sqrt(2 * math.pi))
    found = Evidence(prior, components=3000, sigma=3.0).log([KnownJoints(joints, known, std_m)])
    torch.testing.assert_close(found.double(), expected, atol=0.15, rtol=0)


def test_poses_are_generated_under_a_bound(prior):
    hands_up = [LinearConstraint.above(wrist, "HeadTop") for wrist in ("LWrist", "RWrist")]
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=10))
    poses = estimator.generate(20, hands_up, torch.Generator().manual_seed(0))
    assert poses.shape == (20, 17, 3)
    assert (poses[:, 0] == 0).all()
    assert (poses[:, [J("LWrist"), J("RWrist")], 1] < poses[:, J("HeadTop"), None, 1] + 0.05).float().mean() > 0.95
    free = estimator.generate(20, generator=torch.Generator().manual_seed(0))
    assert (free[:, J("LWrist"), 1] < free[:, J("HeadTop"), 1]).float().mean() < 0.5


def test_the_ground_stops_feet_from_sinking(prior, people):
    level = float(people[:, [J("LAnkle"), J("RAnkle")], 1].max()) + ANKLE_M
    standing = people[:1] + torch.tensor([0.0, level - float(people[0, :, 1].max()) - ANKLE_M, 0.0])
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=10))
    without, on_ground = (
        estimator.infer(observed, 60, torch.Generator().manual_seed(0))
        for observed in ([seen_by(standing)], [seen_by(standing), GroundPlane.below_camera(level, 1)])
    )
    assert on_ground.joints[0, :, 0, 2].std() < 0.6 * without.joints[0, :, 0, 2].std()
    assert (on_ground.joints[0, ..., 1] < level + 0.15).all()


def test_hidden_joints_go_where_the_camera_does_not_look(prior):
    """Of a person cut by the image's lower border the ankles cannot lie in the picture."""
    person = prior.sample(1, torch.Generator().manual_seed(6)) + torch.tensor([0.0, 0.3, 1.6])
    hidden = ~((CAMERA.project(person) < 479).all(-1))
    assert hidden[0, J("LAnkle")]
    assert not hidden[0, J("Thorax")]
    likelihood = seen_by(person)
    likelihood.heatmaps.visibility[hidden] = 0
    heat = HeatmapLikelihood(likelihood.heatmaps, CAMERA)
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=10))
    without, told = (
        estimator.infer(observed, 100, torch.Generator().manual_seed(0))
        for observed in ([heat], [heat, HiddenJoints(hidden, CAMERA, missed=1e-3)])
    )

    def in_view(post: PosePosterior) -> float:
        pixels = CAMERA.project(post.joints)[0][:, hidden[0]]
        return float(((pixels >= 0).all(-1) & (pixels[..., 1] < 479) & (pixels[..., 0] < 639)).float().mean())

    assert in_view(told) < 0.6 * in_view(without) + 0.01


def bad(match: str, build: Callable[[], object]):
    return pytest.param(build, match, id=match[:40])


@pytest.mark.parametrize(
    ("build", "match"),
    [
        bad("camera_from_reference must have shape 3x4", lambda: HeatmapLikelihood(
            seen_by(torch.ones(1, 17, 3)).heatmaps, CAMERA, torch.eye(3))),
        bad("camera_from_reference must hold a rotation", lambda: JointDepth(torch.ones(1, 17), 0.1, 2 * SIDE)),
        bad("covariance_m2 must be positive definite, got .* of joint 0 of person 0", lambda: KnownJoints.of_covariance(
            torch.ones(2, 17, 3), ALL, -SLANTED)),
        bad("covariance_m2 must be symmetric", lambda: KnownJoints.of_covariance(
            torch.ones(2, 17, 3), ALL, SLANTED + torch.ones(3, 3).triu(1))),
        bad("covariance_m2 must be finite", lambda: KnownJoints.of_covariance(
            torch.ones(2, 17, 3), ALL, torch.nan * SLANTED)),
        bad("lengths_m must have shape \\*x16", lambda: KnownLengths.of_bones(torch.ones(1, 17))),
        bad("lengths_m must be metres above 0, at most 20, got -1", lambda: KnownLengths.of_bones(-torch.ones(1, 16))),
        bad("height_m must have shape \\*", lambda: KnownLengths.of_height(torch.ones(1, 1))),
        bad("height_m must be metres above 0.08, at most 20, got 178", lambda: KnownLengths.of_height(
            torch.tensor([178.0]))),
        bad("height_m must be metres above 0.08, at most 20, got 0.05", lambda: KnownLengths.of_height(
            torch.tensor([torch.nan, 0.05]))),
        bad("depth_m must be metres above 0, at most 200, got 2900", lambda: JointDepth(
            torch.full((1, 17), 2900.0), 0.1)),
        bad("depth_m must be metres, but its least reading is 2900", lambda: DepthImage(1000 * wall(2.9), CAMERA, 1)),
        bad("up must be a unit vector, got one of length 3", lambda: LinearConstraint.above(
            "LWrist", "HeadTop", up=(0.0, -3.0, 0.0))),
        bad("std must be one number or have shape", lambda: KnownJoints(
            torch.ones(2, 17, 3), ALL, torch.ones(3))),
        bad("joints must be metres, at most 5 apart, got 1000 of person 1", lambda: KnownJoints(
            torch.linspace(0, 1, 17)[:, None] * torch.tensor([1.0, 1000.0])[:, None, None] * torch.ones(3), ALL, 0.1)),
        bad("not finite where known is true, at index \\(0, 0, 0\\): nan", lambda: KnownJoints(
            torch.full((2, 17, 3), torch.nan), ALL, 0.1)),
        bad("std must be positive and finite, got inf", lambda: KnownJoints(
            torch.ones(2, 17, 3), ALL, torch.tensor(torch.inf))),
        bad("std must be positive and finite, got 0", lambda: KnownJoints(torch.ones(2, 17, 3), ALL, 0.0)),
        bad("std_m must be positive and finite, got 0", lambda: KnownLengths.of_height(torch.ones(1), 0.0)),
        bad("std_m must be one number or have shape", lambda: JointDepth(torch.ones(1, 17), torch.ones(3))),
        bad("depth_m must be metres above 0, at most 200, got 0", lambda: JointDepth(torch.zeros(1, 17), 0.1)),
        bad("depth_m holds a value that is not finite", lambda: JointDepth(torch.full((1, 17), torch.inf), 0.1)),
        bad("outlier must lie between 0 and 1, got 1", lambda: JointDepth(torch.ones(1, 17), 0.1, outlier=1.0)),
        bad("depth_m must have shape 480x640", lambda: DepthImage(torch.ones(4, 4), CAMERA, 1)),
        bad("depth_m must not be negative", lambda: DepthImage(-wall(), CAMERA, 1)),
        bad("noise must be positive", lambda: DepthImage(wall(), CAMERA, 1, noise=0.0)),
        bad("noise_width_px must be .* at least 1, got 0.5", lambda: DepthImage(wall(), CAMERA, 1, noise_width_px=0.5)),
        bad("H36M17 has no joint 'Tail'", lambda: LinearConstraint.above("Tail", "HeadTop")),
        bad("joint and other must differ", lambda: LinearConstraint.above("HeadTop", "HeadTop")),
        bad("at_least_m must have shape 1", lambda: LinearConstraint(torch.ones(1, 17, 3), torch.ones(2))),
        bad("the normal of plane must be a unit vector", lambda: GroundPlane(torch.ones(4), 1)),
        bad("standing must lie between 0 and 1", lambda: GroundPlane.below_camera(1.5, 1, standing=1.0)),
        bad("elapsed_s must be positive and finite, got 0", lambda: PreviousPosterior(
            a_moment_ago(torch.ones(1, 17, 3)), 0.0)),
        bad("hidden must be bool", lambda: HiddenJoints(torch.ones(1, 17), CAMERA)),
        bad("mask must be bool of shape 480x640", lambda: HiddenJoints(ALL, CAMERA, torch.ones(4, 4).bool())),
        bad("missed must lie between 0 and 1", lambda: HiddenJoints(ALL, CAMERA, missed=0.0)),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_likelihoods_of_different_people_are_refused_with_what_they_are(prior, people):
    with pytest.raises(ValueError, match=r"same persons, got counts \[1, 2\].*heatmaps of.*ground"):
        PoseEstimator(prior).infer([seen_by(people), GroundPlane.below_camera(1.5, 1)])
    with pytest.raises(ValueError, match="likelihoods must observe one person, got 2"):
        PoseEstimator(prior).generate(3, [seen_by(people)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@each_kind
def test_the_gpu_gives_the_same_density_and_evidence(kind, prior, people):
    y = KINDS[kind](people, 1.0)
    joints = people[:, None] + 0.02 * torch.randn(2, 5, 17, 3, generator=torch.Generator().manual_seed(2))
    density = y.log_density(joints, NOTHING)
    on_gpu = y.to(torch.device("cuda")).log_density(joints.cuda(), NOTHING.cuda()).cpu()
    torch.testing.assert_close(on_gpu, density, atol=1e-2, rtol=1e-3)
    observed = [seen_by(people), y]
    cpu, gpu = (PoseEstimator(prior, device=d).log_evidence(observed).cpu() for d in ("cpu", "cuda"))
    torch.testing.assert_close(gpu, cpu, atol=5.0, rtol=0.05)  # modes and components are drawn by other generators
