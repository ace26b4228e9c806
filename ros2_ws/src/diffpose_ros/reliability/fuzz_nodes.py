# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Running nodes are sent malformed messages: each is counted once, and nothing is published of a bad one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Heatmaps, Hypotheses
from diffpose.srv import Complete
from diffpose_core import Camera
from diffpose_ros.conversions import camera_from_info, camera_info, heatmaps_from_message, posterior_from_message
from diffpose_ros.images import decode_compressed, decode_image
from diffpose_ros.parameters import ALL
from diffpose_ros.reliability import fuzz_targets
from diffpose_ros.reliability.live import LiveGraph
from diffpose_ros.reliability.malform import malform
from diffpose_ros.runtime import nanoseconds

PAUSE_S = 0.01
ANSWER_S = 2.0
"""How long a result is waited for; a good message that is refused behind its conversion has none."""
COUNTERS = ("received", "processed", "refused", "dropped", "failed")
FAST = {"device": "cpu", "num_hypotheses": 2, "steps": 1}


@dataclass(frozen=True)
class Stream:
    """What a node is sent.

    Attributes:
        name: for the report.
        node: its executable.
        parameters: of the node.
        topics: types of what is sent, by topic.
        output: type and topic of what it publishes.
        make: returns the messages of one instant by topic, and whether the conversions take them.
    """

    name: str
    node: str
    topics: dict[str, Any]
    output: tuple[Any, str]
    make: Callable[[random.Random], tuple[dict[str, Any], bool]]
    parameters: dict[str, Any] = field(default_factory=dict)


def _takes(conversion: Callable[[], Any]) -> bool:
    try:
        conversion()
    except ValueError:
        return False
    return True


def _info(width: int, height: int) -> CameraInfo:
    camera = Camera.from_field_of_view(max(width, 1), max(height, 1), 60.0)
    return camera_info(camera, Header(frame_id="camera"))


def _image(rng: random.Random) -> tuple[dict[str, Any], bool]:
    image = copy.deepcopy(rng.choice(fuzz_targets.images()))
    malform(rng, image)
    image.header.frame_id = "camera"
    info = _info(image.width, image.height)
    return {"camera_info": info, "image_raw": image}, _takes(lambda: decode_image(image))


def _compressed(rng: random.Random) -> tuple[dict[str, Any], bool]:
    image = copy.deepcopy(rng.choice(fuzz_targets.compressed()))
    malform(rng, image)
    image.header.frame_id = "camera"
    info = _info(fuzz_targets.WIDTH, fuzz_targets.HEIGHT)

    def convert() -> None:
        pixels = decode_compressed(image)
        camera_from_info(info, pixels.shape[1], pixels.shape[0])

    return {"camera_info": info, "image_raw/compressed": image}, _takes(convert)


def _calibration(rng: random.Random) -> tuple[dict[str, Any], bool]:
    image = copy.deepcopy(fuzz_targets.images()[0])
    info = copy.deepcopy(rng.choice(fuzz_targets.infos()))
    malform(rng, info)
    image.header.frame_id = info.header.frame_id = "camera"
    good = _takes(lambda: camera_from_info(info, image.width, image.height))
    return {"camera_info": info, "image_raw": image}, good


def _heatmaps(rng: random.Random) -> tuple[dict[str, Any], bool]:
    message = copy.deepcopy(fuzz_targets.heatmaps()[0])
    malform(rng, message)
    return {"human_pose2d/heatmaps": message}, _takes(lambda: heatmaps_from_message(message))


def _hypotheses(rng: random.Random) -> tuple[dict[str, Any], bool]:
    message = copy.deepcopy(fuzz_targets.hypotheses()[0])
    malform(rng, message)
    return {"human_pose3d/hypotheses": message}, _takes(lambda: posterior_from_message(message))


HEATMAPS, HYPOTHESES, MARKERS = "human_pose2d/heatmaps", "human_pose3d/hypotheses", "human_pose3d/markers"
STREAMS = (
    Stream(
        "detector, images", "detector_node", {"camera_info": CameraInfo, "image_raw": Image}, (Heatmaps, HEATMAPS),
        _image, {"image_size": 64, "device": "cpu"},
    ),
    Stream(
        "detector, compressed images", "detector_node",
        {"camera_info": CameraInfo, "image_raw/compressed": CompressedImage}, (Heatmaps, HEATMAPS), _compressed,
        {"image_size": 64, "device": "cpu", "image_transport": "compressed"},
    ),
    Stream(
        "detector, camera infos", "detector_node", {"camera_info": CameraInfo, "image_raw": Image},
        (Heatmaps, HEATMAPS), _calibration, {"image_size": 64, "device": "cpu"},
    ),
    Stream("diffusion, heatmaps", "diffusion_node", {HEATMAPS: Heatmaps}, (Hypotheses, HYPOTHESES), _heatmaps, FAST),
    Stream("marker, hypotheses", "marker_node", {HYPOTHESES: Hypotheses}, (MarkerArray, MARKERS), _hypotheses),
)  # fmt: skip


def fuzz_nodes(prefix: Path, folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Send so many messages, requests and parameters to every node; return what became of them."""
    rows = []
    with LiveGraph(prefix, folder) as graph:
        for number, stream in enumerate(STREAMS):
            rows.append(_send(graph, stream, f"stream{number}", count, seed))
            print(rows[-1], flush=True)
        rows.append(_requests(graph, "stream3", count, seed))
        print(rows[-1], flush=True)
        for number, stream in enumerate(STREAMS):
            rows.append(_parameters(graph, stream, f"stream{number}", count // len(STREAMS), seed))
            print(rows[-1], flush=True)
    for row in rows:
        row["passed"] = row["passed"] and not any(graph.statuses.values())
    return rows


def _send(graph: LiveGraph, stream: Stream, namespace: str, count: int, seed: int) -> dict[str, Any]:
    """Send messages one by one."""
    kind, output = stream.output
    arrived: list[int] = []
    graph.node.create_subscription(kind, f"{namespace}/{output}", lambda m: arrived.append(_stamp(m)), 1000)
    graph.start(stream.node, namespace, **stream.parameters)
    name = f"{namespace}/{stream.node}"
    graph.wait(lambda: graph.health[name]["state"] == "active", f"{name} to be active")
    reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
    publishers = {t: graph.node.create_publisher(k, f"{namespace}/{t}", reliable) for t, k in stream.topics.items()}
    graph.wait(lambda: all(p.get_subscription_count() for p in publishers.values()), "subscriptions")
    graph.spin(1.0)
    good: set[int] = set()
    for number in range(count):
        messages, fine = stream.make(random.Random(f"{seed} {stream.name} {number}"))
        stamp = graph.node.get_clock().now().to_msg()
        for topic, message in messages.items():
            message.header.stamp = stamp
            publishers[topic].publish(message)
        if fine:
            good.add(nanoseconds(stamp))
            graph.spin_until(partial(_came, arrived, nanoseconds(stamp)), ANSWER_S)
        else:
            graph.spin(PAUSE_S)

    def counters() -> dict[str, int]:
        return {k: int(graph.health[name][k]) for k in COUNTERS}

    graph.spin_until(lambda: counters()["received"] >= count and not _open(counters()), 30.0)
    graph.spin(2.5)
    found = counters()
    lost = graph.lost(name)
    bad = set(arrived) - good
    passed = found["received"] + lost == count and not _open(found) and not found["failed"] and not bad
    return {
        "input": stream.name, "sent": count, "bad": count - len(good), **found, "published": len(arrived),
        "published_of_bad": len(bad), "lost": lost,
        "passed": passed and len(arrived) == len(set(arrived)) == found["processed"],
    }  # fmt: skip


def _came(arrived: list[int], stamp_ns: int) -> bool:
    return stamp_ns in arrived[-10:]


def _open(counters: dict[str, int]) -> int:
    return counters["received"] - sum(counters[k] for k in COUNTERS[1:])


def _stamp(message: Any) -> int:
    header = message.markers[0].header if isinstance(message, MarkerArray) else message.header
    return nanoseconds(header.stamp)


def _requests(graph: LiveGraph, namespace: str, count: int, seed: int) -> dict[str, Any]:
    """Ask for completions, most of them malformed."""
    answered = bad = taken_of_bad = 0
    good = fuzz_targets.requests()[0]
    for number in range(count):
        rng = random.Random(f"{seed} request {number}")
        request = copy.deepcopy(good)
        malform(rng, request)
        fine = _takes(partial(fuzz_targets.use_completion, request))
        answer = graph.call(Complete, f"{namespace}/human_pose3d/complete", request)
        bad += not fine
        answered += answer.success
        taken_of_bad += answer.success and not fine
    name = f"{namespace}/diffusion_node"
    keys = ("completions", "completions_refused", "completions_failed")
    graph.spin_until(lambda: sum(int(graph.health[name].get(k, 0)) for k in keys) == count, 10.0)
    done, refused, failed = (int(graph.health[name].get(k, 0)) for k in keys)
    return {
        "input": "diffusion, completion requests", "sent": count, "bad": bad, "received": done + refused + failed,
        "processed": done, "refused": refused, "dropped": 0, "failed": failed, "published": answered,
        "published_of_bad": taken_of_bad,
        "passed": done + refused == count and done == answered and not failed and not taken_of_bad,
    }  # fmt: skip


def _parameters(graph: LiveGraph, stream: Stream, namespace: str, count: int, seed: int) -> dict[str, Any]:
    """Set parameters to anything; one that is refused must keep its value."""
    name = f"{namespace}/{stream.node}"
    (kind,) = (k for k in ALL if k.node == stream.node)
    items = [f for f in kind.__dataclass_fields__.values() if "doc" in f.metadata]
    refused = changed_though_refused = 0
    for number in range(count):
        rng = random.Random(f"{seed} {stream.name} parameter {number}")
        item = rng.choice(items)
        before = _value(graph, name, item.name)
        no_type = rng.randrange(10, 256) if rng.random() < 0.1 else None
        if graph.set_parameter(name, item.name, _ros_value(fuzz_targets.some_value(rng, item.default)), no_type):
            refused += 1
            changed_though_refused += _value(graph, name, item.name) != before
    return {
        "input": f"{stream.node}, parameters ({namespace})", "sent": count, "bad": refused, "received": count,
        "processed": count - refused, "refused": refused, "dropped": 0, "failed": 0, "published": 0,
        "published_of_bad": changed_though_refused, "passed": not changed_though_refused,
    }  # fmt: skip


def _ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _value(graph: LiveGraph, node: str, name: str) -> Any:
    return graph.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values[0]
