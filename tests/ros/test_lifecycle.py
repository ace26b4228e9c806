# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The life of real nodes: every transition by service, silence while inactive, mending, parameters that change."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image

from diffpose.msg import Hypotheses
from diffpose_ros.parameters import MarkerParameters
from diffpose_ros.runtime import WorkerNode

sys.path.insert(0, str(Path(__file__).parent))
import scene
from managed import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Managed

HEATMAPS, HYPOTHESES = "/human_pose2d/heatmaps", "/human_pose3d/hypotheses"
OK, WARN, ERROR = 0, 1, 2


@pytest.fixture(scope="module")
def camera(client, start, tmp_path_factory):
    """A camera node that could not be configured: there is no such file."""
    client.listen(Image, "/image_raw")
    client.listen(CameraInfo, "/camera_info")
    start("camera_node", source="none.png", exit_on_error=False, rate_hz=20.0)
    return Managed(client, "camera_node")


@pytest.fixture(scope="module")
def diffusion(client, start):
    """A diffusion node that waits to be configured."""
    client.listen(Hypotheses, HYPOTHESES)
    start("diffusion_node", autostart=False, device="cpu", num_hypotheses=5, steps=2)
    return Managed(client, "diffusion_node")


@pytest.fixture
def image(tmp_path):
    import cv2
    import numpy as np

    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 128, np.uint8))
    return str(path)


def send(client):
    client.publish(HEATMAPS, scene.heatmaps("left", scene.people(), client.node.get_clock().now().to_msg()))


def answer(client):
    """Publish heatmaps; return what comes of them."""
    client.messages[HYPOTHESES].clear()
    send(client)
    client.wait(lambda: client.messages[HYPOTHESES], "hypotheses")
    return client.messages[HYPOTHESES][0]


def test_a_node_that_cannot_be_configured_says_so_and_is_mended(camera, image):
    client = camera.client
    assert camera.state == "unconfigured"
    camera.told("cannot configure: parameter source: there is no file none.png", ERROR)
    assert not camera.change(CONFIGURE)
    assert camera.set(source=image) == [""]
    assert camera.change(CONFIGURE)
    assert camera.state == "inactive"
    camera.told("inactive", OK)
    assert client.messages["/image_raw"] == []
    assert camera.change(ACTIVATE)
    client.wait(lambda: client.messages["/image_raw"] and client.messages["/camera_info"], "images")
    camera.told("working", OK)
    assert client.health["camera_node"]["source"] == image


def test_an_inactive_camera_is_silent(camera):
    client = camera.client
    assert camera.change(DEACTIVATE)
    client.spin(0.5)
    client.messages["/image_raw"].clear()
    client.spin(0.5)
    assert client.messages["/image_raw"] == []
    assert camera.change(CLEANUP)
    assert "source" not in (camera.told("unconfigured", OK) or client.health["camera_node"])


def test_every_transition_and_nothing_published_while_inactive(diffusion):
    client, name = diffusion.client, "diffusion_node"
    assert diffusion.state == "unconfigured"
    assert client.health[name]["state"] == "unconfigured"
    assert diffusion.change(CONFIGURE)
    assert diffusion.change(ACTIVATE)
    assert len(answer(client).persons) == 2
    assert diffusion.change(DEACTIVATE)
    assert diffusion.state == "inactive"
    client.wait(lambda: client.node.count_subscribers(HEATMAPS) == 0, "nobody to listen")
    client.messages[HYPOTHESES].clear()
    client._publishers[HEATMAPS].publish(scene.heatmaps("left", scene.people(), client.stamp()))
    client.spin(1.5)  # diagnostics come once a second
    assert client.messages[HYPOTHESES] == []
    assert client.count(name, "received") == 1
    assert diffusion.change(CLEANUP)
    assert diffusion.state == "unconfigured"
    assert diffusion.change(CONFIGURE)
    assert diffusion.change(ACTIVATE)
    client.wait(lambda: client.node.count_subscribers(HEATMAPS) == 1, "somebody to listen")
    client.spin(0.5)
    assert len(answer(client).persons) == 2
    client.wait_count(name, "processed", 2)
    assert client.health[name]["state"] == "active"


@pytest.mark.parametrize(("wanted", "state"), [(CONFIGURE, "active"), (CLEANUP, "active"), (99, "active")])
def test_a_transition_that_the_state_does_not_have_is_refused(diffusion, wanted, state):
    assert not diffusion.change(wanted)
    assert diffusion.state == state


def test_a_live_parameter_serves_the_next_message(diffusion):
    client = diffusion.client
    assert answer(client).num_hypotheses == 5
    assert diffusion.set(num_hypotheses=7, steps=3, guidance="gradient") == ["", "", ""]
    assert answer(client).num_hypotheses == 7
    client.wait(lambda: client.health["diffusion_node"]["guidance"] == "gradient", "the new guidance in diagnostics")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_hypotheses", 0, "num_hypotheses out of range. Min: 1, Max: 10000, value: 0"),
        ("num_hypotheses", "many", "Wrong parameter type"),
        ("guidance", "magic", "parameter guidance must be one of ('kalman', 'gradient'), got 'magic'"),
        ("sync_slop_s", float("nan"), "sync_slop_s"),
        ("prior", "other.safetensors", "parameter prior is read when the node is configured: clean it up first"),
        ("autostart", True, "read-only parameter: autostart"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_with_the_reason(diffusion, name, value, words):
    (reason,) = diffusion.set(**{name: value})
    assert words in reason
    assert answer(diffusion.client).num_hypotheses == 7


@pytest.mark.parametrize("kind", [10, 255])
def test_a_parameter_of_a_type_that_does_not_exist_is_refused(diffusion, kind):
    """Of a request all is refused, what is good in it too."""
    good = ParameterMessage(name="steps", value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=4))
    request = [good, ParameterMessage(name="num_hypotheses", value=ParameterValue(type=kind, integer_value=3))]
    words = f"parameter num_hypotheses: type must be one of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], got {kind}"
    client, service = diffusion.client, "/diffusion_node/set_parameters"
    answered = client.call(SetParameters, service, SetParameters.Request(parameters=request))
    assert [(r.successful, r.reason) for r in answered.results] == [(False, words)] * 2
    atomic = SetParametersAtomically.Request(parameters=request)
    result = client.call(SetParametersAtomically, f"{service}_atomically", atomic).result
    assert (result.successful, result.reason) == (False, words)
    found = answer(client)
    assert (found.num_hypotheses, found.steps) == (7, 3)


def test_bad_weights_leave_the_node_to_be_mended(diffusion, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no weights")
    assert diffusion.change(DEACTIVATE)
    assert diffusion.change(CLEANUP)
    assert diffusion.set(prior=str(bad)) == [""]
    assert not diffusion.change(CONFIGURE)
    assert diffusion.state == "unconfigured"
    diffusion.told("cannot configure", ERROR)
    assert "bad.safetensors" in diffusion.client.health["diffusion_node"]["message"]
    assert diffusion.set(prior="", device="cuda:99") == ["", ""]
    assert not diffusion.change(CONFIGURE)
    diffusion.told("cuda:99", ERROR)
    assert diffusion.set(device="cpu") == [""]
    assert diffusion.change(CONFIGURE)
    diffusion.told("inactive", OK)


def test_what_waits_when_a_node_is_deactivated_is_counted(diffusion):
    """Heatmaps wait for a depth image that does not come."""
    client, name = diffusion.client, "diffusion_node"
    assert diffusion.change(CLEANUP)
    assert diffusion.set(use_depth=True, sync_wait_s=10.0) == ["", ""]
    assert diffusion.change(CONFIGURE)
    assert diffusion.change(ACTIVATE)
    received = client.count(name, "received")
    client.wait(lambda: client.node.count_subscribers(HEATMAPS) == 1, "somebody to listen")
    client.spin(0.5)
    send(client)
    client.wait_count(name, "received", received + 1)
    assert client.count(name, "dropped") == 0
    assert diffusion.change(DEACTIVATE)
    client.wait_count(name, "dropped: deactivated", 1)
    assert client.count(name, "received") == client.count(name, "processed") + 1


def test_parameters_are_described(diffusion):
    names = ["num_hypotheses", "sync_wait_s", "prior", "autostart"]
    request = DescribeParameters.Request(names=names)
    found = diffusion.client.call(DescribeParameters, "/diffusion_node/describe_parameters", request).descriptors
    assert (found[0].integer_range[0].from_value, found[0].integer_range[0].to_value) == (1, 10000)
    assert (found[1].floating_point_range[0].from_value, found[1].floating_point_range[0].to_value) == (0.0, 10.0)
    assert [d.additional_constraints for d in found] == [
        "can be set: any time", "unit: s; can be set: any time", "can be set: unconfigured", "can be set: at start",
    ]  # fmt: skip
    assert [d.read_only for d in found] == [False, False, False, True]


STATES = {
    "unconfigured": (),
    "inactive": (CONFIGURE,),
    "active": (CONFIGURE, ACTIVATE),
    "finalized": (CONFIGURE, ACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN),
}


@pytest.mark.parametrize("name", STATES)
def test_a_node_is_interrupted_in_every_state(client, start, name):
    """The end of the module interrupts it, and checks that it ends with status 0."""
    start("marker_node", name, autostart=False)
    node = Managed(client, f"{name}/marker_node")
    assert all(node.change(transition) for transition in STATES[name])
    assert node.state == name
    assert not (name == "finalized" and node.change(CONFIGURE))


class Clumsy(WorkerNode[MarkerParameters]):
    """Fails whenever it is done with an input, and so often when it is deactivated."""

    def __init__(self, failures):
        super().__init__(MarkerParameters)
        self.failures = failures

    def listen(self):
        pass

    def process(self, item):
        return item

    def done(self, item):
        raise RuntimeError("clumsy when done")

    def deactivate(self):
        super().deactivate()
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("clumsy at the end")

    def values(self):
        return {v.key: v.value for v in self.health.publish()[0].values}


@pytest.fixture
def clumsy(client):
    made = []

    def maker(failures):
        made.append(Clumsy(failures))
        assert made[-1].trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert made[-1].trigger_activate() == TransitionCallbackReturn.SUCCESS
        return made[-1]

    yield maker
    for node in made:
        node.close()


def test_a_worker_outlives_what_fails_after_its_work(clumsy):
    node = clumsy(0)
    for number in (1, 2):
        node.offer(Time(sec=number), number * 10**9)
        end = time.monotonic() + 30
        while node.values().get("callbacks_failed") != str(number):
            assert time.monotonic() < end, node.values()
    assert node.values()["processed"] == "2"
    assert node.values()["last_complaint"] == "callback failed: RuntimeError: clumsy when done"


@pytest.mark.parametrize(
    ("failures", "state", "what"), [(1, "unconfigured", "deactivate"), (9, "finalized", "recover")]
)
def test_a_transition_that_fails_at_the_end_is_told(clumsy, failures, state, what):
    node = clumsy(failures)
    node.trigger_deactivate()
    assert node.state == state
    status = node.health.publish()[0]
    assert (status.level[0], status.message) == (ERROR, f"cannot {what}: RuntimeError: clumsy at the end")


def test_more_messages_than_ever_before_need_no_memory_of_the_system():
    """A process with the variables that the launch files set: the peak of its configuration, and 20 MiB more."""
    program = textwrap.dedent("""
        import os
        import rclpy
        from diffpose_ros.managed import ManagedNode
        from diffpose_ros.parameters import MarkerParameters
        from diffpose_ros.reliability.bench import memory_mib

        MIB = 2**20

        def own_mib():
            return memory_mib(os.getpid())["own"]

        def messages(number):
            return [b"\\2" * MIB for _ in range(number)]

        class Node(ManagedNode):
            def configure(self):
                messages(30)

        rclpy.init()
        node = Node(MarkerParameters)
        node.trigger_configure()
        before = own_mib()
        kept = messages(50)
        print(len(kept), node.state, own_mib() - before)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=True)
    number, state, growth_mib = done.stdout.split()
    assert (number, state) == ("50", "inactive")
    assert float(growth_mib) < 2, done.stdout
