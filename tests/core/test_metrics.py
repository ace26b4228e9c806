# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from diffpose_core import H36M17
from diffpose_core.metrics import (
    best_of,
    bone_asymmetry,
    bone_length_error,
    bone_lengths,
    covered,
    energy_score,
    expected_calibration_error,
    inside_by_distance,
    mpjpe,
    pa_mpjpe,
    procrustes,
    rank_deviation,
    ranks,
    residual_in_sigma,
    weighted_mode,
)


def test_mpjpe_by_hand():
    truth = torch.zeros(2, 3)
    assert float(mpjpe(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]), truth)) == pytest.approx(3.0)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_procrustes_undoes_any_similarity_and_never_mirrors(seed):
    rng = np.random.default_rng(seed)
    truth = torch.tensor(rng.normal(size=(17, 3)))
    turn = torch.tensor(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix())
    moved = rng.uniform(0.5, 2) * truth @ turn.T + torch.tensor(rng.normal(size=3))
    torch.testing.assert_close(procrustes(moved, truth), truth, atol=1e-8, rtol=0)
    assert float(pa_mpjpe(truth * torch.tensor([-1.0, 1.0, 1.0]), truth)) > 0.05


def test_procrustes_agrees_with_scipy():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(17, 3))
    b = a + 0.1 * rng.normal(size=(17, 3))
    standard_a, fitted_b, _ = scipy_procrustes(a, b)
    ours = procrustes(torch.tensor(b), torch.tensor(standard_a))
    np.testing.assert_allclose(ours.numpy(), fitted_b, atol=1e-8)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_best_of_equals_the_mean_over_all_subsets(m):
    errors = torch.tensor([4.0, 1.0, 3.0, 9.0, 2.0])
    expected = np.mean([min(c) for c in itertools.combinations(errors.tolist(), m)])
    assert float(best_of(errors, m)) == pytest.approx(expected, rel=1e-5)


def test_best_of_refuses_more_than_there_are():
    with pytest.raises(ValueError, match=r"1\.\.5"):
        best_of(torch.zeros(5), 6)


def test_energy_score_by_hand_and_in_one_dimension():
    samples = torch.tensor([[0.0], [2.0], [4.0]])
    # to truth 1: (1 + 1 + 3) / 3; between: (2 + 4 + 2) * 2 / 6
    assert float(energy_score(samples, torch.tensor([1.0]))) == pytest.approx(5 / 3 - 0.5 * 8 / 3, rel=1e-5)


def test_energy_score_prefers_the_true_distribution():
    g = torch.Generator().manual_seed(0)
    truth = torch.randn(4000, 3, generator=g)
    scores = {s: float(energy_score(s * torch.randn(4000, 50, 3, generator=g), truth).mean()) for s in (0.5, 1.0, 2.0)}
    assert scores[1.0] < min(scores[0.5], scores[2.0])


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_coverage_is_nominal_for_exchangeable_draws(level):
    g = torch.Generator().manual_seed(1)
    samples, truth = torch.randn(20_000, 50, generator=g), torch.randn(20_000, generator=g)
    assert float(covered(samples, truth, level).float().mean()) == pytest.approx(level, abs=0.012)


@pytest.mark.parametrize("centre", ["median", "mean"])
def test_calibration_error_of_exchangeable_draws_is_small_and_of_wrong_spread_is_not(centre):
    g = torch.Generator().manual_seed(2)
    truth = torch.randn(4000, 2, 3, generator=g)
    error = {}
    for spread in (0.5, 1.0, 2.0):
        inside = inside_by_distance(spread * torch.randn(4000, 50, 2, 3, generator=g), truth, centre=centre)
        error[spread] = expected_calibration_error(inside)
    assert error[1.0].max() < 0.02
    assert error[0.5].min() > 0.3
    assert error[2.0].min() > 0.3


def test_calibration_curve_by_hand():
    """Hypotheses 0 to 4 on a line: their median is 2, four of them lie within 2 of it, three within 1."""
    samples = torch.zeros(1, 5, 1, 3)
    samples[0, :, 0, 0] = torch.arange(5.0)
    for x, expected in (
        (2.0, [True, True, True]),
        (3.0, [False, True, True]),
        (3.9, [False, False, True]),
        (9.0, [False] * 3),
    ):
        truth = torch.tensor([[[x, 0.0, 0.0]]])
        # the sorted distances 0 1 1 2 2 are the quantiles at 1/6 ... 5/6
        assert inside_by_distance(samples, truth, (1 / 6, 0.5, 5 / 6))[0, 0].tolist() == expected
    with pytest.raises(ValueError, match=r"centre must be one of .* got 'mode'"):
        inside_by_distance(samples, torch.zeros(1, 1, 3), centre="mode")


def test_a_point_mass_has_the_worst_calibration_error():
    samples = torch.zeros(100, 10, 3, 3)
    inside = inside_by_distance(samples, torch.ones(100, 3, 3))
    torch.testing.assert_close(expected_calibration_error(inside), torch.full((3,), 0.5))


def test_ranks_and_their_deviation_agree_with_scipy():
    g = torch.Generator().manual_seed(3)
    samples, truth = torch.randn(2000, 19, generator=g), 0.3 + torch.randn(2000, generator=g)
    rank = ranks(samples, truth)
    expected = [
        stats.percentileofscore(s, t, "strict") * 19 / 100 for s, t in zip(samples[:50], truth[:50], strict=True)
    ]
    np.testing.assert_allclose(rank[:50].numpy(), expected, atol=1e-9)
    fair = ranks(samples[:, 1:], samples[:, 0])
    assert float(rank_deviation(fair, 18)) < stats.kstwobign.ppf(0.999) / 2000**0.5
    assert float(rank_deviation(rank, 19)) > stats.kstwobign.ppf(0.999) / 2000**0.5
    assert float(rank_deviation(torch.tensor([0, 0]), 1)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"rank must hold numbers of 0\.\.18"):
        rank_deviation(rank, 18)


def test_bones_by_hand():
    joints = torch.zeros(17, 3)
    joints[H36M17.index("LKnee"), 0] = 0.4
    joints[H36M17.index("LAnkle"), 0] = 0.7
    joints[H36M17.index("RKnee"), 1] = 0.5
    joints[H36M17.index("RAnkle"), 1] = 0.5
    lengths = dict(zip(H36M17.joints[1:], bone_lengths(joints).tolist(), strict=True))
    assert {k: round(v, 6) for k, v in lengths.items() if v} == {"RKnee": 0.5, "LKnee": 0.4, "LAnkle": 0.3}
    assert float(bone_asymmetry(joints)) == pytest.approx((0.1 + 0.3) / 6)
    assert float(bone_length_error(joints, torch.zeros(17, 3))) == pytest.approx(1.2 / 16)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_bones_do_not_change_with_the_view(seed):
    rng = np.random.default_rng(seed)
    joints = torch.tensor(rng.normal(size=(4, 17, 3)))
    turn = torch.tensor(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix())
    moved = joints @ turn.T + torch.tensor(rng.normal(size=3))
    torch.testing.assert_close(bone_lengths(moved), bone_lengths(joints))
    mirrored = (joints * torch.tensor([-1.0, 1.0, 1.0]))[:, list(H36M17.mirror)]
    torch.testing.assert_close(bone_asymmetry(mirrored), bone_asymmetry(joints))


def test_residual_in_sigma_by_hand_and_in_the_mean():
    covariance = torch.tensor([[4.0, 0.0], [0.0, 9.0]])
    distance = residual_in_sigma(torch.tensor([[2.0, 0.0], [0.0, 3.0], [2.0, 3.0]]), torch.zeros(2), covariance)
    torch.testing.assert_close(distance, torch.tensor([1.0, 1.0, 2.0**0.5]))
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal([1.0, 2.0], [[4.0, 1.0], [1.0, 2.0]], 20_000)
    squared = (
        residual_in_sigma(
            torch.tensor(drawn), torch.tensor([1.0, 2.0]).double(), torch.tensor([[4.0, 1.0], [1.0, 2.0]]).double()
        )
        ** 2
    )
    assert stats.kstest(squared.numpy(), stats.chi2(2).cdf).pvalue > 1e-3


def test_the_mode_is_where_the_weight_is():
    samples = torch.zeros(2, 6, 17, 3)
    samples[:, :4] += torch.tensor([0.0, 0.01, 0.02, 0.03])[:, None, None]
    samples[:, 4:] += 1.0
    even = torch.full((6,), 1 / 6).log()
    heavy = torch.tensor([0.05, 0.05, 0.05, 0.05, 0.4, 0.4]).log()
    mode = weighted_mode(samples, torch.stack([even, heavy]))
    assert 0 < mode[0, 0, 0] < 0.025
    assert float(mode[1, 0, 0]) == 1.0
