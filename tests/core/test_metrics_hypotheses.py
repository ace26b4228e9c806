# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import mahalanobis

from diffpose_core import H36M17
from diffpose_core.metrics import (
    bone_asymmetry,
    bone_length_error,
    bone_lengths,
    energy_distance,
    energy_score,
    residual_in_sigma,
    weighted_mode,
)


def test_energy_distance_agrees_with_scipy_and_is_unbiased():
    """scipy has the square root of the biased form, which counts each sample's zero distance to itself."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=40), rng.normal(1.0, 2.0, size=30)
    within = [np.abs(v[:, None] - v[None]).mean() / (len(v) - 1) for v in (a, b)]
    expected = stats.energy_distance(a, b) ** 2 - sum(within)
    found = energy_distance(torch.tensor(a)[:, None], torch.tensor(b)[:, None])
    assert float(found) == pytest.approx(expected, rel=1e-9)
    same = energy_distance(torch.tensor(rng.normal(size=(400, 20, 5))), torch.tensor(rng.normal(size=(400, 20, 5))))
    assert abs(float(same.mean())) < 4 * float(same.std()) / 20
    with pytest.raises(ValueError, match="b must hold at least 2 samples, got 1"):
        energy_distance(torch.zeros(2, 3), torch.zeros(1, 3))


def test_energy_score_agrees_with_sums_over_pairs():
    rng = np.random.default_rng(0)
    samples, truth = rng.normal(size=(7, 12, 3)), rng.normal(size=(7, 3))
    expected = []
    for x, y in zip(samples, truth, strict=True):
        pairs = [np.linalg.norm(x[i] - x[j]) for i in range(12) for j in range(12) if i != j]
        expected.append(np.mean([np.linalg.norm(v - y) for v in x]) - np.mean(pairs) / 2)
    np.testing.assert_allclose(energy_score(torch.tensor(samples), torch.tensor(truth)).numpy(), expected, atol=1e-12)
    with pytest.raises(ValueError, match="samples must hold at least 2 samples, got 1"):
        energy_score(torch.tensor(samples[:, :1]), torch.tensor(truth))


@pytest.mark.parametrize("seed", range(8))
def test_the_mode_agrees_with_scipys_kernel_density_on_a_line(seed):
    """Poses that differ by a shift of all joints lie on a line: kernels there are scipy's, at our bandwidth."""
    rng = np.random.default_rng(seed)
    at, weight = np.sort(rng.normal(size=30)), rng.dirichlet(np.full(30, 0.3))
    apart = np.sort(np.abs(at[:, None] - at), axis=1)[:, 6]
    bandwidth = np.sort(apart)[14]  # ceil(sqrt(30)) = 6; torch takes the lower middle
    density = stats.gaussian_kde(at, bw_method=1.0, weights=weight)
    density.set_bandwidth(bandwidth / float(np.sqrt(np.cov(at, aweights=weight))))
    samples = torch.zeros(1, 30, 17, 3, dtype=torch.float64)
    samples[0, :, :, 2] = torch.tensor(at)[:, None]
    mode = weighted_mode(samples, torch.tensor(weight).log()[None])
    assert float(mode[0, 0, 2]) == at[np.argmax(density(at))]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_the_mode_is_a_hypothesis_and_follows_order_and_view(seed):
    rng = np.random.default_rng(seed)
    samples = torch.tensor(rng.normal(size=(2, 9, 17, 3)))
    log_weights = torch.tensor(rng.normal(size=(2, 9))).log_softmax(-1)
    mode = weighted_mode(samples, log_weights)
    assert ((samples == mode[:, None]).all(-1).all(-1).sum(1) == 1).all()
    order = torch.tensor(rng.permutation(9))
    assert torch.equal(weighted_mode(samples[:, order], log_weights[:, order]), mode)
    turn, shift = torch.tensor(stats.special_ortho_group(3, seed=seed).rvs()), torch.tensor(rng.normal(size=3))
    torch.testing.assert_close(weighted_mode(samples @ turn + shift, log_weights), mode @ turn + shift)
    assert torch.equal(weighted_mode(samples, log_weights + 5.0), mode)


def test_a_hypothesis_alone_and_equal_ones_are_their_own_mode():
    one = torch.arange(51.0).reshape(1, 1, 17, 3)
    assert torch.equal(weighted_mode(one, torch.zeros(1, 1)), one[:, 0])
    assert torch.equal(weighted_mode(one.expand(1, 4, 17, 3), torch.zeros(1, 4)), one[:, 0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_residuals_agree_with_scipys_mahalanobis_and_survive_a_change_of_pixels(seed):
    rng = np.random.default_rng(seed)
    pixels, centre, a = rng.normal(size=(5, 2)), rng.normal(size=2), rng.normal(size=(2, 2))
    covariance = a @ a.T + 0.1 * np.eye(2)
    ours = residual_in_sigma(torch.tensor(pixels), torch.tensor(centre), torch.tensor(covariance))
    expected = [mahalanobis(p, centre, np.linalg.inv(covariance)) for p in pixels]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-8)
    by = rng.normal(size=(2, 2)) + 3 * np.eye(2)
    changed = (torch.tensor(x) for x in (pixels @ by.T, centre @ by.T, by @ covariance @ by.T))
    torch.testing.assert_close(residual_in_sigma(*changed), ours, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 5))
def test_bones_scale_with_the_body(seed, scale):
    joints = torch.tensor(np.random.default_rng(seed).normal(size=(3, 17, 3)))
    torch.testing.assert_close(bone_lengths(scale * joints), scale * bone_lengths(joints))
    torch.testing.assert_close(bone_asymmetry(scale * joints), scale * bone_asymmetry(joints))
    expected = abs(scale - 1) * bone_lengths(joints).mean(-1)
    torch.testing.assert_close(bone_length_error(scale * joints, joints), expected)


def test_six_pairs_of_bones_are_compared():
    """A longer left or right bone of a pair counts a sixth of its excess; one of the trunk counts nothing."""
    rng = np.random.default_rng(0)
    half = torch.tensor(rng.normal(size=(17, 3)))
    joints = half + half[list(H36M17.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    assert float(bone_asymmetry(joints)) == pytest.approx(0, abs=1e-12)
    for joint in (3, 6, 10, 13, 16):  # ends of limbs and the head: moving one changes one bone
        stretched = joints.clone()
        parent = H36M17.parents[joint]
        stretched[joint] += 0.6 * (joints[joint] - joints[parent]) / (joints[joint] - joints[parent]).norm()
        assert float(bone_asymmetry(stretched)) == pytest.approx(0.0 if joint == 10 else 0.1, abs=1e-12)
