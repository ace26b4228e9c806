# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Messages and the library's types say the same."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from diffpose.msg import Hypotheses
from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PosePosterior
from diffpose_core.detector import Detections, DetectorConfig, tiles_for
from diffpose_core.observation import INFERRED, MISSING, OBSERVED
from diffpose_ros import conversions
from diffpose_ros.parameters import MAX_PERSONS

CAMERA = Camera(500.0, 510.0, 319.5, 239.5, 640, 480, (0.1, -0.05, 0.001, 0.002, 0.01))


def detections(persons=2):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[100.0, 50.0, 200.0, 400.0], [300.0, 60.0, 420.0, 420.0]])[:persons]
    size = boxes[:, None, 2:] - boxes[:, None, :2]
    keypoints = boxes[:, None, :2] + size * torch.rand(persons, 17, 2, generator=generator)
    visibility = torch.rand(persons, 17, generator=generator)
    covariance = 30 * torch.eye(2).expand(persons, 17, 2, 2)
    heatmaps = Heatmaps.from_keypoints(keypoints, covariance, visibility)
    config = DetectorConfig()
    tile_to_image = tiles_for(boxes, keypoints, config)
    tiles = heatmaps.render_tiles(tile_to_image, config.tile_height, config.tile_width)
    return Detections(boxes, torch.tensor([0.9, 0.5])[:persons], keypoints, visibility, heatmaps, tile_to_image, tiles)


def heatmaps_message(persons=2):
    header = Header(frame_id="camera_optical_frame")
    return conversions.heatmaps_message(detections(persons), header, conversions.camera_info(CAMERA, header))


def posterior(persons=3, samples=7):
    generator = torch.Generator().manual_seed(1)
    joints = torch.randn(persons, samples, 17, 3, generator=generator) + torch.tensor([0.0, 0.0, 4.0])
    log_weights = torch.log_softmax(torch.randn(persons, samples, generator=generator), 1)
    status = torch.tensor([OBSERVED, INFERRED] * 8 + [OBSERVED]).expand(persons, 17).clone()
    return PosePosterior(joints, log_weights, status, log_evidence=-torch.arange(float(persons)))


def depth_image(values, encoding="32FC1", pad=0, big_endian=False):
    """A depth image of [H, W] values in the encoding's unit."""
    kind = np.dtype({"16UC1": np.uint16, "32FC1": np.float32}[encoding]).newbyteorder(">" if big_endian else "<")
    rows = np.asarray(values, kind)
    message = Image(height=rows.shape[0], width=rows.shape[1], encoding=encoding, is_bigendian=int(big_endian))
    message.step = rows.shape[1] * kind.itemsize + pad
    for row in rows:
        message.data.frombytes(row.tobytes() + b"\xff" * pad)
    return message


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("pad", [0, 6])
def test_depth(pad, big_endian):
    metres = torch.tensor([[1.0, 2.5, float("nan")], [0.001, 65.535, float("nan")]])
    millimetres = depth_image([[1000, 2500, 0], [1, 65535, 0]], "16UC1", pad, big_endian)
    found = conversions.depth_from_message(millimetres)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, metres, equal_nan=True, rtol=1e-6, atol=0.0)
    floats = depth_image([[1.0, 2.5, 0.0], [0.001, 65.535, np.nan]], "32FC1", pad, big_endian)
    torch.testing.assert_close(conversions.depth_from_message(floats), metres, equal_nan=True)
    beyond = depth_image([[np.inf, -np.inf]], "32FC1", pad, big_endian)
    assert conversions.depth_from_message(beyond).isnan().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "mono16"}, "depth encoding must be one of 16UC1, 32FC1, got 'mono16'"),
        ({"encoding": "bgr8"}, "depth encoding .* got 'bgr8'"),
        ({"step": 3}, "depth step must be at least width x 4 = 8, got 3"),
        ({"height": 3}, "depth data must hold step x height = 24 bytes, got 16"),
        ({"height": 0}, "depth height and width must be positive, got 0 x 2"),
    ],
)
def test_bad_depth_is_refused(change, words):
    message = depth_image([[1.0, 2.0], [3.0, 4.0]])
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=words):
        conversions.depth_from_message(message)


def test_negative_depth_is_refused():
    with pytest.raises(ValueError, match="depth data must not be negative, got -2"):
        conversions.depth_from_message(depth_image([[1.0, -2.0]]))


def test_depth_must_be_of_the_camera_of_the_heatmaps():
    source = heatmaps_message()
    message = depth_image(np.ones((480, 640)))
    message.header.frame_id = "camera_optical_frame"
    assert conversions.aligned_depth(message, source).shape == (480, 640)
    message.header.frame_id = "depth_optical_frame"
    with pytest.raises(ValueError, match=r"frame_id must be .* 'camera_optical_frame', got 'depth_optical_frame'"):
        conversions.aligned_depth(message, source)
    smaller = depth_image(np.ones((240, 320)))
    with pytest.raises(ValueError, match=r"depth is 320 x 240 px, camera_info is for 640 x 480: .* aligned"):
        conversions.aligned_depth(smaller, source)


def test_camera_round_trip():
    info = conversions.camera_info(CAMERA, Header())
    assert info.k.tolist() == [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    assert info.distortion_model == "plumb_bob"
    assert conversions.camera_from_info(info, 640, 480) == CAMERA


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": [0.0] * 9}, "camera_info: camera matrix K is all zeros: the camera is uncalibrated"),
        (
            {"k": [float("nan"), 0.0, 1.0, 0.0, 500.0, 1.0, 0.0, 0.0, 1.0]},
            "camera_info: camera matrix K must be finite",
        ),
        ({"k": [-500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]}, "camera_info: camera fx must be positive"),
        ({"width": 320}, "camera_info is for 320 x 480 px, the image has 640 x 480"),
        ({"distortion_model": "fancy"}, "distortion model must be one of .* got 'fancy'"),
        ({"d": [0.1] * 3}, "distortion of plumb_bob takes .* got 3"),
        ({"d": [float("inf")] * 5}, "distortion must be finite"),
        ({"d": [1e308, 0.0, 0.0, 0.0, 0.0]}, "distortion must be finite and at most 1e.06"),
        ({"distortion_model": "equidistant"}, "distortion of equidistant takes .4,. coefficients, got 5"),
        ({"binning_x": 2}, "binning_x must be 0 or 1, got 2"),
        ({"binning_y": 4}, "binning_y must be 0 or 1, got 4"),
    ],
)
def test_bad_calibrations_are_refused(change, words):
    info = conversions.camera_info(CAMERA, Header())
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(ValueError, match=words):
        conversions.camera_from_info(info, 640, 480)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"x_offset": 8}, "roi must start at 0, 0, got 8, 0"),
        ({"width": 320, "height": 480}, "roi.width must be 0 or width = 640, got 320"),
        ({"width": 640, "height": 240}, "roi.height must be 0 or height = 480, got 240"),
    ],
)
def test_a_region_of_interest_is_refused(region, words):
    info = conversions.camera_info(CAMERA, Header())
    for name, value in region.items():
        setattr(info.roi, name, value)
    with pytest.raises(ValueError, match=words):
        conversions.camera_from_info(info, 640, 480)


def test_a_region_of_interest_that_is_the_whole_image_is_none():
    info = conversions.camera_info(CAMERA, Header())
    info.roi.width, info.roi.height = 640, 480
    assert conversions.camera_from_info(info, 640, 480) == CAMERA


def test_heatmaps_round_trip():
    found = detections()
    message = heatmaps_message()
    assert list(message.joint_names) == list(COCO17.joints)
    assert (message.tile_height, message.tile_width) == (64, 48)
    assert [p.id for p in message.persons] == [0, 1]
    followed = conversions.heatmaps_message(found, message.header, message.camera_info, [7, 3])
    assert [p.id for p in followed.persons] == [7, 3]
    heatmaps, camera = conversions.heatmaps_from_message(message)
    assert camera == CAMERA
    torch.testing.assert_close(heatmaps.visibility, found.visibility)
    direct = Heatmaps(found.log_density, found.tile_to_image, found.visibility)
    torch.testing.assert_close(heatmaps.means, direct.means)
    pixels = found.keypoints
    torch.testing.assert_close(heatmaps.log_density(pixels[:, None]), direct.log_density(pixels[:, None]))


def rectified():
    """The second lens of a data sheet: P differs from K, and has no distortion."""
    info = conversions.camera_info(CAMERA, Header(frame_id="cam"))
    info.p = [450.0, 0.0, 310.0, 0.0, 0.0, 455.0, 235.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def test_a_rectified_image_has_the_camera_of_p_without_distortion():
    info = conversions.rectified_info(rectified())
    assert conversions.camera_from_info(info, 640, 480) == Camera(450.0, 455.0, 310.0, 235.0, 640, 480)
    assert info.header.frame_id == "cam"
    assert conversions.rectified_info(info) == info


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ({i: 0.0 for i in range(12)}, "camera_info p must be finite and not all zeros"),
        ({3: -45.0}, "camera_info p must have no offset.*second camera of a stereo pair"),
        ({0: float("nan")}, "camera_info p must be finite"),
    ],
)
def test_what_is_not_a_rectified_first_camera_is_refused(p, words):
    info = rectified()
    for index, value in p.items():
        info.p[index] = value
    with pytest.raises(ValueError, match=words):
        conversions.rectified_info(info)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", (0.1, -0.05, 0.001, 0.002, 0.01)),
        ("rational_polynomial", (0.3, -0.1, 0.001, -0.001, 0.02, 0.5, -0.05, 0.01)),
        ("equidistant", (0.02, -0.01, 0.003, -0.001)),
    ],
)
def test_every_lens_survives_its_message(model, d):
    camera = Camera(500.0, 510.0, 319.5, 239.5, 640, 480, d, model)
    assert conversions.camera_from_info(conversions.camera_info(camera, Header()), 640, 480) == camera
    info = conversions.camera_info(camera, Header())
    info.distortion_model = "double_sphere"
    with pytest.raises(ValueError, match=r"camera_info: .*'double_sphere'"):
        conversions.camera_from_info(info, 640, 480)


@settings(max_examples=200, deadline=None)
@given(
    k=st.lists(st.floats(), min_size=9, max_size=9), d=st.lists(st.floats(), max_size=9),
    p=st.lists(st.floats(), min_size=12, max_size=12), size=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 9)),
    model=st.sampled_from(["", "plumb_bob", "rational_polynomial", "equidistant", "fov"]),
)  # fmt: skip
def test_any_calibration_is_a_camera_or_refused(k, d, p, size, model):
    info = CameraInfo(width=size[0], height=size[1], distortion_model=model, k=k, d=d, p=p)
    for read in (lambda: info, lambda: conversions.rectified_info(info)):
        try:
            camera = conversions.camera_from_info(read(), *size)
        except ValueError:
            continue
        assert camera.fx > 0
        assert camera.fy > 0


def test_no_person_is_no_error():
    heatmaps, _ = conversions.heatmaps_from_message(heatmaps_message(0))
    assert len(heatmaps) == 0


def _set(name, index, value):
    def change(message):
        getattr(message.persons[1], name)[index] = value

    return change


def _cut(name):
    def change(message):
        getattr(message.persons[1], name).pop()

    return change


def _score(value):
    return lambda message: setattr(message.persons[1], "score", value)


def _same_id(message):
    message.persons[1].id = message.persons[0].id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("log_density", 1000, float("nan")), "log_density holds a value that is not finite at index"),
        (_set("log_density", 0, float("inf")), "log_density holds a value that is not finite"),
        (_set("visibility", 3, 1.5), "visibility must lie in 0..1"),
        (_set("visibility", 3, float("nan")), "visibility holds a value that is not finite"),
        (_set("tile_to_image", 0, 0.0), "tile_to_image must be invertible"),
        (_cut("log_density"), r"persons\[1\].log_density must hold 17 x 64 x 48 = 52224 values, got 52223"),
        (_cut("visibility"), r"persons\[1\].visibility must hold 17 = 17 values, got 16"),
        (_cut("keypoints"), r"persons\[1\].keypoints must hold 17 x 2 = 34 values, got 33"),
        (_score(float("nan")), r"persons\[1\].score must be finite, got nan"),
        (_score(float("-inf")), r"persons\[1\].score must be finite, got -inf"),
        (_same_id, r"ids of persons must differ, got \[0, 0\]"),
        (lambda m: setattr(m, "persons", m.persons[:1] * 101), "persons must be at most 100, got 101"),
        (lambda m: m.joint_names.reverse(), "joint_names must be those of COCO17 in order"),
        (lambda m: setattr(m, "skeleton", "BODY25"), "skeleton must be one of .* got 'BODY25'"),
        (lambda m: setattr(m, "tile_height", 0), "tile_height and tile_width must lie in 4..1024, got 0 x 48"),
        (lambda m: setattr(m.camera_info, "k", [0.0] * 9), "camera_info: camera matrix K is all zeros"),
        (lambda m: setattr(m, "camera_info", CameraInfo()), "camera_info: "),
    ],
)
def test_bad_heatmaps_are_refused(change, words):
    message = heatmaps_message()
    change(message)
    with pytest.raises(ValueError, match=words):
        conversions.heatmaps_from_message(message)


def test_as_many_persons_as_there_may_be_are_read():
    message = heatmaps_message(1)
    person, message.persons = message.persons[0], []
    message.tile_height = message.tile_width = 4  # the densities of 100 whole tiles take seconds
    person.log_density = person.log_density[: 17 * 4 * 4]
    for number in range(MAX_PERSONS):
        message.persons.append(copy.copy(person))
        message.persons[-1].id = number
    assert len(conversions.heatmaps_from_message(message)[0]) == 100


def test_hypotheses_round_trip():
    post = posterior()
    header = Header(frame_id="camera_optical_frame")
    message, missing = conversions.hypotheses_message(post, header, [4, 2, 7], [0.9, 0.5, 0.25])
    assert missing == 0
    assert message.header == header
    assert [(p.id, p.score) for p in message.persons] == [(4, pytest.approx(0.9)), (2, 0.5), (7, 0.25)]
    assert (message.skeleton, message.num_hypotheses, message.num_joints) == ("H36M17", 7, 17)
    back = conversions.posterior_from_message(message)
    torch.testing.assert_close(back.joints, post.joints)
    torch.testing.assert_close(back.weights, post.weights)
    assert back.status.tolist() == post.status.tolist()
    assert back.log_evidence.tolist() == [p.log_evidence for p in message.persons] == [0.0, -1.0, -2.0]
    person = message.persons[2]
    assert abs(sum(person.weights) - 1) < 1e-5
    torch.testing.assert_close(torch.tensor(person.mean).reshape(17, 3), post.mean[2])
    xx, xy, xz, yy, yz, zz = person.covariance[6 * 4 : 6 * 5]
    expected = post.covariance[2, 4]
    torch.testing.assert_close(torch.tensor([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]), expected)


def test_persons_of_whom_nothing_is_known_are_counted_not_published():
    post = posterior()
    post.status[1] = MISSING
    message, missing = conversions.hypotheses_message(post, Header(), [0, 1, 2], [0.5] * 3)
    assert missing == 1
    assert [p.id for p in message.persons] == [0, 2]
    torch.testing.assert_close(torch.tensor(message.persons[1].mean).reshape(17, 3), post.mean[2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("joints", 5, float("nan")), "joints holds a value that is not finite"),
        (
            lambda m: setattr(m.persons[0], "log_evidence", float("nan")),
            "log_evidence holds a value that is not finite",
        ),
        (_score(float("nan")), r"persons\[1\].score must be finite, got nan"),
        (_score(float("inf")), r"persons\[1\].score must be finite, got inf"),
        (_same_id, r"ids of persons must differ, got \[0, 0\]"),
        (_set("weights", 0, 5.0), "weights must be non-negative and sum to 1"),
        (_cut("joints"), r"persons\[1\].joints must hold 7 x 17 x 3 = 357 values, got 356"),
        (_cut("status"), r"persons\[1\].status must hold 17 = 17 values, got 16"),
        (lambda m: setattr(m, "num_joints", 3), "num_joints must be 17 for H36M17, got 3"),
        (lambda m: setattr(m, "num_hypotheses", 0), "num_hypotheses must be at least 1, got 0"),
        (lambda m: setattr(m, "skeleton", ""), "skeleton must be one of"),
    ],
)
def test_bad_hypotheses_are_refused(change, words):
    message, _ = conversions.hypotheses_message(posterior(2), Header(), [0, 1], [0.5, 0.5])
    change(message)
    with pytest.raises(ValueError, match=words):
        conversions.posterior_from_message(message)


def test_an_empty_message_is_an_empty_posterior():
    message = Hypotheses(skeleton="H36M17", num_hypotheses=50, num_joints=17)
    assert conversions.posterior_from_message(message).joints.shape == (0, 50, 17, 3)


def test_skeleton_definition():
    message = conversions.skeleton_message(H36M17)
    assert list(message.joint_names) == list(H36M17.joints)
    assert list(message.parents) == [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
    assert list(message.side) == [0, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
