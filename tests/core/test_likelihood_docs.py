# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The code that docs/likelihoods.md shows runs, and does what the page says of it."""

import re
from pathlib import Path

import pytest
import torch

import diffpose_core.likelihood as likelihood
from diffpose_core import H36M17
from diffpose_core.likelihood import Likelihood
from diffpose_core.metrics import root_relative

PAGE = (Path(__file__).parents[2] / "docs" / "likelihoods.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
NOTHING = torch.zeros(51, 51)


@pytest.fixture(scope="module")
def page() -> dict:
    """Names that the page defines, all its blocks having run in order."""
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "docs/likelihoods.md", "exec"), names)
    return names


def test_every_likelihood_has_an_example():
    code = "".join(BLOCKS)
    apart = {"Likelihood", "Linearised", "RootGuess"}
    assert [name for name in likelihood.__all__ if name not in apart and f"{name}(" not in code.replace(".", "(")] == []


def test_a_second_camera_finds_the_person(page):
    assert float((page["both"].mean - page["person"]).norm(dim=-1).mean()) < 0.06
    assert float((page["post"].mean - page["person"]).norm(dim=-1).mean()) < 0.08


def test_completed_legs_stay_and_hands_go_up(page):
    known = page["known"][0]
    assert float((page["completed"].mean - page["person"])[0, known].norm(dim=-1).max()) < 0.03
    wrists, head = page["poses"][:, [13, 16], 1], page["poses"][:, 10, None, 1]
    assert float((wrists < head).float().mean()) > 0.95


def test_evidence_tells_a_right_place_of_a_camera_from_a_wrong_one(page):
    agreement = page["estimator"].agreement
    assert float(agreement([page["one"], page["two"]])) > 10
    assert float(agreement([page["one"], page["swapped"]])) < 0


def test_the_page_names_the_evidence_of_forty_people(page):
    """Medians at three sharpnesses; the agreement of two views of one person, and of two people."""
    people = page["prior"].sample(40, torch.Generator().manual_seed(77)) + torch.tensor([0.0, 0.0, 3.0])
    camera, estimator, aside = page["camera"], page["estimator"], page["camera_from_reference"]

    def seen(joints: torch.Tensor, sigma_px: float, pose: torch.Tensor | None = None) -> Likelihood:
        points = joints if pose is None else joints @ pose[:, :3].T + pose[:, 3]
        noise = torch.randn(40, 17, 2, generator=torch.Generator().manual_seed(5))
        return likelihood.HeatmapLikelihood.from_keypoints(
            camera.project(points) + sigma_px * noise, sigma_px**2 * torch.eye(2).expand(40, 17, 2, 2),
            torch.ones(40, 17), camera, H36M17, pose,
        )  # fmt: skip

    medians = [float(estimator.log_evidence([seen(people, sigma)]).median()) for sigma in (12.0, 6.0, 3.0)]
    assert medians == pytest.approx([-49, -62, -80], abs=1)
    one = seen(people, 6.0)
    same = estimator.agreement([one, seen(people, 6.0, aside)])
    other = estimator.agreement([one, seen(people.roll(1, 0), 6.0, aside)])
    assert [float(v) for v in (same.min(), same.max(), other.min(), other.max())] == pytest.approx(
        [21, 42, -77, 3], abs=1
    )


def test_the_example_of_ones_own_is_a_likelihood(page):
    laser, person = page["laser"], page["person"]
    assert isinstance(laser, Likelihood)
    joints = person[:, None] + 0.05 * torch.randn(1, 4, 17, 3, generator=torch.Generator().manual_seed(0))
    seen = laser.linearise(root_relative(joints), joints[:, :, 0], NOTHING, torch.Generator())

    def residual(at: torch.Tensor) -> torch.Tensor:
        return laser.linearise(root_relative(at), at[:, :, 0], NOTHING, torch.Generator()).residual[..., 0]

    step = 1e-3 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(1))
    moved = (seen.jacobian[..., 0, :] * root_relative(step).flatten(-2)).sum(-1)
    moved = moved + (seen.root_jacobian[..., 0, :] * step[:, :, 0]).sum(-1)
    torch.testing.assert_close(residual(joints + step) - residual(joints), -moved, atol=1e-3, rtol=0.01)
    difference = seen.log_scale - 0.5 * seen.residual.square().sum(-1) - laser.log_density(joints, NOTHING)
    torch.testing.assert_close(difference, difference[:, :1].expand(1, 4), atol=1e-3, rtol=0)


def test_the_example_of_ones_own_steers(page):
    def off(post) -> torch.Tensor:
        return page["laser"]._off(post.joints)[0]

    alone = page["estimator"].infer([page["one"]], 50, torch.Generator().manual_seed(0))
    assert float(off(page["ranged"]).square().mean().sqrt()) < 0.05
    assert float(off(alone).square().mean().sqrt()) > 0.1


def test_the_example_of_ones_own_has_about_thirty_lines():
    (block,) = (b for b in BLOCKS if "class MeasuredRange" in b)
    body = block[block.index("class ") : block.index("laser = ")].splitlines()
    assert len([line for line in body if line.strip() and '"""' not in line]) <= 32
