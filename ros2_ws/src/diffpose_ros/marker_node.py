#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Hypotheses in, RViz markers out."""

from __future__ import annotations

import sys

from builtin_interfaces.msg import Time
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Hypotheses
from diffpose_ros.conversions import posterior_from_message
from diffpose_ros.markers import MarkerBuilder
from diffpose_ros.parameters import MarkerParameters
from diffpose_ros.runtime import RESULTS, WorkerNode, nanoseconds, run, set_threads


class MarkerNode(WorkerNode[MarkerParameters]):
    """Subscribes ``human_pose3d/hypotheses``; publishes ``human_pose3d/markers``."""

    def __init__(self) -> None:
        super().__init__(MarkerParameters)
        set_threads(1)

    def configure(self) -> None:
        """Advertise."""
        self.publisher = self.advertise(MarkerArray, "human_pose3d/markers", RESULTS)

    def on_parameters(self) -> None:
        """Draw the next ones as is wanted now."""
        p = self.parameters
        self.build = MarkerBuilder(p.max_skeletons, p.ellipsoid_sigmas, p.lifetime_s)

    def wanted(self) -> bool:
        """Whether somebody listens to the markers."""
        return self.publisher.get_subscription_count() > 0

    def listen(self) -> None:
        """Subscribe."""
        self.subscribe(Hypotheses, "human_pose3d/hypotheses", self.on_hypotheses, RESULTS)

    def on_hypotheses(self, message: Hypotheses) -> None:
        """Hand over to the worker."""
        self.health.received()
        self.offer(message, nanoseconds(message.header.stamp))

    def process(self, message: Hypotheses) -> Time:
        """Draw and publish."""
        persons = message.persons
        markers = self.build(
            posterior_from_message(message), message.header, [p.id for p in persons], [p.score for p in persons]
        )
        self.check_time()
        self.publisher.publish(markers)
        return message.header.stamp


if __name__ == "__main__":
    sys.exit(run(MarkerNode))
