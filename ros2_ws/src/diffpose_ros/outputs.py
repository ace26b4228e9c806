# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where the bridge node publishes: TF, REP 155, vision_msgs. What is not installed is refused by name."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from diffpose.msg import Heatmaps
from diffpose_core import PosePosterior
from diffpose_core.kinematics import facing_known, joint_angles
from diffpose_ros import rep155, vision
from diffpose_ros.endpoints import PublisherEventCallbacks
from diffpose_ros.managed import ManagedNode
from diffpose_ros.runtime import RESULTS
from diffpose_ros.transforms import skeleton_transforms

KEEP_S = 5.0
"""The topics of a body are taken away when it was not seen for so long."""


@dataclass(frozen=True)
class People:
    """The persons of one instant: what the messages are made of.

    Attributes:
        header: stamp of the image, frame of the posterior.
        ids: what every body is called.
        scores: detection confidences.
        heatmaps: of the same instant, if they came.
        heatmap_ids: what the persons of the heatmaps are called.
    """

    posterior: PosePosterior
    header: Header
    ids: Sequence[str]
    scores: Sequence[float]
    heatmaps: Heatmaps | None = None
    heatmap_ids: Sequence[str] = ()


def needed(package: str, parameter: str) -> Any:
    """Import a package that a parameter asks for.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"parameter {parameter} is true, and {package} is not installed: {error}") from error


class TfOutput:
    """Frames of the mean skeletons.

    Raises:
        ValueError: tf2_ros is not installed.
    """

    def __init__(self, node: ManagedNode[Any]) -> None:
        self._broadcaster = needed("tf2_ros", "publish_tf").TransformBroadcaster(node)
        self._node = node

    def publish(self, people: People, joints: bool) -> None:
        """Publish the frames of the bodies, and of their joints if wanted.

        Raises:
            ValueError: the header names no frame.
        """
        if not people.header.frame_id:
            raise ValueError("header.frame_id must name a frame for TF to begin at, got ''")
        if frames := skeleton_transforms(people.posterior, people.header, people.ids, joints):
            self._broadcaster.sendTransform(frames)

    def close(self) -> None:
        """Take the topic away."""
        self._node.destroy_publisher(self._broadcaster.pub_tf)


class HumansOutput:
    """Bodies of REP 155 under a namespace, ``/humans`` by the REP.

    Raises:
        ValueError: hri_msgs is not installed.
    """

    def __init__(self, node: ManagedNode[Any], namespace: str) -> None:
        self._types = needed("hri_msgs.msg", "publish_humans")
        self._node, self._bodies = node, f"{namespace}/bodies"
        self._tracked = node.advertise(self._types.IdsList, f"{self._bodies}/tracked", RESULTS)
        self._publishers: dict[str, dict[str, Any]] = {}
        self._seen_s: dict[str, float] = {}
        self._bodies_change = threading.Lock()

    @property
    def topic(self) -> str:
        """Where the list of bodies is."""
        return str(self._tracked.topic_name)

    def publish(self, people: People, now_s: float) -> None:
        """Publish all topics of all bodies, then their list; who faces nowhere has no joint states."""
        with self._bodies_change:
            self._publish_bodies(people, now_s)
        self._tracked.publish(rep155.tracked(people.header, people.ids))

    def _publish_bodies(self, people: People, now_s: float) -> None:
        mean = people.posterior.mean.double()
        known, angles = facing_known(mean).tolist(), joint_angles(mean).tolist()
        for p, body_id in enumerate(people.ids):
            self._seen_s[body_id] = now_s
            if known[p]:
                state = rep155.joint_state(people.header, body_id, angles[p])
                self._publisher(body_id, "joint_states", JointState).publish(state)
        if people.heatmaps is not None:
            for person, body_id in zip(people.heatmaps.persons, people.heatmap_ids, strict=True):
                self._seen_s[body_id] = now_s
                points, region = rep155.skeleton2d(person, people.heatmaps), rep155.region(person, people.heatmaps)
                self._publisher(body_id, "skeleton2d", self._types.Skeleton2D).publish(points)
                self._publisher(body_id, "roi", self._types.NormalizedRegionOfInterest2D).publish(region)

    def publish_nobody(self, header: Header) -> None:
        """Say that no body is tracked any more."""
        self._tracked.publish(rep155.tracked(header, []))

    def tidy(self, now_s: float) -> None:
        """Take away the topics of bodies not seen for a while."""
        with self._bodies_change:
            self._forget(now_s)

    def close(self) -> None:
        """Take the topics of all bodies away."""
        with self._bodies_change:
            self._forget(None)

    def _publisher(self, body_id: str, name: str, kind: type) -> Any:
        own = self._publishers.setdefault(body_id, {})
        if name not in own:
            # Bodies come and go for hours, and rclpy's group of callbacks never forgets who had some.
            none = PublisherEventCallbacks(use_default_callbacks=False)
            topic = f"{self._bodies}/{body_id}/{name}"
            own[name] = self._node.create_publisher(kind, topic, RESULTS, event_callbacks=none)
        return own[name]

    def _forget(self, now_s: float | None) -> None:
        """Take away the topics of bodies not seen for a while; with None, of all."""
        gone = [i for i, seen_s in self._seen_s.items() if now_s is None or now_s - seen_s > KEEP_S]
        for body_id in gone:
            del self._seen_s[body_id]
            for publisher in self._publishers.pop(body_id, {}).values():
                self._node.destroy_publisher(publisher)


class VisionOutput:
    """Detections of vision_msgs in the image and in space.

    Raises:
        ValueError: vision_msgs is not installed.
    """

    def __init__(self, node: ManagedNode[Any]) -> None:
        types = needed("vision_msgs.msg", "publish_detections")
        self._in_image = node.advertise(types.Detection2DArray, "human_pose2d/detections", RESULTS)
        self._in_space = node.advertise(types.Detection3DArray, "human_pose3d/detections", RESULTS)

    def publish(self, people: People) -> None:
        """Publish the detections of one instant."""
        if people.heatmaps is not None:
            self._in_image.publish(vision.detections2d(people.heatmaps, people.heatmap_ids))
        self._in_space.publish(vision.detections3d(people.posterior, people.header, people.ids, people.scores))
