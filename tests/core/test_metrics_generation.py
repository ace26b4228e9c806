# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from scipy.spatial import distance

from diffpose_core.metrics import frechet_distance, precision_recall_density_coverage


def test_overlap_by_hand():
    """Real 0, 1, 3 reach 1, 1, 2 far to their nearest; generated 0.5, 4, 9 reach 3.5, 3.5, 5."""
    real, generated = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [4.0], [9.0]])
    figures = precision_recall_density_coverage(real, generated, 1)
    # 0.5 lies in the balls of 0 and 1, 4 in that of 3, 9 in none; all real ones lie within 3.5 of 0.5
    assert figures == pytest.approx({"precision": 2 / 3, "recall": 1.0, "density": 1.0, "coverage": 1.0})


@pytest.mark.parametrize("k", [1, 3, 5])
def test_overlap_agrees_with_loops_over_scipys_distances(k):
    rng = np.random.default_rng(k)
    real, generated = rng.normal(size=(40, 4)), 0.3 + 0.7 * rng.normal(size=(30, 4))

    def reach(x):
        return [sorted(row)[k] for row in distance.cdist(x, x)]

    between, of_real, of_generated = distance.cdist(real, generated), reach(real), reach(generated)
    expected = {
        "precision": np.mean([any(between[i, j] <= of_real[i] for i in range(40)) for j in range(30)]),
        "recall": np.mean([any(between[i, j] <= of_generated[j] for j in range(30)) for i in range(40)]),
        "density": np.mean([sum(between[i, j] <= of_real[i] for i in range(40)) for j in range(30)]) / k,
        "coverage": np.mean([between[i].min() <= of_real[i] for i in range(40)]),
    }
    ours = precision_recall_density_coverage(torch.tensor(real), torch.tensor(generated), k)
    assert ours == pytest.approx(expected)


def test_overlap_of_equal_distributions_is_as_expected_on_average():
    """Lemma 2 of 2002.09797, and density 1: of N reals, the new one is among the k nearest with chance k / N."""
    n, m, k = 30, 20, 3
    rng = np.random.default_rng(0)
    each = [
        precision_recall_density_coverage(torch.tensor(x[:n]), torch.tensor(x[n:]), k)
        for x in rng.normal(size=(400, n + m, 5))
    ]
    expected = 1 - np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    for name, value in (("density", 1.0), ("coverage", expected)):
        values = [e[name] for e in each]
        assert np.mean(values) == pytest.approx(value, abs=4 * np.std(values) / 20)


def test_overlap_tells_lost_variety_from_strays():
    g = torch.Generator().manual_seed(0)
    real = torch.randn(300, 6, generator=g)
    narrow = precision_recall_density_coverage(real, 0.3 * torch.randn(300, 6, generator=g))
    wide = precision_recall_density_coverage(real, 3 * torch.randn(300, 6, generator=g))
    assert narrow["precision"] > 0.95
    assert narrow["recall"] < 0.2
    assert wide["precision"] < 0.2
    assert wide["recall"] > 0.95
    assert max(narrow["coverage"], wide["coverage"]) < 0.7


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_generation_figures_depend_neither_on_axes_and_place_nor_on_order(seed):
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(25, 4)), 0.5 + rng.normal(size=(20, 4))
    turn, shift = stats.ortho_group(4, seed=seed).rvs(), rng.normal(size=4)
    moved = [torch.tensor(rng.permutation(x) @ turn + shift) for x in (real, generated)]
    a, b = torch.tensor(real), torch.tensor(generated)
    assert precision_recall_density_coverage(*moved, 3) == precision_recall_density_coverage(a, b, 3)
    assert frechet_distance(*moved) == pytest.approx(frechet_distance(a, b), abs=1e-9)
    assert frechet_distance(3 * b, 3 * a) == pytest.approx(9 * frechet_distance(a, b), abs=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a + torch.tensor(shift)) == pytest.approx(float((shift**2).sum()))


def test_frechet_distance_by_hand():
    """Means 0 and 3, standard deviations 1 and 2: 9 + 1; a second, constant feature adds its square distance."""
    root = 0.5**0.5
    a, b = torch.tensor([[-root], [root]]), torch.tensor([[3 - 2 * root], [3 + 2 * root]])
    assert frechet_distance(a, b) == pytest.approx(10, rel=1e-6)
    assert frechet_distance(
        torch.cat([a, torch.zeros(2, 1)], 1), torch.cat([b, torch.full((2, 1), 2.0)], 1)
    ) == pytest.approx(14, rel=1e-6)


@pytest.mark.parametrize("size", [6, 60])
def test_frechet_distance_agrees_with_scipys_matrix_root(size):
    """Sets of 6 in 5 dimensions have covariances of full rank, if barely."""
    rng = np.random.default_rng(size)
    a, b = rng.normal(size=(size, 5)) @ rng.normal(size=(5, 5)), 1 + rng.normal(size=(2 * size, 5))
    c_a, c_b = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c_a + c_b - 2 * linalg.sqrtm(c_a @ c_b).real)
    assert frechet_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, rel=1e-6)


def test_bad_arguments_are_named():
    a = torch.zeros(6, 2)
    for neighbours in (0, 4):
        with pytest.raises(ValueError, match=rf"neighbours must lie in 1\.\.3 for sets this small, got {neighbours}"):
            precision_recall_density_coverage(a, a[:4], neighbours)
    with pytest.raises(ValueError, match="b must hold at least 2 vectors, got 1"):
        frechet_distance(a, a[:1])
