# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How many large images arrive with sensor-data QoS, with the shipped profile of the middleware and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose_ros.graph import PACKAGE, environment
from diffpose_ros.health import percentile
from diffpose_ros.images import image_message
from diffpose_ros.middleware import VARIABLES
from diffpose_ros.runtime import nanoseconds

RATE_HZ = 30.0
SIZE = (1280, 720)
TOPIC = "reliability/image"


def transport(prefix: Path, seconds: float) -> dict[str, Any]:
    """Send images from a process to another, both with the shipped profile, then both without."""
    share = prefix / "share" / PACKAGE
    bare = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    count = int(RATE_HZ * seconds)
    ways = {"shipped profile": {**bare, **environment(share, bare)}, "no profile": bare}
    return {
        "rmw": rclpy.get_rmw_implementation_identifier(),
        "ways": {name: _between(env, count) for name, env in ways.items()},
    }


def _between(env: dict[str, str], count: int) -> dict[str, Any]:
    """Run receiver and sender as processes."""
    command = [sys.executable, "-m", __name__]
    receiver = subprocess.Popen([*command, "receive", str(count)], env=env, stdout=subprocess.PIPE, text=True)
    sender = subprocess.Popen([*command, "send", str(count)], env=env)
    try:
        out, _ = receiver.communicate(timeout=60 + 2 * count / RATE_HZ)
        sender.wait(timeout=10)
    finally:  # if one did not end, the other waits for it for ever
        for process in (receiver, sender):
            process.kill()
            process.wait()
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _send(count: int) -> None:
    rclpy.init()
    node = rclpy.create_node("sender")
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.05)
    time.sleep(1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    next_s = time.monotonic()
    for _ in range(count):
        publisher.publish(image_message(pixels, Header(stamp=node.get_clock().now().to_msg())))
        next_s += 1 / RATE_HZ
        time.sleep(max(0.0, next_s - time.monotonic()))
    time.sleep(2.0)
    node.destroy_node()
    rclpy.shutdown()


def _receive(count: int) -> None:
    rclpy.init()
    node = rclpy.create_node("receiver")
    ages_s: list[float] = []

    def on_image(message: Image) -> None:
        ages_s.append((node.get_clock().now().nanoseconds - nanoseconds(message.header.stamp)) * 1e-9)

    node.create_subscription(Image, TOPIC, on_image, qos_profile_sensor_data)
    while not node.count_publishers(TOPIC):
        rclpy.spin_once(node, timeout_sec=0.05)
    while node.count_publishers(TOPIC):
        rclpy.spin_once(node, timeout_sec=0.05)
    print(
        json.dumps(
            {
                "sent": count, "arrived": len(ages_s),
                "age_p50_s": percentile(ages_s, 0.5), "age_p99_s": percentile(ages_s, 0.99),
            }
        )
    )  # fmt: skip
    node.destroy_node()
    rclpy.shutdown()


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = [f"| {row['rmw']} | sent | arrived | age p50, p99, ms |", "|---|---|---|---|"]
    for name, r in row["ways"].items():
        share = 100 * r["arrived"] / r["sent"]
        ages = f"{1000 * r['age_p50_s']:.1f}, {1000 * r['age_p99_s']:.1f}"
        lines.append(f"| {name} | {r['sent']} | {r['arrived']} ({share:.1f} %) | {ages} |")
    return "\n".join(lines)


if __name__ == "__main__":
    {"send": _send, "receive": _receive}[sys.argv[1]](int(sys.argv[2]))
