# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Protocols and scores, against numbers found by hand and against an independent implementation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import COCO17, H36M17, Camera, PoseEstimator, PosePrior, SamplerConfig
from diffpose_core.data.prepared import Description, PreparedPoses, Recording, View, open_prepared, write_prepared
from diffpose_core.detector import YoloPoseDetector, demo_photographs
from diffpose_core.evaluation import (
    CocoKeypoints,
    DetectedKeypoints,
    FramePlan,
    FrameScores,
    Knowledge,
    PreparedKeypoints,
    Protocol,
    TrueKeypoints,
    score_batches,
    summarise,
)
from diffpose_core.evaluation.inputs import nearest_person
from diffpose_core.evaluation.scores import score
from diffpose_core.metrics import auc, cps, pck

CAMERA = Camera(1145.0, 1143.8, 512.5, 515.4, 1000, 1002, (-0.2, 0.24, -0.001, 0.002, -0.002))
OTHER = Camera(1100.0, 1100.0, 500.0, 500.0, 1000, 1000)
ALL = Protocol("all", "here")
ABOUT = Description("invented", "free", "nobody")


def person(frames: int, seed: int = 0) -> np.ndarray:
    """Somebody about the world's origin, 1.7 m tall."""
    prior = PosePrior.from_pretrained()
    pose = prior.sample(max(frames, 1), torch.Generator().manual_seed(seed), steps=8)[:frames].double().numpy()
    return np.stack([pose[..., 0], pose[..., 2], 0.9 - pose[..., 1]], -1)


def view(frames: int, camera: Camera = CAMERA, keypoints: np.ndarray | None = None) -> View:
    """A camera 4 m away along y, 1 m above the ground, level."""
    level = np.array([[1.0, 0, 0, 0], [0, 0, -1, 1], [0, 1, 0, 4]])
    return View(camera, np.broadcast_to(level, (frames, 3, 4)), keypoints)


def recording(name: str, length: int, seed: int = 0, **other: object) -> Recording:
    action = name.split("/")[1]
    found = Recording(name, name.split("/")[0], "test", 50.0, np.arange(length), person(length, seed), action)
    return replace(found, **{"view": view(length), **other})


def prepared(path: Path, *recordings: Recording) -> PreparedPoses:
    write_prepared(path / "data.safetensors", ABOUT, recordings)
    return open_prepared(path / "data.safetensors")


# Scores.


def test_pck_auc_and_cps_by_hand() -> None:
    errors = torch.tensor([[0.0, 0.102, 0.15, 0.2002], [0.0102, 0.0, 0.0, 0.0]])
    assert pck(errors, 0.15).tolist() == [0.5, 1.0]
    # Thresholds 0, 5 ... 150 mm, 31 of them: nothing is nearer than 0; 0 mm is nearer than 30, 102 than 10.
    assert auc(errors)[0].item() == pytest.approx((30 + 10 + 0 + 0) / (4 * 31))
    # All joints are nearer than 201, 202 ... 300 mm: 99 steps and half of the one that leads there.
    assert cps(errors).tolist() == [99.5, 289.5]
    assert cps(torch.tensor([0.0, 0.3001])).item() == 0
    assert cps(torch.tensor([0.0, 0.0])).item() == 299


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a - b) ** 2).sum(-1))


def procrustes_by_scipy(pose: np.ndarray, truth: np.ndarray) -> np.ndarray:
    centred, goal = pose - pose.mean(0), truth - truth.mean(0)
    turn, _ = scipy.linalg.orthogonal_procrustes(centred, goal)
    if np.linalg.det(turn) < 0:  # a reflection: give up the direction that fits least
        u, _, vt = np.linalg.svd(centred.T @ goal)
        turn = u @ np.diag([1, 1, -1]) @ vt
    turned = centred @ turn
    return (turned * goal).sum() / (turned**2).sum() * turned + truth.mean(0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0.001, 0.5), hips=st.booleans(), size=st.integers(2, 7))
def test_scores_are_those_of_an_independent_implementation(seed: int, noise: float, hips: bool, size: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(scale=0.4, size=(3, 17, 3))
    samples = truth[:, None] + rng.normal(scale=noise, size=(3, size, 17, 3))
    names = ("RHip", "LHip", "RAnkle", "LWrist", "HeadTop", "Spine", "Pelvis")
    near = ("LWrist", "RAnkle", "Nose")
    protocol = Protocol("some", "here", names, near, ("RHip", "LHip") if hips else ("Pelvis",))
    found = score(
        torch.tensor(samples), torch.tensor(truth), torch.ones(3, dtype=torch.bool), protocol, (1, 2, 200),
        ["a"] * 3, ["s"] * 3,
    )  # fmt: skip
    joints = [H36M17.joints.index(n) for n in names]
    origin = [H36M17.joints.index(n) for n in protocol.root]
    for frame in range(3):
        goal = truth[frame] - truth[frame, origin].mean(0)
        each = [s - s[origin].mean(0) for s in samples[frame]]
        plain = [apart(s, goal)[joints] for s in each]
        some = [apart(s, goal)[[H36M17.joints.index(n) for n in near]] for s in each]
        matched = [apart(procrustes_by_scipy(s[joints], goal[joints]), goal[joints]) for s in each]
        wanted = {
            "MPJPE": [1000 * e.mean() for e in plain],
            "PA-MPJPE": [1000 * e.mean() for e in matched],
            "PCK": [-np.mean(e < 0.15) for e in some],
            "AUC": [-np.mean([np.mean(e < t / 1000) for t in range(0, 151, 5)]) for e in some],
            "CPS": [-np.trapezoid([float(1000 * np.delete(e, 5).max() < t) for t in range(1, 301)]) for e in matched],
        }
        for name, values in wanted.items():
            sign = -1 if name in ("PCK", "AUC", "CPS") else 1
            pairs = [min(a, b) for i, a in enumerate(values) for b in values[:i]]
            for m, expected in ((1, np.mean(values)), (2, np.mean(pairs))):
                got = found.values[f"{name} best of {m}"][frame].item()
                assert got == pytest.approx(sign * expected, rel=1e-5, abs=1e-5), (name, m)
        middle = np.mean(samples[frame], 0)
        middle = (middle - middle[origin].mean(0))[joints]
        assert found.mean_joints[frame].numpy() == pytest.approx(1000 * apart(middle, goal[joints]), rel=1e-5)
        best = plain[int(np.argmin([e.mean() for e in plain]))]
        assert found.best_joints[frame].numpy() == pytest.approx(1000 * best, rel=1e-5)
    assert "MPJPE best of 200" not in found.values


def frame_scores(action: list[str], error: list[float]) -> FrameScores:
    n = len(action)
    inside = torch.zeros(n, 17, 19, dtype=torch.bool)
    values = {"MPJPE of the mean": torch.tensor(error)}
    found = torch.tensor([True] * (n - 1) + [False])
    return FrameScores(action, ["S9"] * n, values, torch.ones(n, 17), torch.ones(n, 17), inside, found)


def test_means_over_actions_give_short_ones_the_same_weight() -> None:
    scores = frame_scores(["Eating", "Eating", "Eating", "Walking"], [10.0, 20.0, 30.0, 60.0])
    assert summarise([scores], ALL).figures["MPJPE of the mean"] == 30
    by_action = summarise([scores], replace(ALL, by_action=True))
    assert by_action.figures["MPJPE of the mean"] == 40
    assert by_action.by_action == {"Eating": {"MPJPE of the mean": 20}, "Walking": {"MPJPE of the mean": 60}}
    assert (by_action.frames, by_action.not_found) == (4, 1)
    assert by_action.spread == {}
    twice = summarise([scores, frame_scores(scores.action, [20.0, 20.0, 20.0, 60.0])], ALL)
    assert twice.figures["MPJPE of the mean"] == 30
    assert twice.spread["MPJPE of the mean"] == 0
    other = summarise([scores, frame_scores(scores.action, [20.0, 20.0, 20.0, 68.0])], ALL)
    assert other.figures["MPJPE of the mean"] == 31
    assert other.spread["MPJPE of the mean"] == pytest.approx(2**0.5)
    assert other.frames == 4
    # Nothing lies inside at any level: the mean of 0.05, 0.1 ... 0.95 is missed.
    assert by_action.figures["ECE"] == pytest.approx(0.5)


def test_unknown_joints_and_views_are_refused() -> None:
    with pytest.raises(ValueError, match="H36M17 has no joint 'Tail'"):
        Protocol("x", "y", joints=("Pelvis", "Tail"))
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        Protocol("x", "y", stride=0)
    with pytest.raises(ValueError, match="views must be 'recorded' or 'synthetic', got 'none'"):
        Protocol("x", "y", views="none")


# Which frames.


def taken(plan: FramePlan) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number in range(len(plan.batches)):
        batch = plan.read(number, torch.Generator().manual_seed(0))
        assert len(batch) <= 16
        for one, frame in zip(batch.recordings, batch.frames.tolist(), strict=True):
            found.setdefault(one.name, []).append(frame)
    return found


def test_a_plan_takes_the_protocols_frames(tmp_path: Path) -> None:
    data = prepared(
        tmp_path,
        recording("S9/Greeting/1", 70), recording("S9/Eating/1", 70), recording("S9/Eating/2", 3, view=view(3, OTHER)),
        recording("S11/Eating/1", 5, split="validation"), recording("S11/Greeting/1", 33, frames=np.arange(33) * 2),
    )  # fmt: skip
    protocol = Protocol("x", "y", stride=32, exclude=("S9/Greeting",))
    plan = FramePlan.of(data, protocol)
    assert taken(plan) == {"S9/Eating/1": [0, 32, 64], "S9/Eating/2": [0], "S11/Greeting/1": [0, 32, 64]}
    assert len(plan) == 7
    assert taken(FramePlan.of(data, protocol, "validation")) == {"S11/Eating/1": [0]}
    only = {"S9/Eating/1": {3, 69}, "S11/Greeting/1": {2}}
    assert taken(FramePlan.of(data, protocol, only=only)) == {"S9/Eating/1": [3, 69], "S11/Greeting/1": [2]}
    spread = taken(FramePlan.of(data, replace(protocol, stride=1), max_frames=4))
    assert spread == {"S9/Eating/1": [13, 39, 66], "S11/Greeting/1": [38]}
    assert len(FramePlan.of(data, replace(protocol, stride=1), max_frames=105)) == 105
    assert len(FramePlan.of(data, replace(protocol, stride=1), max_frames=1000)) == 106
    without = prepared(
        tmp_path / "other", recording("S9/Eating/1", 3), recording("S9/Eating/2", 0, view=view(0, OTHER))
    )
    assert len(FramePlan.of(without, ALL).batches) == 1
    with pytest.raises(ValueError, match="frame_list must be given: all are those of a list"):
        FramePlan.of(data, replace(ALL, listed=True))
    for asked, words in (
        ({"S9/Eating/1": {70}}, "'S9/Eating/1' lacks 1 of the 1 frames asked for"),
        ({"S9/Sleeping/1": {1}}, "has no recording 'S9/Sleeping/1'"),
        ({"S9/Greeting/1": {1}}, "has no recording 'S9/Greeting/1'"),
    ):
        with pytest.raises(ValueError, match=words):
            FramePlan.of(data, protocol, only=asked)
    with pytest.raises(ValueError, match="takes no frame of split 'train'"):
        FramePlan.of(data, protocol, "train")


def test_joints_reach_the_optical_frame_and_their_camera(tmp_path: Path) -> None:
    turned = np.array([[0.0, 1, 0, 0.1], [0, 0, -1, 1.2], [-1, 0, 0, 5]])
    seen = View(OTHER, np.broadcast_to(turned, (2, 3, 4)))
    data = prepared(tmp_path, recording("S9/Eating/1", 3), recording("S9/Eating/2", 2, 1, view=seen))
    plan = FramePlan.of(data, ALL)
    batch = plan.read(1, torch.Generator())
    assert batch.camera == OTHER
    world = person(2, 1)
    wanted = np.stack([world[..., 1] + 0.1, 1.2 - world[..., 2], 5 - world[..., 0]], -1)
    np.testing.assert_allclose(batch.joints.numpy(), wanted, atol=1e-5)


def test_motion_without_cameras_needs_synthetic_ones(tmp_path: Path) -> None:
    data = prepared(tmp_path, recording("S9/Eating/1", 20, view=None))
    with pytest.raises(ValueError, match="'S9/Eating/1' has no camera"):
        FramePlan.of(data, ALL)
    thinned = prepared(tmp_path, recording("S9/Eating/1", 20, view=None, frames=1 + 4 * np.arange(20)))
    assert taken(FramePlan.of(thinned, replace(ALL, views="synthetic", stride=10))) == {"S9/Eating/1": [1, 41]}
    plan = FramePlan.of(data, replace(ALL, views="synthetic"))
    one, same, other = (plan.read(0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one.joints, same.joints)
    assert not torch.equal(one.joints, other.joints)
    assert (one.joints[..., 2] > 1).all()


# 2D input.


def first_batch(tmp_path: Path, **other: object) -> Any:
    return FramePlan.of(prepared(tmp_path, recording("S9/Eating/54138969", 4, **other)), ALL).read(0, torch.Generator())


def test_true_keypoints_are_projected_with_the_lens(tmp_path: Path) -> None:
    batch = first_batch(tmp_path)
    heat = TrueKeypoints(sigma=0.02, noise=0.0)(batch, torch.Generator().manual_seed(0))
    k = np.array([[CAMERA.fx, 0, CAMERA.cx], [0, CAMERA.fy, CAMERA.cy], [0, 0, 1]])
    for frame in range(4):
        points = batch.joints[frame].double().numpy()
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, np.array(CAMERA.distortion))
        np.testing.assert_allclose(heat.means[frame, :, 0].numpy(), pixels[:, 0], atol=0.01)
        side = np.ptp(pixels[:, 0], axis=0).max()
        assert heat.covariances[frame, 3, 0].flatten().tolist() == pytest.approx(
            [(0.02 * side) ** 2, 0, 0, (0.02 * side) ** 2], rel=1e-3
        )
    noisy = TrueKeypoints(sigma=0.02, noise=0.1)(batch, torch.Generator().manual_seed(0))
    moved = (noisy.means - heat.means)[..., 0, :] / side
    assert moved.std().item() == pytest.approx(0.1, rel=0.3)


def test_prepared_keypoints_are_those_of_the_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(100, 800, (4, 17, 2))
    batch = first_batch(tmp_path, view=view(4, keypoints=pixels))
    heat = PreparedKeypoints(sigma=0.05)(batch, torch.Generator())
    np.testing.assert_allclose(heat.means[:, :, 0].numpy(), pixels, atol=1e-3)
    assert heat.skeleton == H36M17
    with pytest.raises(ValueError, match="'S9/Eating/54138969' was prepared without 2D keypoints"):
        PreparedKeypoints(sigma=0.05)(first_batch(tmp_path), torch.Generator())


def as_coco(pixels: torch.Tensor) -> torch.Tensor:
    """COCO keypoints [17, 2] of somebody whose limbs are at H36M17 pixels [17, 2]; the face at the nose."""
    found = pixels[H36M17.index("Nose")].expand(17, 2).clone()
    for i, name in enumerate(COCO17.joints[5:], 5):
        side, joint = name.split("_")
        found[i] = pixels[H36M17.index(side[0].upper() + joint.capitalize())]
    return found


def flat(keypoints: torch.Tensor, confidence: float = 1.0) -> list[float]:
    return [float(v) for x, y in keypoints.tolist() for v in (x, y, confidence)]


def test_the_person_nearest_the_truth_is_taken() -> None:
    truth = torch.rand(17, 2, generator=torch.Generator().manual_seed(0)) * 200 + 400
    people = torch.stack([as_coco(truth) + 90.0, as_coco(truth) + 20.0, as_coco(truth)])
    seen = torch.ones(3, 17)
    assert nearest_person(people, seen, truth) == 2
    seen[2] = 0
    assert nearest_person(people, seen, truth) == 1
    assert nearest_person(people[:1] + 500, seen[:1], truth) is None
    assert nearest_person(people[2:], seen[2:], truth) is None
    assert nearest_person(people[:0], seen[:0], truth) is None


def test_coco_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    batch = first_batch(tmp_path)
    pixels = batch.camera.project(batch.joints)
    names = [f"S9/Eating.54138969/{frame:06d}.jpg" for frame in range(4)]
    pattern = "{0}/{1}.{2}/{frame:06d}.jpg"
    results = [
        {"image_id": name, "keypoints": flat(as_coco(p) + shift, 0.9)}
        for name, p in zip(names[:3], pixels, strict=False)
        for shift in (150, 0)
    ]
    results.append({"image_id": names[3], "keypoints": flat(as_coco(pixels[3]) + 900)})
    (tmp_path / "results.json").write_text(json.dumps(results))
    labels = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": i, "keypoints": flat(as_coco(p), 2 if i else 1)} for i, p in enumerate(pixels[:3])
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for name, confidence in (("results.json", [0.9] * 3), ("labels.json", [0.5, 1.0, 1.0])):
        heat = CocoKeypoints(tmp_path / name, pattern, 0.02)(batch, torch.Generator())
        assert heat.skeleton == COCO17
        assert heat.seen.all(-1).tolist() == [True, True, True, False]
        assert heat.visibility[:3, 0].tolist() == pytest.approx(confidence)
        wanted = torch.stack([as_coco(p) for p in pixels[:3]])
        np.testing.assert_allclose(heat.means[:3, :, 0].numpy(), wanted.numpy(), atol=1e-3)
    (tmp_path / "results.json").write_text(json.dumps(results[2:]))
    heat = CocoKeypoints(tmp_path / "results.json", pattern, 0.02)(batch, torch.Generator())
    assert heat.seen.all(-1).tolist() == [False, True, True, False]
    (tmp_path / "results.json").write_text(json.dumps([results[0] | {"image_id": "elsewhere.jpg"}]))
    with pytest.raises(ValueError, match=r"no image is called 'S9/Eating\.54138969/000000\.jpg'"):
        CocoKeypoints(tmp_path / "results.json", pattern, 0.02)(batch, torch.Generator())
    with pytest.raises(ValueError, match=r"no image is called 'S9/000000\.jpg'"):
        CocoKeypoints(tmp_path / "labels.json", "{0}/{frame:06d}.jpg", 0.02)(batch, torch.Generator())
    with pytest.raises(ValueError, match=r"image pattern '\{frame\.foo\}' does not fit"):
        CocoKeypoints(tmp_path / "labels.json", "{frame.foo}", 0.02)(batch, torch.Generator())
    with pytest.raises(ValueError, match=r"image pattern '\{3\}' does not fit 'S9/Eating/54138969'"):
        CocoKeypoints(tmp_path / "labels.json", "{3}", 0.02)(batch, torch.Generator())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "is not JSON"),
        ('{"images": []}', "not a COCO-style file of keypoints: KeyError"),
        ('[{"image_id": 7, "keypoints": []}]', "result 0 has image_id 7; without 'images' it must be a file name"),
        ('[{"image_id": "a", "keypoints": [1, 2, 1]}]', r"keypoints of person 0 must be 51 numbers, got \[1, 2, 1\]"),
        (json.dumps([{"image_id": "a", "keypoints": "1" * 51}]), "keypoints of person 0 must be 51 numbers, got 1111"),
        (json.dumps([{"image_id": "a", "keypoints": [10**400, 2, 1] * 17}]), "person 0 hold 1000000.*, beyond 1e"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}', "have one id"),
        ('{"images": [{"id": 1, "file_name": 5}], "annotations": []}', "file_name must be text, got 5"),
        ('{"images": [], "annotations": [{"image_id": 7}]}', "annotation 0 has image_id 7, which no image has"),
        (json.dumps([{"image_id": "a", "keypoints": [1, 2, -0.5] * 17}]), "person 0 has a confidence below 0: -0.5"),
        (json.dumps([{"image_id": "a", "keypoints": [1, 2, 1.5] * 17}]), r"confidences must lie in 0\.\.1 or be COCO"),
        (json.dumps([{"image_id": "a", "keypoints": [1, float("nan"), 1] * 17}]), "person 0 hold nan"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_of_keypoints_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        CocoKeypoints(tmp_path / "bad.json", "{0}", 0.02)
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        CocoKeypoints(tmp_path / "absent.json", "{0}", 0.02)


def test_the_detector_finds_the_true_person_in_a_photograph(tmp_path: Path) -> None:
    photograph = demo_photographs()["bus"]
    image = cv2.imread(str(photograph))
    seen = YoloPoseDetector()(image)
    camera = Camera.from_field_of_view(image.shape[1], image.shape[0])
    estimator = PoseEstimator(PosePrior.from_pretrained(), sampler=SamplerConfig(steps=4))
    post = estimator(seen.heatmaps, camera, 20, torch.Generator().manual_seed(0))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.jpg").symlink_to(photograph)
    optical = np.eye(3, 4)[None]
    for chosen in (0, 2):  # one in the front, one behind
        joints = post.mean[chosen : chosen + 1].double().numpy()
        data = prepared(tmp_path, recording("street/waiting", 1, joints=joints, view=View(camera, optical)))
        batch = FramePlan.of(data, ALL).read(0, torch.Generator())
        heat = DetectedKeypoints(tmp_path / "images", "{frame}.jpg", "cpu")(batch, torch.Generator())
        assert torch.equal(heat.means[0], seen.heatmaps.means[chosen])
    far = prepared(
        tmp_path, recording("street/waiting", 1, joints=joints + np.array([9.0, 0, 0]), view=View(camera, optical))
    )
    batch = FramePlan.of(far, ALL).read(0, torch.Generator())
    heat = DetectedKeypoints(tmp_path / "images", "{frame}.jpg", "cpu")(batch, torch.Generator())
    assert not heat.seen.any()
    with pytest.raises(FileNotFoundError, match="image not found, or none that OpenCV reads"):
        DetectedKeypoints(tmp_path / "images", "{frame}.png", "cpu")(batch, torch.Generator())


# What the estimator is told.


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(PosePrior.from_pretrained(), sampler=SamplerConfig(steps=5))


def test_a_known_root_is_kept_and_an_unknown_one_is_not(tmp_path: Path, estimator: PoseEstimator) -> None:
    batch = first_batch(tmp_path)
    heat = TrueKeypoints(0.02, 0.0)(batch, torch.Generator().manual_seed(0))
    off = {}
    for root in ("known", "unknown"):
        likelihoods = Knowledge(root=root).likelihoods(heat, batch)
        post = estimator.infer(likelihoods, 20, torch.Generator().manual_seed(0))
        off[root] = (post.joints[:, :, 0] - batch.joints[:, None, 0]).norm(dim=-1).max().item()
    assert off["known"] < 0.01
    assert off["unknown"] > 0.05


def test_guessed_intrinsics_are_60_degrees_without_a_lens(tmp_path: Path) -> None:
    batch = first_batch(tmp_path)
    heat = TrueKeypoints(0.02, 0.0)(batch, torch.Generator())
    camera = Knowledge(intrinsics="guessed").likelihoods(heat, batch)[0].camera  # type: ignore[attr-defined]
    assert (camera.fx, camera.distortion) == (pytest.approx(500 / np.tan(np.pi / 6)), None)
    assert Knowledge().likelihoods(heat, batch)[0].camera == CAMERA  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="intrinsics must be one of"):
        Knowledge(intrinsics="unknown")


def test_batches_have_seeds_of_their_own(tmp_path: Path, estimator: PoseEstimator) -> None:
    data = prepared(tmp_path, recording("S9/Eating/1", 20), recording("S9/Sitting/1", 18, 1, view=view(18, OTHER)))
    plan = FramePlan.of(data, ALL)

    def scored(numbers: Callable[[int], list[int]], seed: int = 0) -> list[FrameScores]:
        chosen = numbers(len(plan.batches))
        see = TrueKeypoints(0.02, 0.02)
        return list(score_batches(plan, chosen, see, estimator, ALL, Knowledge(), 3, (1, 3), seed))

    forwards, backwards = scored(lambda n: list(range(n))), scored(lambda n: list(reversed(range(n))))
    assert len(forwards) == 4
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert all(torch.equal(v, other.values[k]) for k, v in one.values.items())
        assert torch.equal(one.inside, other.inside)
    assert not torch.equal(forwards[0].values["MPJPE best of 1"], scored(lambda n: [0], 1)[0].values["MPJPE best of 1"])
