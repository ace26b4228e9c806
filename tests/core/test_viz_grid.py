# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import importlib.util
import math

import numpy as np
import pytest
import torch

from diffpose_core import H36M17, PosePosterior, PosePrior
from diffpose_core.observation import INFERRED, OBSERVED

if importlib.util.find_spec("matplotlib") is None:
    pytest.skip("matplotlib is not installed (the viz extra)", allow_module_level=True)

from matplotlib.colors import to_hex
from test_viz import STANDING, png_size

from diffpose_core import viz_grid
from diffpose_core.viz import COLORS, MAX_DRAWN


def yawed(pose: torch.Tensor, degrees: float) -> torch.Tensor:
    a = math.radians(degrees)
    turn = torch.tensor([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    return pose @ turn.T


def bones(axes) -> list[np.ndarray]:
    """Those of both views, each view in its own order; the first line is the floor."""
    return [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 2][1:]


@pytest.mark.parametrize("degrees", [0, 30, 90, 179, 250])
def test_people_are_turned_to_face_the_reader(degrees):
    turned = yawed(STANDING, degrees) @ viz_grid.facing(yawed(STANDING, degrees)).T
    torch.testing.assert_close(turned, STANDING, atol=1e-5, rtol=0)


def test_facing_is_a_rotation_about_the_vertical():
    turn = viz_grid.facing(PosePrior.from_pretrained().sample(20, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(turn @ torch.tensor([0.0, 1, 0]), torch.tensor([0.0, 1, 0]).expand(20, 3))


def test_a_person_is_seen_from_the_front_and_from_the_left(tmp_path):
    pose = STANDING.clone()
    pose[H36M17.index("LWrist"), 2] = -0.4  # forward
    away = yawed(pose, 130) + torch.tensor([3.0, 1.0, 8.0])
    figure = viz_grid.draw_poses({"one": away[None]}, tmp_path / "one.png")
    assert min(png_size(tmp_path / "one.png")) > 200
    (axes,) = figure.axes
    assert axes.yaxis_inverted()
    found, count = bones(axes), len(H36M17.edges)
    assert len(found) == 2 * count
    arm = [H36M17.index("LElbow"), H36M17.index("LWrist")]
    front = pose[arm, :2].numpy()
    assert any(np.allclose(bone, front, atol=1e-5) for bone in found[:count])
    # Seen from their left, people look to the left.
    side = pose[arm][:, [2, 1]].numpy()
    middle = axes.get_xlim()[1] * 2 / 3
    assert any(np.allclose(bone - [middle, 0], side, atol=1e-5) for bone in found[count:])
    # From there the left arm is near, and is drawn over the right one.
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2][1 + count :]
    order = {to_hex(line.get_color()): line.get_zorder() for line in sorted(lines, key=lambda line: line.get_zorder())}
    assert order[COLORS["left"]] > order[COLORS["right"]]


def test_sets_stand_side_by_side_in_one_scale():
    figure = viz_grid.draw_poses({"a": STANDING.expand(5, 17, 3), "b": 1.5 * STANDING[None]}, columns=2)
    drawn = [axes for axes in figure.axes if axes.lines]
    assert len(drawn) == 6
    assert len({axes.get_ylim() for axes in drawn}) == 1
    assert [part.get_suptitle() for part in figure.subfigs] == ["a", "b"]


def test_completions_show_what_was_known_and_what_was_not(tmp_path):
    g = torch.Generator().manual_seed(0)
    joints = STANDING + 0.02 * torch.randn(14, 30, 17, 3, generator=g)
    status = torch.full((14, 17), OBSERVED)
    status[:, H36M17.index("LWrist")] = INFERRED
    posterior = PosePosterior(joints, torch.full((14, 30), 1 / 30).log(), status)
    figure = viz_grid.draw_completions(posterior, tmp_path / "completed.png")
    assert png_size(tmp_path / "completed.png")[0] > 800
    assert "the first 12 of 14 persons" in figure.get_suptitle()
    assert len(figure.axes) == 12
    axes = figure.axes[0]
    assert sum(line.get_linestyle() == "--" for line in axes.lines) == 2  # one bone in two views
    assert sum(line.get_markerfacecolor() == "white" for line in axes.lines if len(line.get_xdata()) == 1) == 2
    assert [len(c.get_segments()) for c in axes.collections] == [MAX_DRAWN * len(H36M17.edges)] * 2


def test_one_stray_hypothesis_does_not_shrink_the_picture():
    joints = STANDING.expand(1, 100, 17, 3).clone()
    joints[0, 0, :, 0] += 30.0
    posterior = PosePosterior(joints, torch.full((1, 100), 0.01).log(), torch.zeros(1, 17, dtype=torch.long))
    assert viz_grid.draw_completions(posterior).axes[0].get_xlim()[1] < 6
