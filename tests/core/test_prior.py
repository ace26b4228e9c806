# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch

from diffpose_core import H36M17, PosePrior
from diffpose_core.prior import Denoiser, DenoiserConfig, karras_sigmas


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


def test_schedule_literal_values():
    sigmas = karras_sigmas(3, 0.1, 3.0)
    # middle: ((3^(1/7) + 0.1^(1/7)) / 2)^7
    assert sigmas.tolist() == pytest.approx([3.0, ((3 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7, 0.1], rel=1e-5)


def test_untrained_denoiser_is_the_preconditioned_skip():
    model = Denoiser(DenoiserConfig(width=16, blocks=1, noise_channels=8))
    x = torch.randn(5, 51)
    out = model(x, torch.full((5,), 2.0))
    torch.testing.assert_close(out[:, 3:], x[:, 3:] / 5.0)
    assert (out[:, :3] == 0).all()


def test_samples_are_human(prior):
    joints = prior.sample(200, torch.Generator().manual_seed(0))
    assert joints.shape == (200, 17, 3)
    assert (joints[:, 0] == 0).all()
    thigh = (joints[:, 2] - joints[:, 1]).norm(dim=-1)
    assert 0.33 < thigh.median() < 0.5
    left = (joints[:, 5] - joints[:, 4]).norm(dim=-1)
    assert (thigh - left).abs().median() < 0.04
    head_up = -(joints[:, H36M17.index("HeadTop"), 1])
    assert (head_up > 0).float().mean() > 0.9
    assert joints.std(0)[1:].min() > 0.01
    # The augmented training poses reach from 0.68 m above the pelvis to 0.70 m below it in the mean.
    assert float(head_up.mean()) == pytest.approx(0.68, abs=0.03)
    assert float(joints[:, [3, 6], 1].mean()) == pytest.approx(0.70, abs=0.03)


def test_same_seed_same_bits(prior):
    a, b = (prior.sample(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, prior.sample(3, torch.Generator().manual_seed(6)))


def test_covariance_grows_with_noise_and_is_interpolated(prior):
    traces = [float(prior.covariance(s).trace()) for s in (0.05, 0.1, 0.5, 1.0, 3.0)]
    assert traces == sorted(traces)
    low, middle, high = (float(prior.covariance(s).trace()) for s in (0.30, 0.31, 0.32))
    assert low < middle < high
    assert torch.linalg.eigvalsh(prior.covariance(0.31)).min() > -1e-5
