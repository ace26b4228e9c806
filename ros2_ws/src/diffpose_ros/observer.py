# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Looks at a running graph for ``diffpose doctor``: nodes, topics, headers of images, diagnostics, the machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node as RosNode
from rclpy.node import NodeNameNonExistentError
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_ros import doctor
from diffpose_ros.doctor import IMAGES, INFO, KINDS, Endpoint, Finding, Message, Node, Seen, Status, Topic
from diffpose_ros.graph import PACKAGE
from diffpose_ros.runtime import LATCHED
from diffpose_ros.shared_memory import SHARED

ANYTHING = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
"""Fits every publisher, but what is latched is sent to those alone who ask for it."""
ASKED = {
    "detector_node": ("device", "camera_info_mode", "rectified"), **{kind: ("device",) for kind in doctor.ESTIMATORS}
}  # fmt: skip
"""Parameters that are asked for, beside ``use_sim_time``, by the node that has them."""
KEPT = 200
DISCOVERY_S = 1.5
TYPES = {IMAGES[0]: Image, IMAGES[1]: CompressedImage, INFO: CameraInfo}
OURS = {f"{PACKAGE}/msg/{kind.__name__}": kind for kind in (Heatmaps, Hypotheses)}


def message_from_cdr(data: bytes) -> Message:
    """Return what the header says that begins a serialized message (XCDR1: 4 bytes, then stamp and frame_id)."""
    order = "<" if data[1] & 1 else ">"
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, 4)
    frame_id = data[16 : 16 + max(length - 1, 0)].decode(errors="replace")
    return Message(sec * 10**9 + nanosec, frame_id)


class Observer:
    """Listens to a graph.

    Args:
        node: it listens through.
        namespace: of the nodes that are looked at; empty: all.
    """

    def __init__(self, node: RosNode, namespace: str) -> None:
        self._node, self._namespace = node, namespace.strip("/")
        self._messages: dict[str, deque[Message]] = {}
        self._first: dict[str, dict[str, str]] = {}
        self._last: dict[str, tuple[int, str, dict[str, str]]] = {}
        self._clients: dict[tuple[str, type], Any] = {}
        self._answers: dict[tuple[str, type], Any] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def look(self) -> None:
        """Ask nodes, and listen to topics, that were not known yet."""
        for name in set(self._names()):
            self._ask(name, GetState, "get_state", GetState.Request())
            names = ["use_sim_time", *_asked(name)]
            self._ask(name, GetParameters, "get_parameters", GetParameters.Request(names=names))
        for topic, (_, kind) in self._topics().items():
            publishers = self._endpoints(topic).publishers
            if topic not in self._messages and kind in TYPES | OURS and publishers:
                self._messages[topic] = deque(maxlen=KEPT)
                callback = self._listener(topic, kind)
                qos = LATCHED if all(p.latched and p.reliable for p in publishers) else ANYTHING
                # Serialized: of an image the header is enough. Our own topics wake nodes that work on demand.
                self._node.create_subscription((TYPES | OURS)[kind], topic, callback, qos, raw=True)

    def seen(self) -> Seen:
        """Return what was seen so far."""
        nodes = tuple(self._answered(name) for name in self._names())
        topics = {name: self._endpoints(name) for name in [*self._topics(), "/clock"]}
        health = {}
        for name, (level, message, values) in self._last.items():
            came = {k: int(values.get(k, 0)) - int(self._first[name].get(k, 0)) for k in ("received", "dropped")}
            health[name] = Status(level, message, values, **came)
        return Seen(
            nodes, topics, {name: tuple(messages) for name, messages in self._messages.items()}, health, time.time_ns(),
            os.environ.get("ROS_DOMAIN_ID", "0"), Path("/dev/nvidia0").exists(), _socket_bytes(),
            shutil.disk_usage(SHARED).total,
        )  # fmt: skip

    def _names(self) -> list[str]:
        """Return the full names of our nodes; twice what is there twice."""
        found = []
        for name, namespace in self._node.get_node_names_and_namespaces():
            inside = f"{namespace.strip('/')}/".startswith(f"{self._namespace}/") or not self._namespace
            if name in KINDS and inside:
                found.append(f"{namespace.rstrip('/')}/{name}")
        return sorted(found)

    def _topics(self) -> dict[str, tuple[str, str]]:
        """Return the topics of our nodes: the node and the type, by name."""
        found = {}
        for full in set(self._names()):
            namespace, _, name = full.rpartition("/")
            for side in (
                self._node.get_subscriber_names_and_types_by_node,
                self._node.get_publisher_names_and_types_by_node,
            ):
                try:
                    found_here = side(name, namespace or "/")
                except NodeNameNonExistentError:  # it has just gone
                    continue
                for topic, kinds in found_here:
                    if kinds[0] in TYPES or kinds[0].startswith((f"{PACKAGE}/", "visualization_msgs/")):
                        found[topic] = (full, kinds[0])
        return found

    def _endpoints(self, topic: str) -> Topic:
        own = self._node.get_name()

        def made(infos: list[Any]) -> tuple[Endpoint, ...]:
            return tuple(_endpoint(info) for info in infos if info.node_name != own)

        return Topic(
            made(self._node.get_publishers_info_by_topic(topic)),
            made(self._node.get_subscriptions_info_by_topic(topic)),
        )

    def _ask(self, name: str, kind: type, service: str, request: Any) -> None:
        """Ask once, as soon as the service is known: before that the request would reach nobody."""
        key = name, kind
        if key not in self._clients:
            self._clients[key] = self._node.create_client(kind, f"{name}/{service}")
        if key not in self._answers and self._clients[key].service_is_ready():
            self._answers[key] = self._clients[key].call_async(request)

    def _answer(self, name: str, kind: type) -> Any:
        future = self._answers.get((name, kind))
        return future.result() if future is not None and future.done() else None

    def _answered(self, name: str) -> Node:
        state, parameters = self._answer(name, GetState), self._answer(name, GetParameters)
        label = state.current_state.label if state is not None else None
        if parameters is None or not parameters.values:  # empty: a node of this name that is not ours
            return Node(name, label)
        sim_time, *values = (parameter_value_to_python(value) for value in parameters.values)
        return Node(name, label, sim_time, **dict(zip(_asked(name), values, strict=True)))

    def _listener(self, topic: str, kind: str) -> Callable[[bytes], None]:
        def listen(data: bytes) -> None:
            message = message_from_cdr(data)
            if kind == INFO:
                info = deserialize_message(data, CameraInfo)
                unset = tuple(name for name, matrix in (("K", info.k), ("P", info.p)) if not any(matrix))
                message = Message(message.stamp_ns, message.frame_id, unset)
            self._messages[topic].append(message)

        return listen

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            node, _, what = status.name.partition(": ")
            if what == "health" and node.rpartition("/")[2] in KINDS:
                values = {v.key: v.value for v in status.values}
                self._first.setdefault(f"/{node}", values)
                self._last[f"/{node}"] = status.level[0], status.message, values


def _asked(name: str) -> tuple[str, ...]:
    return ASKED.get(name.rpartition("/")[2], ())


def _endpoint(info: Any) -> Endpoint:
    qos = info.qos_profile
    deadline_ns = qos.deadline.nanoseconds
    return Endpoint(
        f"{info.node_namespace.rstrip('/')}/{info.node_name}", info.topic_type,
        qos.reliability == ReliabilityPolicy.RELIABLE, qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        deadline_ns if deadline_ns < 2**62 else 0,
    )  # fmt: skip


def _socket_bytes() -> int:
    """Return the kernel's limit of a receive buffer; a kernel that does not tell is taken to grant enough."""
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except OSError:
        return doctor.LEAST_BUFFER


def observe(seconds: float, namespace: str) -> tuple[Seen, list[Finding]]:
    """Look at the running graph for so long; return what was seen and what is wrong."""
    rclpy.init()
    node = rclpy.create_node("diffpose_doctor")
    observer = Observer(node, namespace)
    begin = time.monotonic()
    looked = begin
    while (now := time.monotonic()) - begin < seconds:
        rclpy.spin_once(node, timeout_sec=0.05)
        if now - begin > DISCOVERY_S and now - looked > 0.5:
            observer.look()
            looked = now
    seen = observer.seen()
    node.destroy_node()
    rclpy.shutdown()
    return seen, doctor.examine(seen)


def main(arguments: list[str]) -> int:
    """Print what is wrong with the running graph; return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="diffpose doctor", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to look")
    parser.add_argument("--namespace", default="", help="look at the nodes in it alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments)
    seen, findings = observe(args.seconds, args.namespace)
    if args.json:
        print(
            json.dumps({"nodes": [asdict(n) for n in seen.nodes], "findings": [asdict(f) for f in findings]}, indent=1)
        )
    else:
        print(doctor.report(seen, findings, args.seconds))
    sys.stdout.flush()
    return int(any(f.level != doctor.NOTE for f in findings))
