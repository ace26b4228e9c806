# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Records the graph's messages as MCAP, and counts what the nodes did."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Heatmaps, Hypotheses, SkeletonDefinition

TOPICS: dict[str, tuple[type, str]] = {
    "/image_raw": (Image, "sensor_msgs/msg/Image"),
    "/camera_info": (CameraInfo, "sensor_msgs/msg/CameraInfo"),
    "/human_pose2d/heatmaps": (Heatmaps, "diffpose/msg/Heatmaps"),
    "/human_pose3d/hypotheses": (Hypotheses, "diffpose/msg/Hypotheses"),
    "/human_pose3d/skeleton": (SkeletonDefinition, "diffpose/msg/SkeletonDefinition"),
    "/human_pose3d/markers": (MarkerArray, "visualization_msgs/msg/MarkerArray"),
    "/diagnostics": (DiagnosticArray, "diagnostic_msgs/msg/DiagnosticArray"),
}


class Recorder:
    """A participant of its own that writes down every message, on a thread of its own.

    Args:
        folder: of the recording; must not exist.
        share: the package's share folder, for the message definitions.
    """

    def __init__(self, folder: Path, share: Path) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        for path in sorted((share / "msg").glob("*.msg")):
            self._store.register(get_types_from_msg(path.read_text(), f"diffpose/msg/{path.stem}"))
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(TOPICS, 0)
        self.health: dict[str, dict[str, str]] = {}
        self.messages: dict[str, dict[tuple[int, int], Any]] = {topic: {} for topic in TOPICS}
        rclpy.init()
        self._node = rclpy.create_node("recorder")
        self._connections = {}
        for topic, (kind, name) in TOPICS.items():
            self._connections[topic] = self._writer.add_connection(topic, name, typestore=self._store)
            latched = kind is SkeletonDefinition
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
            self._node.create_subscription(kind, topic, lambda data, t=topic: self._on(t, data), qos, raw=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _on(self, topic: str, data: bytes) -> None:
        with self._lock:
            self._writer.write(self._connections[topic], self._node.get_clock().now().nanoseconds, data)
            self.counts[topic] += 1
        kind = TOPICS[topic][0]
        if kind is DiagnosticArray:
            for status in deserialize_message(data, kind).status:
                node, _, what = status.name.partition(": ")
                if what == "health":
                    self.health[node] = {v.key: v.value for v in status.values}
        elif kind in (Image, Heatmaps, Hypotheses):
            message = deserialize_message(data, kind)
            stamp = message.header.stamp
            self.messages[topic][stamp.sec, stamp.nanosec] = message

    def close(self) -> None:
        """Stop listening and close the file."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown()
        self._writer.close()
