# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The pictures of docs/likelihoods.md: all are shown, and what they say is what was drawn."""

import importlib.util
from pathlib import Path

import pytest
import torch

if importlib.util.find_spec("matplotlib") is None:
    pytest.skip("matplotlib is not installed (the viz extra)", allow_module_level=True)

from diffpose_core import PosePrior
from training.likelihood_figures import ROOT_M, SEED, Picture, behind, draw, figures_cm, pictures, turned

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def person() -> torch.Tensor:
    return PosePrior.from_pretrained().sample(1, torch.Generator().manual_seed(SEED)) + torch.tensor(ROOT_M)


def test_every_picture_is_made_kept_and_shown(person):
    made = set(pictures(PosePrior.from_pretrained(), person))
    kept = {path.stem for path in (DOCS / "figures" / "likelihoods").iterdir()}
    page = (DOCS / "likelihoods.md").read_text()
    assert made == kept == {name for name in made if f"figures/likelihoods/{name}.png" in page}


def test_the_figures_are_of_the_joints_that_count():
    truth = torch.zeros(17, 3)
    poses = torch.zeros(2, 17, 3)
    poses[0, 3, 0], poses[1, 3, 0] = 0.3, 0.1
    error, spread = figures_cm(poses, truth, Picture("", [], [], lambda axes, view: None, joints=(3,)))
    assert error == pytest.approx(100 * 0.05**0.5, abs=1e-3)
    assert spread == pytest.approx(10.0, abs=1e-3)


def test_the_second_camera_sees_the_person_as_far_away():
    pose = turned(90.0)
    torch.testing.assert_close(pose[:, :3] @ torch.tensor(ROOT_M) + pose[:, 3], torch.tensor(ROOT_M))


def test_behind_a_pillar():
    joints = torch.tensor([[[0.0, 0.0, 3.0], [0.5, 0.0, 3.0], [0.5, 0.0, 30.0]]])
    assert behind(joints, (310, 330)).tolist() == [[True, False, True]]


def test_a_picture_is_small(person, tmp_path, capsys):
    picture = pictures(PosePrior.from_pretrained(), person)["linear_constraint"]
    poses = person.repeat(50, 1, 1)
    poses[:, [13, 16], 1] += 1.0  # both wrists a metre lower
    draw(picture, poses, person.expand(50, 17, 3), person[0], tmp_path / "linear.png")
    assert (tmp_path / "linear.png").stat().st_size < 60_000
    said = "linear.png: elbows and wrists: error 71 → 0 cm, wrists above the thorax in 0 → 100 %\n"
    assert capsys.readouterr().out == said
