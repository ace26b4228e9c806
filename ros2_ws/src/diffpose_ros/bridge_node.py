#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Hypotheses in; TF frames, bodies of REP 155 and detections of vision_msgs out, for packages that know no others."""

from __future__ import annotations

import sys
import time
from array import array

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_core.kinematics import facing_known
from diffpose_ros.clocks import steady
from diffpose_ros.conversions import posterior_from_message
from diffpose_ros.outputs import HumansOutput, People, TfOutput, VisionOutput
from diffpose_ros.parameters import BridgeParameters
from diffpose_ros.rep155 import body_ids, body_prefix, check_points
from diffpose_ros.runtime import RESULTS, WorkerNode, nanoseconds, run, set_threads

KEPT_HEATMAPS = 100
"""Messages kept, without their tiles, for the hypotheses that come of them."""
LOOK_S = 0.05
"""Time between looks at whether anybody is there still."""


class BridgeNode(WorkerNode[BridgeParameters]):
    """Subscribes ``human_pose3d/hypotheses`` and, with ``use_heatmaps``, ``human_pose2d/heatmaps``.

    What it publishes: docs/outputs.md. Its inputs are hypotheses; heatmaps of the same stamp come with them.
    """

    def __init__(self) -> None:
        super().__init__(BridgeParameters)
        set_threads(1)
        self.tf: TfOutput | None = None
        self.humans: HumansOutput | None = None
        self.detections: VisionOutput | None = None
        self.heatmaps: dict[int, Heatmaps] = {}
        self.last_s: float | None = None

    def configure(self) -> None:
        """Advertise what is wanted."""
        p = self.parameters
        self.prefix = p.id_prefix or body_prefix(self.get_namespace())
        self.tf = TfOutput(self) if p.publish_tf else None
        self.humans = HumansOutput(self, p.humans_namespace) if p.publish_humans else None
        self.detections = VisionOutput(self) if p.publish_detections else None
        self.with_heatmaps = p.use_heatmaps and bool(self.humans or self.detections)
        outputs = {"tf": self.tf, "humans": self.humans, "detections": self.detections}
        self.health.facts |= {
            "publishes": ", ".join(name for name, output in outputs.items() if output) or "nothing",
            "id_prefix": self.prefix,
        }

    def activate(self) -> None:
        """Look now and then whether anybody is still there."""
        super().activate()
        self.every(LOOK_S, self.on_timer, steady())

    def listen(self) -> None:
        """Subscribe."""
        if self.with_heatmaps:  # subscribed first: of two messages that wait, heatmaps are taken first
            self.subscribe(Heatmaps, "human_pose2d/heatmaps", self.on_heatmaps, RESULTS)
        self.subscribe(Hypotheses, "human_pose3d/hypotheses", self.on_hypotheses, RESULTS)

    def forget(self) -> int:
        """Let go of heatmaps that wait for their hypotheses: parts of inputs, not inputs."""
        self.heatmaps.clear()
        return 0

    def deactivate(self) -> None:
        """Say that nobody is tracked any more."""
        super().deactivate()
        self.last_s = None
        if self.humans:
            self.humans.publish_nobody(Header(stamp=self.get_clock().now().to_msg()))
            self.humans.close()

    def cleanup(self) -> None:
        """Let go of what was advertised."""
        if self.tf:
            self.tf.close()
        self.tf = self.humans = self.detections = None

    def on_heatmaps(self, message: Heatmaps) -> None:
        """Keep what is not tiles."""
        self.health.count("heatmaps")
        for person in message.persons:
            person.log_density = array("f")
        self.heatmaps[nanoseconds(message.header.stamp)] = message
        while len(self.heatmaps) > KEPT_HEATMAPS:
            del self.heatmaps[next(iter(self.heatmaps))]

    def on_hypotheses(self, message: Hypotheses) -> None:
        """Hand over to the worker, with the heatmaps of the same image."""
        self.health.received()
        self.last_s = time.monotonic()
        stamp_ns = nanoseconds(message.header.stamp)
        self.offer((message, self.heatmaps.pop(stamp_ns, None)), stamp_ns)

    def on_timer(self) -> None:
        """Say that nobody is there when nothing comes any more, and take away the topics of who left."""
        if self.humans:
            self.humans.tidy(time.monotonic())
        if self.last_s is None or time.monotonic() - self.last_s < self.parameters.lost_after_s:
            return
        self.last_s = None
        if self.humans:
            self.humans.publish_nobody(Header(stamp=self.get_clock().now().to_msg()))

    def process(self, item: tuple[Hypotheses, Heatmaps | None]) -> Time:
        """Convert and publish."""
        message, heatmaps = item
        posterior = posterior_from_message(message)
        ids, seen_ids = body_ids(self.prefix, message.persons), []
        if self.with_heatmaps:
            try:
                if heatmaps is None:
                    raise ValueError("none have the stamp of the hypotheses")
                check_points(heatmaps)
                seen_ids = body_ids(self.prefix, heatmaps.persons)
            except ValueError as error:
                heatmaps = None
                self.lacks("without heatmaps", str(error))
        self.check_time()
        people = People(posterior, message.header, ids, [p.score for p in message.persons], heatmaps, seen_ids)
        for body_id, known in zip(ids, facing_known(posterior.mean).tolist(), strict=True):
            if not known:
                self.lacks("a body faces nowhere", f"{body_id}: its hypotheses face opposite ways")
        if self.tf:
            self.tf.publish(people, self.parameters.tf_joints)
        if self.humans:
            if self.count_publishers(self.humans.topic) > 1:
                self.lacks(f"another node publishes {self.humans.topic}", "listeners see only the newest list")
            self.humans.publish(people, time.monotonic())
            self.last_s = time.monotonic()  # what was published now is taken back, too
        if self.detections:
            self.detections.publish(people)
        return message.header.stamp


if __name__ == "__main__":
    sys.exit(run(BridgeNode))
