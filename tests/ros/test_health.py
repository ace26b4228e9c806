# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the diagnostics of a real node say of its topics."""

import os
import signal
import sys
from pathlib import Path

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Hypotheses
from diffpose_ros import middleware
from diffpose_ros.shared_memory import removed, segments

sys.path.insert(0, str(Path(__file__).parent))
from managed import ACTIVATE, Managed

INPUT, OUTPUT = "/human_pose3d/hypotheses", "/human_pose3d/markers"
OK, WARN, ERROR = 0, 1, 2


def nobody(stamp):
    return Hypotheses(header=Header(stamp=stamp, frame_id="map"), skeleton="H36M17", num_hypotheses=5, num_joints=17)


class Topics:
    """The topics of a marker node, as its diagnostics show them."""

    def __init__(self, client, namespace):
        self.client, self.namespace = client, namespace

    def topic(self, name):
        return self.client.topics.get(f"{self.namespace}/marker_node: {name}", {})

    @property
    def input(self):
        return self.topic(f"input /{self.namespace}{INPUT}")

    @property
    def output(self):
        return self.topic(f"output /{self.namespace}{OUTPUT}")

    @property
    def health(self):
        return self.client.health[f"{self.namespace}/marker_node"]

    def until(self, direction, words, level):
        def said():
            status = getattr(self, direction)
            return words in status.get("message", "") and status["level"] == level

        self.client.wait(said, f"{direction}: {words}, level {level}; {self.input} {self.output}", 30)

    def publish(self, stamp=None):
        self.client.publish(f"/{self.namespace}{INPUT}", nobody(stamp or self.client.stamp()))


@pytest.fixture(scope="module")
def started(client, start):
    def starter(namespace, **parameters):
        start("marker_node", namespace, **parameters)
        return Topics(client, namespace)

    return starter


def test_a_topic_that_stops_and_comes_back(client, started):
    node = started("flow", timeout_s=0.4, output_timeout_s=0.4)
    client.listen(MarkerArray, f"/flow{OUTPUT}")
    node.until("input", "NotReceived: nothing for", ERROR)
    assert "there is no publisher" in node.input["message"]
    assert (node.health["level"], node.health["message"][:5]) == (ERROR, "input")
    for number in range(1, 7):
        node.publish()
        client.wait(lambda number=number: len(client.messages[f"/flow{OUTPUT}"]) == number, f"{number} markers")
        client.spin(0.1)
    node.until("input", "OK", OK)
    node.until("output", "OK", OK)
    assert (node.health["level"], node.health["message"]) == (OK, "working")
    node.until("input", "Timeout: nothing for", ERROR)
    node.until("output", "Timeout: nothing for", ERROR)
    assert node.health["message"].startswith(f"input /flow{INPUT}: Timeout: nothing for")
    assert (node.input["count"], node.output["count"]) == ("6", "6")
    assert (node.input["publishers"], node.output["subscribers"], node.input["lost"]) == ("1", "1", "0")
    node.publish()
    node.until("input", "OK", OK)
    node.until("output", "OK", OK)


def test_a_node_without_a_profile_of_its_middleware_says_so_once(client, start, logs, monkeypatch):
    for variable in middleware.VARIABLES:
        monkeypatch.setenv(variable, "")
    start("marker_node", "bare")
    client.wait(lambda: "bare/marker_node" in client.health, "the node")
    assert client.health["bare/marker_node"]["rmw_profile"] == "none"
    what, mend = middleware.shortcoming(rclpy.get_rmw_implementation_identifier(), "none")
    assert (logs / "bare.marker_node.log").read_text().count(f"{what} -> {mend}") == 1


def test_a_rate_that_is_too_low(client, started):
    node = started("slow", timeout_s=0.0, output_timeout_s=0.0, warn_rate_hz=1000.0, error_rate_hz=0.001)
    for _ in range(6):
        node.publish()
        client.spin(0.1)
    node.until("input", "WarnRate: ", WARN)
    assert "expected 1000" in node.input["message"]
    assert node.health["message"].startswith("input /slow")


def test_an_output_has_a_limit_of_its_own(client, started):
    """Results may come more slowly than what they are made of."""
    node = started("apart", timeout_s=0.0, output_timeout_s=0.3)
    node.publish()
    node.until("output", "Timeout: nothing for", ERROR)
    assert (node.input["message"], node.input["level"]) == ("OK", OK)
    assert node.health["message"].startswith(f"output /apart{OUTPUT}: Timeout")


def test_why_nothing_is_published_is_told_with_what_is_missing(client, started):
    node = started("why", output_timeout_s=0.3)
    publisher = client.node.create_publisher(Hypotheses, f"/why{INPUT}", 10)
    client.wait(lambda: publisher.get_subscription_count() == 1, "the node as a subscriber")

    def told():
        publisher.publish(nobody(Time()))
        client.spin(0.1)
        message, level = node.health["message"], node.health["level"]
        return message.startswith("output ") and "stamp is zero" in message and level == ERROR

    client.wait(told, "the output, an error once its timeout is over, and the reason")


def test_a_time_that_ros_cannot_bear_does_not_end_the_node(client, started):
    node = started("broken_clock", use_sim_time=True)
    client.publish("/clock", Clock(clock=Time(sec=-5)))
    client.wait_count("broken_clock/marker_node", "callbacks_failed", 1)
    assert "must not be negative" in node.health["last_complaint"]
    client.publish("/clock", Clock(clock=Time(sec=1000)))
    client.spin(0.3)
    node.publish(Time(sec=999))
    client.wait_count("broken_clock/marker_node", "processed", 1)
    client.node.destroy_publisher(client._publishers.pop("/clock"))


def test_a_qos_that_does_not_fit_is_named(client, started):
    """A best-effort publisher does not serve a reliable subscriber, nor a latched subscriber a volatile publisher."""
    node = started("mismatch", timeout_s=0.5)
    client.node.create_publisher(
        Hypotheses, f"/mismatch{INPUT}", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    client.listen(MarkerArray, f"/mismatch{OUTPUT}", latched=True)
    node.until("input", "and QoS does not fit: reliability", ERROR)
    assert node.input["incompatible_qos: reliability"] == "1"
    client.wait(lambda: node.output.get("incompatible_qos: durability") == "1", "the output's mismatch")


def test_the_qos_of_an_input_can_be_overridden(client, started):
    override = {f"qos_overrides./lax{INPUT}.subscription.reliability": "best_effort"}
    node = started("lax", **override)
    publisher = client.node.create_publisher(
        Hypotheses, f"/lax{INPUT}", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    client.wait(lambda: publisher.get_subscription_count() == 1, "the node as a subscriber")

    def arrived():
        publisher.publish(nobody(client.stamp()))
        client.spin(0.1)
        return node.input.get("count", "0") != "0"

    client.wait(arrived, "a message")
    assert not [key for key in node.input if key.startswith("incompatible")]


def test_an_override_that_does_not_exist_keeps_a_lazy_node_from_being_activated(client, started):
    """At once, and not when somebody listens to it."""
    wrong = {f"qos_overrides./foo{INPUT}.subscription.reliability": "foo"}
    node = started("foo", lazy=True, exit_on_error=False, **wrong)
    client.listen(MarkerArray, f"/foo{OUTPUT}")
    client.wait(lambda: "cannot activate" in node.health["message"], "the reason")
    assert (node.health["level"], node.health["state"]) == (ERROR, "inactive")
    assert "policy `reliability`: `foo`" in node.health["message"]
    assert not Managed(client, "foo/marker_node").change(ACTIVATE)
    node.client.health.clear()
    client.wait(lambda: "foo/marker_node" in client.health, "the node to be there still")
    assert (node.health["level"], node.health["state"]) == (ERROR, "inactive")


def test_latencies_mean_something_when_time_jumps_back(client, started):
    """A recording is played again: what was measured before is forgotten, and nothing is negative."""
    node = started("replay", use_sim_time=True)

    def at(second, stamp_s):
        def known():
            client.publish("/clock", Clock(clock=Time(sec=second)))
            return client.told_s["replay/marker_node"] == second

        client.wait(known, f"the node's clock to show {second} s")
        before = client.count("replay/marker_node", "processed")
        node.publish(Time(sec=stamp_s))
        client.wait_count("replay/marker_node", "processed", before + 1)
        return float(node.health["latency_p50_s"]), float(node.health["latency_p99_s"])

    assert at(1000, 990) == (10.0, 10.0)
    jumps = client.count("replay/marker_node", "clock_jumps")
    assert at(100, 98) == (2.0, 2.0)
    client.wait_count("replay/marker_node", "clock_jumps", jumps + 1)


def test_a_node_whose_shared_memory_is_removed_says_so(client, start):
    """As systemd-logind does when a user logs out; its name tells which file."""
    process = start("marker_node", "removed")
    segment = segments(process.pid)[-1]
    assert removed(process.pid) == []
    os.unlink(segment)
    assert removed(process.pid) == [segment]
    client.wait(lambda: str(segment) in client.health["removed/marker_node"]["message"], "the error", 30)
    assert client.health["removed/marker_node"]["level"] == ERROR
    # Who has known the node hears it still, or nobody could be told.
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
