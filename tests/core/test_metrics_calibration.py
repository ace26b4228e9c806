# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffpose_core.metrics import (
    bootstrap_interval,
    chi_square_from_uniform,
    coverage,
    covered,
    expected_calibration_error,
    inside_by_distance,
    rank_histogram,
    ranks,
)
from diffpose_core.metrics.calibration import CURVE


def leave_one_out(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every value in turn as the truth [n], the others as its samples [n, n - 1]."""
    n = len(values)
    return values.expand(n, n)[~torch.eye(n, dtype=torch.bool)].reshape(n, n - 1), values


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_exchangeable_values_are_covered_and_ranked_exactly(seed, tail):
    """Of 20 distinct values each the truth once: all ranks occur once, the share inside is the level itself."""
    values = torch.tensor(np.random.default_rng(seed).standard_cauchy(20))
    samples, truth = leave_one_out(values)
    level = 1 - 2 * tail / 20
    # Bounds are order statistics of the samples, up to rounding; no value comes near a bound that is not its own.
    assert int(covered(samples, truth, level).sum()) == 20 - 2 * tail
    assert sorted(ranks(samples, truth).tolist()) == list(range(20))
    assert rank_histogram(ranks(samples, truth), 19, 5).tolist() == [4] * 5


@pytest.mark.parametrize("level", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_central_intervals_are_numpys_weibull_quantiles(level):
    rng = np.random.default_rng(0)
    samples, truth = rng.normal(size=(500, 23)), rng.normal(size=500)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=1, method="weibull")
    ours = covered(torch.tensor(samples), torch.tensor(truth), level)
    np.testing.assert_array_equal(ours.numpy(), (low <= truth) & (truth <= high))


@pytest.mark.parametrize("centre", ["median", "mean"])
def test_calibration_curve_agrees_with_numpy(centre):
    rng = np.random.default_rng(1)
    samples, truth = rng.normal(size=(200, 21, 4, 3)), rng.normal(size=(200, 4, 3))
    middle = {"median": np.median, "mean": np.mean}[centre](samples, axis=1)
    spread = np.linalg.norm(samples - middle[:, None], axis=-1)
    error = np.linalg.norm(truth - middle, axis=-1)
    expected = error[..., None] <= np.moveaxis(np.quantile(spread, CURVE, axis=1, method="weibull"), 0, -1)
    inside = inside_by_distance(torch.tensor(samples), torch.tensor(truth), centre=centre)
    assert (inside.numpy() == expected).mean() > 0.9999
    error_by_joint = np.abs(expected.mean(0) - np.array(CURVE)).mean(-1)
    np.testing.assert_allclose(expected_calibration_error(inside).numpy(), error_by_joint, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_calibration_does_not_depend_on_the_order_of_hypotheses_nor_on_place_and_scale(seed):
    rng = np.random.default_rng(seed)
    samples, truth = torch.tensor(rng.normal(size=(6, 20, 4, 3))), torch.tensor(rng.normal(size=(6, 4, 3)))
    shuffled = samples[:, torch.tensor(rng.permutation(20))]
    scale, shift = float(rng.uniform(0.1, 10)), torch.tensor(rng.normal(size=3))
    for centre in ("median", "mean"):
        inside = inside_by_distance(samples, truth, centre=centre)
        assert torch.equal(inside_by_distance(shuffled, truth, centre=centre), inside)
        assert torch.equal(inside_by_distance(scale * samples + shift, scale * truth + shift, centre=centre), inside)
    assert torch.equal(coverage(shuffled, truth, (0.5, 0.9)), coverage(samples, truth, (0.5, 0.9)))
    assert torch.equal(ranks(-samples.movedim(1, -1), -truth), 20 - ranks(shuffled.movedim(1, -1), truth))


def test_calibration_about_the_mean_does_not_depend_on_the_view():
    """The coordinate-wise median turns with the axes only roughly, the mean exactly."""
    rng = np.random.default_rng(2)
    samples, truth = torch.tensor(rng.normal(size=(40, 20, 4, 3))), torch.tensor(rng.normal(size=(40, 4, 3)))
    turn = torch.tensor(stats.special_ortho_group(3, seed=3).rvs())
    before, after = (
        inside_by_distance(s, t, centre="mean") for s, t in ((samples, truth), (samples @ turn, truth @ turn))
    )
    assert torch.equal(before, after)
    assert 0.2 < before.float().mean() < 0.8


def test_coverage_by_hand():
    """Samples 1 to 9 at every coordinate: the 50 % interval is 2.5 to 7.5, the 80 % interval 1 to 9."""
    samples = torch.arange(1.0, 10.0)[None, :, None, None].expand(2, 9, 3, 3)
    truth = torch.tensor([[[5.0, 8.0, 0.0], [2.6, 5.0, 5.0], [7.6, 9.5, 5.0]]] * 2)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    everything = [[2 / 3, 1 / 3, 2 / 3], [1.0, 2 / 3, 2 / 3]]
    torch.testing.assert_close(coverage(samples, truth, (0.5, 0.8)), torch.tensor([everything] * 2))
    masked = coverage(samples, truth, (0.5, 0.8), mask)
    torch.testing.assert_close(masked[0], torch.tensor([[1.0, 0.5, 0.5], [1.0, 1.0, 0.5]]))
    assert masked[1].isnan().all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_masked_coverages_make_up_the_whole(seed):
    g = torch.Generator().manual_seed(seed)
    samples, truth = torch.randn(5, 10, 7, 3, generator=g), torch.randn(5, 7, 3, generator=g)
    seen = torch.rand(5, 7, generator=g) < 0.5
    parts = [
        coverage(samples, truth, (0.5, 0.8), mask).nan_to_num() * mask.sum(-1)[:, None, None] for mask in (seen, ~seen)
    ]
    torch.testing.assert_close(sum(parts) / 7, coverage(samples, truth, (0.5, 0.8)))


def test_rank_histogram_by_hand_and_its_statistic_as_in_scipy():
    counts = rank_histogram(torch.tensor([0, 1, 1, 2, 5]), 5, 3)
    assert counts.tolist() == [3, 1, 1]
    assert float(chi_square_from_uniform(counts)) == pytest.approx((16 + 4 + 4) / 9 / (5 / 3))
    drawn = torch.randint(0, 20, (400,), generator=torch.Generator().manual_seed(0))
    counts = rank_histogram(drawn, 19, 10)
    np.testing.assert_array_equal(counts.numpy(), np.histogram(drawn.numpy(), bins=np.arange(0, 21, 2))[0])
    assert float(chi_square_from_uniform(counts)) == pytest.approx(stats.chisquare(counts.numpy()).statistic)


@pytest.mark.parametrize(("spread", "shape"), [(0.5, "raised ends"), (1.0, "flat"), (2.0, "raised middle")])
def test_rank_histogram_shows_the_spread(spread, shape):
    g = torch.Generator().manual_seed(1)
    rank = ranks(spread * torch.randn(4000, 19, generator=g), torch.randn(4000, generator=g))
    counts = rank_histogram(rank, 19, 10)
    flat = float(chi_square_from_uniform(counts)) < stats.chi2(9).ppf(0.999)
    ends, middle = int(counts[0] + counts[-1]), int(counts[4] + counts[5])
    assert shape == ("flat" if flat else "raised ends" if ends > middle else "raised middle")


@pytest.mark.parametrize("size", [10, 200])
def test_bootstrap_agrees_with_scipy(size):
    values = np.random.default_rng(0).exponential(size=size)
    low, high = bootstrap_interval(torch.tensor(values), torch.Generator().manual_seed(0), 0.9, 20_000)
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert float(low) == pytest.approx(expected.low, abs=0.03 * width)
    assert float(high) == pytest.approx(expected.high, abs=0.03 * width)


def test_bootstrap_of_two_values_by_hand():
    """Means of two draws from 0 and 1 are 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4."""
    values = torch.tensor([0.0, 1.0])
    for level, expected in ((0.4, (0.5, 0.5)), (0.6, (0.0, 1.0))):
        limits = bootstrap_interval(values, torch.Generator().manual_seed(0), level, 4000)
        assert tuple(float(v) for v in limits) == expected


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-10, 10))
def test_bootstrap_moves_with_the_values_and_treats_columns_apart(seed, scale, shift):
    values = torch.tensor(np.random.default_rng(seed).normal(size=(12, 2, 3)))

    def interval(v):
        return torch.stack(bootstrap_interval(v, torch.Generator().manual_seed(7), draws=200))

    limits = interval(values)
    assert limits.shape == (2, 2, 3)
    torch.testing.assert_close(interval(scale * values + shift), scale * limits + shift)
    torch.testing.assert_close(interval(values[:, 1, 2]), limits[:, 1, 2])
    assert (limits[0] < values.mean(0)).all()
    assert (values.mean(0) < limits[1]).all()


def test_bootstrap_intervals_hold_the_true_mean_as_often_as_they_say():
    g = torch.Generator().manual_seed(0)
    low, high = bootstrap_interval(torch.randn(100, 2000, generator=g), g, 0.9, 400)
    assert float(((low <= 0) & (high >= 0)).float().mean()) == pytest.approx(0.9, abs=0.03)


def test_bad_arguments_are_named():
    samples, truth = torch.zeros(2, 5, 4, 3), torch.zeros(2, 4, 3)
    g = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=r"levels must lie in 0\.\.1, got 50"):
        covered(torch.zeros(5), torch.tensor(0.0), 50)
    with pytest.raises(ValueError, match=r"levels must lie in 0\.\.1, got -0\.1"):
        coverage(samples, truth, (0.5, -0.1))
    with pytest.raises(ValueError, match=r"levels must lie in 0\.\.1, got nan"):
        inside_by_distance(samples, truth, (float("nan"),))
    with pytest.raises(ValueError, match="samples must hold at least 2 hypotheses, got 1"):
        inside_by_distance(samples[:, :1], truth)
    with pytest.raises(ValueError, match="levels must be 3, as inside has, got 19"):
        expected_calibration_error(inside_by_distance(samples, truth, (0.1, 0.2, 0.3)))
    with pytest.raises(ValueError, match=r"rank must hold numbers of 0\.\.5, got \[6\]"):
        rank_histogram(torch.tensor([6]), 5, 3)
    with pytest.raises(ValueError, match="bins must divide 6, the number of possible ranks, got 4"):
        rank_histogram(torch.tensor([1]), 5, 4)
    with pytest.raises(ValueError, match=r"counts must hold 2 bins or more and not be empty, got \[0, 0\]"):
        chi_square_from_uniform(torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="values must hold at least 2 persons, got 1"):
        bootstrap_interval(torch.zeros(1), g)
    with pytest.raises(ValueError, match="values must be finite, got 1 that are not"):
        bootstrap_interval(torch.tensor([1.0, torch.nan]), g)
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        bootstrap_interval(torch.zeros(3), g, 95)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        bootstrap_interval(torch.zeros(3), g, draws=0)
