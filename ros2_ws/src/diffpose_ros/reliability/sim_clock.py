# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A clock for nodes with ``use_sim_time`` that can be set wrong."""

from __future__ import annotations

import threading

from rclpy.node import Node
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

PERIOD_S = 0.01


class SimClock:
    """Publishes ``/clock``: the system's time, until it is set otherwise.

    Args:
        node: publishes it, while it spins.
    """

    def __init__(self, node: Node) -> None:
        self._system = node.get_clock()
        self._lock = threading.Lock()
        self._ahead_ns = 0
        self._held_ns: int | None = None
        self._set_backs = 0
        self._publisher = node.create_publisher(Clock, "/clock", 1)
        node.create_timer(PERIOD_S, self._publish)

    def read(self) -> tuple[Time, int]:
        """Return the time on this clock, and how often it was set back."""
        with self._lock:
            return self._now(), self._set_backs

    def set(self, by_s: float) -> None:
        """Set it forward, or back if negative, by so much."""
        with self._lock:
            self._ahead_ns += round(by_s * 1e9)
            self._set_backs += by_s < 0
        self._publish()

    def hold(self) -> None:
        """Let it stand still."""
        with self._lock:
            self._held_ns = self._now().nanoseconds

    def go_on(self) -> None:
        """Let it go on from where it stood."""
        with self._lock:
            assert self._held_ns is not None
            self._ahead_ns = self._held_ns - self._system.now().nanoseconds
            self._held_ns = None

    def _now(self) -> Time:
        held_ns = self._held_ns
        return Time(nanoseconds=self._system.now().nanoseconds + self._ahead_ns if held_ns is None else held_ns)

    def _publish(self) -> None:
        with self._lock:  # nobody may hear of the old time after the new one
            self._publisher.publish(Clock(clock=self._now().to_msg()))
