# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import COCO17, H36M17, Heatmaps

TILE = torch.tensor([[[300 / 47, 0, 100.0], [0, 600 / 63, 50.0]]])
BOX = torch.tensor([[100.0, 50.0, 400.0, 650.0]])


def mixture(seed: int, visibility: float = 1.0, modes: int = 2) -> Heatmaps:
    g = torch.Generator().manual_seed(seed)
    means = torch.rand(1, 17, modes, 2, generator=g) * torch.tensor([200.0, 480.0]) + torch.tensor([150.0, 110.0])
    a = torch.randn(1, 17, modes, 2, 2, generator=g) * 5
    weights = torch.rand(1, 17, modes, generator=g) + 0.3
    return Heatmaps.from_mixture(
        means, a @ a.mT + 100 * torch.eye(2), weights, torch.full((1, 17), visibility), torch.full((1, 17), 0.05), BOX
    )


def test_a_single_gaussian_by_hand():
    heat = Heatmaps.from_mixture(
        torch.full((1, 17, 1, 2), 200.0), torch.eye(2).expand(1, 17, 1, 2, 2) * 4, torch.ones(1, 17, 1),
        torch.ones(1, 17), torch.zeros(1, 17), BOX,
    )  # fmt: skip
    value = heat.log_density(torch.full((1, 17, 2), 200.0) + torch.tensor([2.0, 0.0]))
    expected = -0.5 - torch.log(torch.tensor(2 * torch.pi * 4))
    torch.testing.assert_close(value, expected.expand(1, 17))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_density_integrates_to_one(seed):
    heat = mixture(seed)
    step = 3.0
    xs = torch.arange(100.0, 400.0, step) + step / 2
    ys = torch.arange(50.0, 650.0, step) + step / 2
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="ij"), -1).reshape(1, -1, 1, 2).expand(-1, -1, 17, -1)
    mass = heat.log_density(grid).exp().sum(1) * step**2
    torch.testing.assert_close(mass, torch.ones(1, 17), atol=0.05, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_tiles_keep_every_mode(seed):
    exact = mixture(seed)
    tiles = Heatmaps(exact.render_tiles(TILE, 64, 48), TILE, torch.ones(1, 17))
    apart = (exact.means[:, :, 0] - exact.means[:, :, 1]).norm(dim=-1) > 80
    assert apart.any()
    for mode in range(2):
        distance = (tiles.means - exact.means[:, :, mode, None]).norm(dim=-1)
        nearest = distance.argmin(-1, keepdim=True)
        assert distance.gather(-1, nearest)[..., 0][apart].max() < 2.0
        weight = tiles.weights.gather(-1, nearest)[..., 0]
        torch.testing.assert_close(weight[apart], exact.weights[..., mode][apart], atol=0.05, rtol=0)
    torch.testing.assert_close(tiles.outlier, exact.outlier, atol=0.02, rtol=0)
    near = exact.means[:, :, 0] + 7.0
    torch.testing.assert_close(tiles.log_density(near), exact.log_density(near), atol=0.25, rtol=0)


def test_blur_of_tiles_agrees_with_the_exact_blur():
    exact = mixture(3, modes=1)
    tiles = Heatmaps(exact.render_tiles(TILE, 64, 48), TILE, torch.ones(1, 17))
    at = exact.means[:, :, 0] + torch.tensor([12.0, -9.0])
    for blur_px in (8.0, 16.0, 30.0):
        blur = torch.full((1, 17), blur_px)
        torch.testing.assert_close(tiles.log_density(at, blur), exact.log_density(at, blur), atol=0.4, rtol=0)


@pytest.mark.parametrize("form", ["mixture", "tiles"])
def test_gradient_is_the_derivative_and_points_to_the_mode_from_afar(form):
    heat = mixture(1, modes=1)
    mean = heat.means[:, :, 0]
    if form == "tiles":
        heat = Heatmaps(heat.render_tiles(TILE, 64, 48), TILE, torch.ones(1, 17))
    pixels = (mean + torch.tensor([9.0, 7.0])).requires_grad_(True)
    blur = torch.full((1, 17), 20.0)
    (gradient,) = torch.autograd.grad(heat.log_density(pixels, blur).sum(), pixels)
    assert ((gradient * (mean - pixels)).sum(-1) > 0).all()
    step = torch.tensor([0.5, 0.0])
    with torch.no_grad():
        difference = heat.log_density(pixels + step, blur) - heat.log_density(pixels - step, blur)
    torch.testing.assert_close(gradient[..., 0], difference, atol=3e-3, rtol=0.15)


def arguments() -> dict:
    return {
        "log_density": torch.zeros(1, 17, 8, 8),
        "tile_to_image": torch.eye(3)[None, :2],
        "visibility": torch.ones(1, 17),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("log_density", torch.full((1, 17, 8, 8), torch.nan)),
        ("log_density", torch.zeros(1, 16, 8, 8)),
        ("log_density", torch.zeros(1, 17, 2, 8)),
        ("tile_to_image", torch.zeros(1, 2, 3)),
        ("tile_to_image", torch.full((1, 2, 3), torch.inf)),
        ("visibility", torch.full((1, 17), 1.5)),
        ("visibility", torch.full((1, 17), torch.nan)),
        ("visibility", torch.ones(2, 17)),
    ],
)
def test_bad_tiles_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Heatmaps(**{**arguments(), field: value})


def test_bad_mixtures_are_refused_by_name():
    eye = torch.eye(2).expand(1, 17, 2, 2)
    xy = torch.zeros(1, 17, 2)
    with pytest.raises(ValueError, match="positive definite"):
        Heatmaps.from_keypoints(xy, -eye, torch.ones(1, 17))
    with pytest.raises(ValueError, match="xy"):
        Heatmaps.from_keypoints(xy * torch.nan, eye, torch.ones(1, 17))


def test_keypoints_floor_grows_as_visibility_falls():
    xy = torch.rand(1, 17, 2) * 100
    visibility = torch.linspace(0, 1, 17)[None]
    heat = Heatmaps.from_keypoints(xy, torch.eye(2).expand(1, 17, 2, 2), visibility, H36M17)
    torch.testing.assert_close(heat.outlier[0, -1], torch.tensor(0.02))
    torch.testing.assert_close(heat.outlier[0, 0], torch.tensor(0.52))
    assert heat.skeleton == H36M17
    assert COCO17 != H36M17
    assert not heat.seen[0, 0]
    assert heat.seen[0, 1:].all()
