# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The reference posterior: exact where the truth is known, and its command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import write_motion

from diffpose_core import PosePrior
from diffpose_core.baselines import GaussianPrior
from diffpose_core.likelihood import KnownJoints
from diffpose_core.reference import ReferenceConfig, ReferenceEstimator
from diffpose_core.sampler import ROOT_MEAN_M, ROOT_SD_M

SCRIPT = Path(__file__).parents[2] / "training" / "reference.py"


def test_the_reference_draws_from_the_exact_posterior_of_a_gaussian_prior() -> None:
    """Noise to pose is affine then, and so is the observation of some joints at an unknown root."""
    generator = torch.Generator().manual_seed(0)
    mixing = 0.25 * torch.randn(51, 51, generator=generator)
    mixing[:3] = 0
    mean = torch.randn(51, generator=generator)
    mean[:3] = 0
    prior = GaussianPrior(mean, mixing @ mixing.T, 0.28)
    estimator = ReferenceEstimator(prior, "cpu", ReferenceConfig(particles=600, polish=6))
    start = estimator.decode(torch.zeros(48))
    affine = (estimator.decode(torch.eye(48)) - start).T
    # Observed: y = A z + start + T + noise, at 6 of 17 joints.
    std, known = 0.05, torch.zeros(1, 17, dtype=torch.bool)
    known[:, [1, 3, 6, 10, 13, 16]] = True
    rows = known[0].repeat_interleave(3)
    seen = (start + 0.2 * torch.randn(51, generator=generator)).reshape(1, 17, 3) + torch.tensor(ROOT_MEAN_M)
    each = torch.eye(3).repeat(17, 1)
    both = torch.cat([affine[rows], each[rows] * torch.tensor(ROOT_SD_M)], 1).double()
    precision = both.T @ both / std**2 + torch.eye(51)
    shift = seen.flatten()[rows] - start[rows] - each[rows] @ torch.tensor(ROOT_MEAN_M)
    covariance = torch.linalg.inv(precision)
    expected = covariance @ both.T @ shift.double() / std**2
    full = torch.cat([affine, torch.zeros(51, 3)], 1).double()
    truth = full @ expected + start, (full @ covariance @ full.T).diagonal().sqrt()

    post = estimator.infer([KnownJoints(seen, known, std)], 600, torch.Generator().manual_seed(1))
    drawn = (post.joints - post.joints[:, :, :1])[0].flatten(1).double()
    off = ((drawn.mean(0) - truth[0]) / truth[1])[3:]  # by chance 1 / sqrt(600) = 0.04 each if all were independent
    spread = (drawn.std(0) / truth[1])[3:]
    assert off.abs().max() < 0.15
    assert spread.min() > 0.85
    assert spread.max() < 1.1
    assert float(truth[1].max()) > 0.2  # some joints remain unknown
    root = torch.tensor(ROOT_MEAN_M) + torch.tensor(ROOT_SD_M) * expected[48:].float()
    torch.testing.assert_close(post.joints[0, :, 0].mean(0), root, atol=0.02, rtol=0)


def test_more_hypotheses_than_particles_are_refused() -> None:
    estimator = ReferenceEstimator(PosePrior.from_pretrained(), "cpu", ReferenceConfig(particles=4))
    seen = KnownJoints(torch.zeros(1, 17, 3), torch.ones(1, 17, dtype=torch.bool), 0.05)
    with pytest.raises(ValueError, match="num_hypotheses must be at most the 4 particles, got 5"):
        estimator.infer([seen], 5)


def test_the_command_compares_every_sampler_with_it(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 1, 1, 7, 9, 9), split=(0, 0, 0, 2, 2, 2))
    out = tmp_path / "reference.json"
    command = [
        sys.executable,
        str(SCRIPT),
        "--data",
        str(data),
        "--poses",
        "2",
        "--hypotheses",
        "8",
        "--json",
        str(out),
    ]
    command += ["--particles", "8", "--polish", "1", "--scenario", "two peaks"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())["figures"]
    assert list(figures)[:2] == ["reference", "reference again"]
    assert "kalman, 25 steps" in figures
    for method in figures.values():
        assert all(len(values) == 2 for key, values in method.items() if "peak" not in key)
    found, off = (figures["kalman, 25 steps"][k] for k in ("both peaks found", "share of a peak off"))
    assert len(found) == len(off) <= 4  # two joints of each of two people have two peaks
    assert all(value in (0, 1) for value in found)
    assert "energy distance" not in figures["reference"]
    again, ours = (figures[k] for k in ("reference again", "kalman, 25 steps"))
    beyond = [d - a for d, a in zip(ours["energy distance"], again["energy distance"], strict=True)]
    assert ours["beyond a second reference"] == beyond
    assert "| kalman, 25 steps |" in done.stdout
