import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from diffpose_core.metrics import best_of, covered, energy_score, mpjpe, pa_mpjpe, procrustes


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
