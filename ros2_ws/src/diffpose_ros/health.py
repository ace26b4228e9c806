# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What a node did with every input, how long it took, how its topics flow: /diagnostics (docs/diagnostics.md).

Published once a second, and at once when a state changes.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import TimeJump

from diffpose_ros.clocks import BACKWARDS, steady
from diffpose_ros.parameters import FlowParameters
from diffpose_ros.shared_memory import removed
from diffpose_ros.topic_health import ERROR, GOOD, WARN, Expected, TopicHealth

if TYPE_CHECKING:
    from diffpose_ros.managed import ManagedNode

PERIOD_S, CHECK_S, JUST_AFTER_S = 1.0, 0.05, 0.001
LOG_AGAIN_S = 10.0
"""The same complaint is logged once in so many seconds; the counters miss nothing."""
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?")


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed; NaN if there are none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


class Health:
    """Counts every input exactly once: received = processed + dropped + refused + failed + in work.

    Args:
        node: publishes on ``/diagnostics``; its ``state`` is published with the rest.
        facts: what the node runs on (device, weights, ...), published along with the counters.
    """

    def __init__(self, node: ManagedNode[Any], facts: dict[str, str]) -> None:
        self._node, self.facts, self._always = node, facts, dict(facts)
        self._broken = ""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._latency_s: deque[float] = deque(maxlen=300)
        self._last_complaint, self._complained_s = "", -math.inf
        self._logged_s: dict[str, float] = {}
        self.idle = ""
        """Why nothing is expected of the topics at present, although the node is active."""
        self._topics: list[TopicHealth] = []
        self._gone: list[Path] = []
        self._published_s = -math.inf
        self._published_states: list[str] = []
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Health is told by a clock that never stops nor jumps, whatever the node's own clock does.
        self.timer = node.create_timer(CHECK_S, self._check, clock=steady())
        self._jumps = node.get_clock().create_jump_callback(BACKWARDS, post_callback=self._on_jump)

    def watch(self, topic: TopicHealth) -> None:
        """Report a topic; inputs come first, as the cause of what outputs lack."""
        self._topics = sorted([*self._topics, topic], key=lambda t: t.direction)

    def unwatch(self, topic: TopicHealth) -> None:
        """Report it no more."""
        self._topics = [t for t in self._topics if t is not topic]

    def restart(self) -> None:
        """The node becomes active: wait for all topics anew; earlier complaints are no reason of what is missing."""
        self._complained_s = -math.inf
        for topic in self._topics:
            topic.restart(time.monotonic())
        self.idle = ""

    def wake(self) -> None:
        """Somebody listens: wait anew for all topics but those of which one message is enough and was there."""
        for topic in self._topics:
            if topic.steady or not topic.count:
                topic.restart(time.monotonic())
        self.idle = ""

    def received(self) -> None:
        """An input arrived."""
        self._count("received")

    def processed(self, latency_s: float) -> None:
        """An input led to an output, so long after its stamp; if that is in the future there is no latency to tell."""
        with self._lock:
            self._counts["processed"] += 1
            if latency_s >= 0:
                self._latency_s.append(latency_s)

    def dropped(self, reason: str) -> None:
        """An input was passed over by design."""
        self._count("dropped")
        self._count(f"dropped: {reason}")

    def refused(self, reason: str) -> None:
        """An input was bad; say why."""
        self._count("refused")
        self._complain("refused: " + reason)

    def failed(self, reason: str) -> None:
        """The node itself failed on an input that looked good."""
        self._count("failed")
        self._complain("failed: " + reason)

    def degraded(self, reason: str, detail: str = "") -> None:
        """An input leads to an output, but with less than it should have had; counted by the reason alone."""
        self._count("degraded")
        self._count(f"degraded: {reason}")
        self._complain(f"degraded: {reason}", detail)

    def completion_refused(self, reason: str) -> None:
        """A request for a completion was bad; say why."""
        self._count("completions_refused")
        self._complain("completion refused: " + reason)

    def completion_failed(self, reason: str) -> None:
        """The node itself failed on a request that looked good."""
        self._count("completions_failed")
        self._complain("completion failed: " + reason)

    def stumbled(self, reason: str) -> None:
        """Something failed that is no input: a callback, or what is told when an input is done with."""
        self._count("callbacks_failed")
        self._complain("callback failed: " + reason)

    def count(self, name: str, number: int = 1) -> None:
        """Count anything else worth reporting."""
        with self._lock:
            self._counts[name] += number

    def broken(self, reason: str) -> None:
        """A transition failed; an error until :meth:`mended`."""
        self._broken = reason
        self.publish()

    def mended(self) -> None:
        """A transition succeeded."""
        self._broken = ""

    def forget(self) -> None:
        """Forget what the node ran on: it was cleaned up."""
        self.facts = dict(self._always)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _complain(self, reason: str, detail: str = "") -> None:
        text = f"{reason}: {detail}" if detail else reason
        with self._lock:
            self._last_complaint, self._complained_s = text, time.monotonic()
        self._log(reason, text)

    def _log(self, reason: str, text: str) -> None:
        now = time.monotonic()
        with self._lock:
            kind = NUMBER.sub("#", reason)  # one that names a time or a value is the same complaint every time
            quiet = now - self._logged_s.get(kind, -math.inf) < LOG_AGAIN_S
            if not quiet:
                if len(self._logged_s) > 100:
                    self._logged_s.clear()
                self._logged_s[kind] = now
        if not quiet:
            self._node.get_logger().error(text)

    def _on_jump(self, jump: TimeJump) -> None:
        """The node's clock jumped back, or became another: latencies across that mean nothing."""
        with self._lock:
            self._latency_s.clear()
            self._counts["clock_jumps"] += 1

    def _expected(self, topic: TopicHealth) -> Expected:
        p = self._node.parameters
        return p.expected(topic.direction) if isinstance(p, FlowParameters) else Expected()

    def _judged(self) -> list[TopicHealth]:
        """Return the topics of which something is expected now."""
        return [] if self.idle or self._node.state != "active" else self._topics

    def _check(self) -> None:
        now_s = time.monotonic()
        judged = [(topic, self._expected(topic)) for topic in self._judged()]
        states = [self._node.state, self._broken, self.idle]
        states += [f"{t.name} {t.state(expected, now_s)} {t.level(expected, now_s)}" for t, expected in judged]
        if states != self._published_states or now_s - self._published_s >= PERIOD_S:
            changed, self._published_states = states != self._published_states, states
            statuses = self.publish()
            for status in statuses[1:] if changed else []:
                if status.level[0] == ERROR:
                    self._log(status.name, f"{status.name.partition(': ')[2]}: {status.message}")
        # What is due before the next look is looked at when it is due: periods may be shorter than the looks.
        due_s = min((topic.deadline_s(expected, now_s) for topic, expected in judged), default=math.inf)
        self._node.repeat(self.timer, min(CHECK_S, due_s + JUST_AFTER_S))

    def publish(self) -> list[DiagnosticStatus]:
        """Publish the state and return it: of health, then of the topics."""
        now_s = self._published_s = time.monotonic()
        topics = [self._topic_status(topic, now_s) for topic in self._topics]
        array = DiagnosticArray(status=[self._status(topics), *topics])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
        return list(array.status)

    def _topic_status(self, topic: TopicHealth, now_s: float) -> DiagnosticStatus:
        input_ = topic.direction == "input"
        others = (self._node.count_publishers if input_ else self._node.count_subscribers)(topic.name)
        level, message = GOOD, self.idle or self._node.state
        if topic in self._judged():
            expected = self._expected(topic)
            level, message = topic.level(expected, now_s), topic.describe(expected, now_s, others)
        values = {"publishers" if input_ else "subscribers": str(others)} | topic.values(now_s)
        return self._made(level, f"{topic.direction} {topic.name}", message, values)

    def _status(self, topics: list[DiagnosticStatus]) -> DiagnosticStatus:
        with self._lock:
            counts, latency_s, complaint = Counter(self._counts), list(self._latency_s), self._last_complaint
            recent = time.monotonic() - self._complained_s < LOG_AGAIN_S
            new = counts - self._reported
            self._reported = counts
        worst = max(topics, key=lambda status: status.level, default=None)
        if self._broken:
            level, message = ERROR, self._broken
        elif lost := self._lost_segments():
            level, message = ERROR, f"{lost[0]} was removed: nodes that start now cannot hear this one; restart it"
        elif self._node.state != "active":
            level, message = GOOD, self._node.state
        elif new["failed"] or new["completions_failed"] or new["callbacks_failed"]:
            level, message = ERROR, complaint
        elif worst is not None and worst.level > DiagnosticStatus.OK:
            level, message = worst.level[0], f"{worst.name.partition(': ')[2]}: {worst.message}"
            if recent:  # likely the reason: what is refused leads to nothing
                message += f"; {complaint}"
        elif new["refused"] or new["degraded"] or new["completions_refused"]:
            level, message = WARN, complaint
        else:
            level, message = GOOD, self.idle or "working"
        values = {"state": self._node.state}
        values |= {name: str(counts[name]) for name in ("received", "processed", "dropped", "refused", "failed")}
        values |= {name: str(number) for name, number in sorted(counts.items())}
        for name, share in (("latency_p50_s", 0.5), ("latency_p99_s", 0.99)):
            values[name] = f"{percentile(latency_s, share):.4f}"
        return self._made(level, "health", message, values | {"last_complaint": complaint} | self.facts)

    def _lost_segments(self) -> list[Path]:
        """Return own files of shared memory that were gone before already: Fast DDS looks at others' for an instant."""
        before, self._gone = self._gone, removed(os.getpid())
        return [path for path in self._gone if path in before]

    def _made(self, level: int, what: str, message: str, values: dict[str, str]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([level]), name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {what}", message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )  # fmt: skip
