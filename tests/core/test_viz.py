# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PosePosterior
from diffpose_core.observation import INFERRED, MISSING, OBSERVED, ObservationModel

if importlib.util.find_spec("matplotlib") is None:
    pytest.skip("matplotlib is not installed (the viz extra)", allow_module_level=True)

from matplotlib.colors import to_hex

from diffpose_core import viz

CAMERA = Camera(500, 500, 319.5, 239.5, 640, 480)
# A person standing, facing the camera, so that their left is on the right of the picture. Metres, y down.
STANDING = torch.tensor(
    [
        [0, 0, 0], [-0.12, 0, 0], [-0.14, 0.42, 0], [-0.15, 0.84, 0],
        [0.12, 0, 0], [0.14, 0.42, 0], [0.15, 0.84, 0],
        [0, -0.25, 0], [0, -0.5, 0], [0, -0.62, -0.05], [0, -0.75, 0], [0.18, -0.48, 0], [0.25, -0.22, 0],
        [0.28, 0.02, 0], [-0.18, -0.48, 0], [-0.25, -0.22, 0], [-0.28, 0.02, 0],
    ]
)  # fmt: skip


def scene(roots: list[list[float]], samples: int = 30, seed: int = 0) -> PosePosterior:
    g = torch.Generator().manual_seed(seed)
    noise = 0.04 * torch.randn(len(roots), samples, 17, 3, generator=g)
    joints = STANDING + torch.tensor(roots)[:, None, None] + noise
    status = torch.full((len(roots), 17), OBSERVED)
    status[:, H36M17.index("LWrist")] = INFERRED
    return PosePosterior(joints, torch.full(joints.shape[:2], 1 / samples).log(), status)


def arguments(posterior: PosePosterior) -> dict:
    weights = ObservationModel.of(COCO17).weights
    keypoints = CAMERA.project(torch.einsum("kj,pjc->pkc", weights, posterior.mean))
    visibility = torch.ones(len(posterior), 17)
    visibility[:, COCO17.index("left_wrist")] = 0.2
    low, high = keypoints.amin(1) - 10, keypoints.amax(1) + 10
    covariance = torch.eye(2).expand(len(posterior), 17, 2, 2) * 16.0
    return {
        "image_bgr": np.full((480, 640, 3), 90, np.uint8),
        "boxes": torch.cat([low, high], 1),
        "keypoints": keypoints,
        "visibility": visibility,
        "heatmaps": Heatmaps.from_keypoints(keypoints, covariance, visibility),
        "posterior": posterior,
        "camera": CAMERA,
    }


def png_size(path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_overlay_draws_the_reprojected_mean_and_saves(tmp_path):
    posterior = scene([[0.0, 0.0, 4.0], [1.0, 0.0, 5.0]])
    figure = viz.draw_overlay(**arguments(posterior), path=tmp_path / "overlay.png")
    width, height = png_size(tmp_path / "overlay.png")
    assert width > 800
    assert height > 300
    axes = figure.axes[1]
    bones = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(bones) == 2 * len(H36M17.edges)
    edge = H36M17.edges.index((H36M17.index("LHip"), H36M17.index("LKnee")))
    expected = CAMERA.project(posterior.mean[0, list(H36M17.edges[edge])]).numpy()
    np.testing.assert_allclose(bones[edge].get_xydata(), expected, rtol=1e-5)
    assert to_hex(bones[edge].get_color()) == viz.COLORS["left"]
    # The wrist that was not seen hangs on a dashed bone, its elbow on a solid one.
    styles = {H36M17.joints[b]: line.get_linestyle() for (_, b), line in zip(H36M17.edges, bones, strict=False)}
    assert styles["LWrist"] == "--"
    assert styles["LElbow"] == "-"
    (hypotheses, _) = axes.collections
    assert len(hypotheses.get_segments()) == viz.MAX_DRAWN * len(H36M17.edges)


def test_overlay_takes_what_comes_out_of_messages():
    """Numpy arrays, and heatmaps read back from tiles."""
    full = arguments(scene([[0.0, 0.0, 4.0]]))
    tile = torch.tensor([[[8.0, 0, 150.0], [0, 8.0, 20.0]]])
    full["heatmaps"] = Heatmaps(full["heatmaps"].render_tiles(tile, 56, 44), tile, full["visibility"])
    for name in ("boxes", "keypoints", "visibility"):
        full[name] = full[name].numpy()
    assert len(viz.draw_overlay(**full).axes) == 2


def test_pictures_of_nobody(tmp_path):
    nobody = PosePosterior(torch.zeros(0, 5, 17, 3), torch.zeros(0, 5), torch.zeros(0, 17, dtype=torch.long))
    viz.draw_overlay(**arguments(nobody), path=tmp_path / "overlay.png")
    viz.draw_hypotheses_3d(nobody, tmp_path / "scene.png")
    for name in ("overlay.png", "scene.png"):
        assert min(png_size(tmp_path / name)) > 100


def test_a_person_of_whom_nothing_is_known_is_left_out_of_the_scene():
    near = scene([[0.0, 0.0, 4.0]])
    both = scene([[0.0, 0.0, 4.0], [0.0, 0.0, 60.0]])
    both.status[1] = MISSING
    limits = viz.draw_hypotheses_3d(both).axes[0].get_ylim3d()
    assert 3 < limits[0] < limits[1] < 5
    assert abs(limits[1] - viz.draw_hypotheses_3d(near).axes[0].get_ylim3d()[1]) < 0.1


def test_one_stray_hypothesis_does_not_shrink_the_scene():
    posterior = scene([[0.0, 0.0, 4.0]], samples=50)
    posterior.joints[0, 0, :, 2] += 30.0
    assert viz.draw_hypotheses_3d(posterior).axes[0].get_ylim3d()[1] < 6


def test_scene_is_in_metres_upright_and_of_equal_aspect(tmp_path):
    posterior = scene([[-1.0, 0.2, 3.0], [1.0, 0.2, 6.0]])
    figure = viz.draw_hypotheses_3d(posterior, tmp_path / "scene.png", title="Two people")
    assert png_size(tmp_path / "scene.png")[0] > 1000
    assert figure.get_suptitle() == "Two people"
    for axes in figure.axes:
        sizes = [np.ptp(limits) for limits in (axes.get_xlim3d(), axes.get_ylim3d(), axes.get_zlim3d())]
        aspect = np.asarray(axes._box_aspect) / sizes
        np.testing.assert_allclose(aspect, aspect[0], rtol=1e-5)
        bones = [np.stack(line.get_data_3d()) for line in axes.lines]
        mean = posterior.mean[0]
        head = mean[[H36M17.index("Nose"), H36M17.index("HeadTop")]]
        upright = torch.stack([head[:, 0], head[:, 2], -head[:, 1]]).numpy()
        assert any(b.shape == (3, 2) and np.allclose(b, upright, atol=1e-6) for b in bones)
    # The axes are turned, never mirrored: a left hand stays a left hand.
    turn = viz._upright(torch.eye(3))
    torch.testing.assert_close(torch.linalg.det(turn), torch.tensor(1.0))


def test_ellipsoids_lie_at_two_standard_deviations():
    g = np.random.default_rng(0)
    a = g.normal(size=(3, 3))
    covariance, centre = a @ a.T + 0.1 * np.eye(3), np.array([1.0, 2.0, 3.0])
    off = viz._ellipsoid(centre, covariance).reshape(3, -1) - centre[:, None]
    distance = np.sqrt(np.einsum("an,ab,bn->n", off, np.linalg.inv(covariance), off))
    np.testing.assert_allclose(distance, 2.0, rtol=1e-6)


def test_unequal_numbers_of_persons_are_refused():
    full = arguments(scene([[0.0, 0.0, 4.0]]))
    with pytest.raises(ValueError, match="persons"):
        viz.draw_overlay(**{**full, "boxes": torch.zeros(2, 4)})
    with pytest.raises(ValueError, match="uint8"):
        viz.draw_overlay(**{**full, "image_bgr": np.zeros((4, 4, 3))})


def test_neither_pyplot_nor_a_display_is_involved():
    code = "import sys, diffpose_core.viz; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
