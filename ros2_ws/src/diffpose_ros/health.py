"""What a node did with every input, and how long it took: counters, latency, /diagnostics once a second."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from diffpose_ros.managed import ManagedNode

PERIOD_S = 1.0
LOG_AGAIN_S = 10.0
"""The same complaint is logged once in so many seconds; the counters miss nothing."""


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
        self._last_complaint = ""
        self._logged_s: dict[str, float] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(PERIOD_S, self.publish)

    def received(self) -> None:
        """An input arrived."""
        self._count("received")

    def processed(self, latency_s: float) -> None:
        """An input led to an output, so long after its stamp."""
        with self._lock:
            self._counts["processed"] += 1
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
        now = time.monotonic()
        text = f"{reason}: {detail}" if detail else reason
        with self._lock:
            self._last_complaint = text
            quiet = now - self._logged_s.get(reason, -math.inf) < LOG_AGAIN_S
            if not quiet:
                if len(self._logged_s) > 100:
                    self._logged_s.clear()
                self._logged_s[reason] = now
        if not quiet:
            self._node.get_logger().error(text)

    def publish(self) -> None:
        """Publish the state; called by the timer."""
        with self._lock:
            counts, latency_s, complaint = Counter(self._counts), list(self._latency_s), self._last_complaint
            new = counts - self._reported
            self._reported = counts
        if self._broken:
            level, message = DiagnosticStatus.ERROR, self._broken
        elif self._node.state != "active":
            level, message = DiagnosticStatus.OK, self._node.state
        elif new["failed"]:
            level, message = DiagnosticStatus.ERROR, complaint
        elif new["refused"] or new["degraded"]:
            level, message = DiagnosticStatus.WARN, complaint
        elif not new["received"]:
            level, message = DiagnosticStatus.WARN, "no input in the last second"
        else:
            level, message = DiagnosticStatus.OK, "working"
        values = {"state": self._node.state}
        values |= {name: str(counts[name]) for name in ("received", "processed", "dropped", "refused", "failed")}
        values |= {name: str(number) for name, number in sorted(counts.items())}
        for name, share in (("latency_p50_s", 0.5), ("latency_p99_s", 0.99)):
            values[name] = f"{percentile(latency_s, share):.4f}"
        values |= {"last_complaint": complaint} | self.facts
        status = DiagnosticStatus(
            level=level, name=f"{self._node.get_fully_qualified_name().lstrip('/')}: health", message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )  # fmt: skip
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
