# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Real nodes as processes, and a participant that talks to them."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

NOT_THERE = [name for name in ("rclpy", "diffpose", "diffpose_ros") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if NOT_THERE else []

# A domain of its own: nothing else that runs here may answer.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["OMP_NUM_THREADS"] = "1"

import pytest  # noqa: E402

LIMIT_S = 90.0

if not NOT_THERE:
    from diffpose_ros.middleware import this_machine_only

    os.environ.update(this_machine_only(os.environ))
    import rclpy
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    from diffpose_ros.graph import NodeEntry, environment
    from diffpose_ros.processes import Processes

    # The prefix that this Python imports the package from: of the virtual environment, or of a workspace.
    PREFIX = Path(importlib.util.find_spec("diffpose").origin).parents[4]
    SHARE = PREFIX / "share" / "diffpose"


def pytest_report_header():
    return f"ROS tests left out, not installed: {', '.join(NOT_THERE)} (run make setup)" if NOT_THERE else None


class Client:
    """A node in the test's process: publishes, listens, and knows every node's diagnostics."""

    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("test_client")
        self.health, self.topics = {}, {}
        self.told_s = {}  # seconds on the node's clock when it last told of its health
        self.messages = {}
        self._publishers = {}
        self._services = {}
        self._stamp = 0
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 50)

    def _on_health(self, message):
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            node, _, what = status.name.partition(": ")
            self.told_s[node] = message.header.stamp.sec
            (self.health if what == "health" else self.topics)[node if what == "health" else status.name] = values | {
                "message": status.message,
                "level": status.level[0],
            }

    def listen(self, kind, topic, latched=False):
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        self.messages[topic] = []
        self.node.create_subscription(kind, topic, self.messages[topic].append, qos)

    def publish(self, topic, message):
        if topic not in self._publishers:
            publisher = self.node.create_publisher(type(message), topic, 20)
            self._publishers[topic] = publisher
            self.wait(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
            self.spin(0.5)  # the other side learns of it a little later
        self._publishers[topic].publish(message)

    def stamp(self):
        """A stamp that no other message has."""
        self._stamp += 1
        now = self.node.get_clock().now().to_msg()
        return Time(sec=now.sec, nanosec=self._stamp)

    def call(self, kind, name, request):
        """Ask a service; return its response."""
        if name not in self._services:
            self._services[name] = self.node.create_client(kind, name)
            self.wait(self._services[name].service_is_ready, f"the service {name}")
        future = self._services[name].call_async(request)
        self.wait(future.done, f"a response of {name}")
        return future.result()

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def wait(self, condition, what, limit_s=LIMIT_S):
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"waited {limit_s} s for {what}; health: {self.health}"
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def count(self, node, name):
        return int(self.health.get(node, {}).get(name, 0))

    def wait_count(self, node, name, number):
        self.wait(lambda: self.count(node, name) >= number, f"{name} of {node} to be {number}")

    def close(self):
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture(scope="session", autouse=True)
def transport():
    """Images need the same shared memory here as in the nodes."""
    os.environ.update(environment(SHARE, os.environ))


@pytest.fixture(scope="module")
def client(transport):
    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """What every node has written, a file for each."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def start(client, logs):
    """Start nodes by executable name; they end with the module, and must end well."""
    processes = Processes(PREFIX, logs)

    def starter(executable, namespace="", remaps=(), **parameters):
        entry = NodeEntry(executable, namespace, str(SHARE / "config" / "estimator.yaml"), parameters, remaps)
        processes.start(entry)
        client.wait(lambda: entry.name in client.health or processes.ended(), f"{entry.name} to come up")
        log = (logs / f"{entry.name.replace('/', '.')}.log").read_text()
        assert not processes.ended(), log
        return processes.running[entry.name]

    yield starter
    statuses = processes.stop()
    assert set(statuses.values()) <= {0}, statuses


@pytest.fixture(scope="session")
def command():
    """The `diffpose` command of the package that is under test."""
    return [sys.executable, str(PREFIX / "bin" / "diffpose")]


@pytest.fixture
def run_once(tmp_path):
    """Run a node that is expected to end by itself; return exit status and output."""

    def runner(executable, **parameters):
        given = {"exit_on_error": True, **parameters}
        entry = NodeEntry(executable, "", str(SHARE / "config" / "estimator.yaml"), given)
        command = [sys.executable, str(PREFIX / "lib" / "diffpose" / executable), *entry.ros_arguments()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        return done.returncode, done.stdout + done.stderr

    return runner
