# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How a topic flows: its state by rate and age, QoS that does not fit, messages lost. Knows nothing of ROS."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

OK, NOT_RECEIVED, WARN_RATE, ERROR_RATE, TIMEOUT = "OK", "NotReceived", "WarnRate", "ErrorRate", "Timeout"
INPUT, OUTPUT = "input", "output"
"""Directions."""
GOOD, WARN, ERROR = 0, 1, 2
"""Levels, as in ``diagnostic_msgs/DiagnosticStatus``."""
KEPT, FEWEST = 20, 5
"""Arrivals that a rate is measured over, and that it needs."""


@dataclass(frozen=True)
class Expected:
    """What is expected of a topic; 0: nothing.

    Attributes:
        warn_rate_hz: a lower rate is a warning.
        error_rate_hz: a lower rate is an error.
        timeout_s: it is an error if nothing arrives for longer.
    """

    warn_rate_hz: float = 0.0
    error_rate_hz: float = 0.0
    timeout_s: float = 0.0


class TopicHealth:
    """One input or output. All times are seconds of a clock that never jumps.

    Args:
        name: of the topic.
        direction: ``input`` or ``output``.
        now_s: when messages may come from.
        steady: messages keep coming; false, e.g. for a latched topic: one is enough.
    """

    def __init__(self, name: str, direction: str, now_s: float, steady: bool = True) -> None:
        self.name, self.direction, self.steady = name, direction, steady
        self.incompatible: Counter[str] = Counter()
        self.lost = 0
        self.restart(now_s)

    def restart(self, now_s: float) -> None:
        """Forget what came; begin to wait anew."""
        self.count = 0
        self._since_s = now_s
        self._times_s: deque[float] = deque(maxlen=KEPT)

    def seen(self, now_s: float) -> None:
        """A message came, or was published."""
        self.count += 1
        self._times_s.append(now_s)

    def age_s(self, now_s: float) -> float:
        """Return the time since the newest message; NaN if there is none."""
        return now_s - self._times_s[-1] if self._times_s else math.nan

    def rate_hz(self, now_s: float) -> float:
        """Return the rate of the last messages, falling when they stop; NaN of fewer than two."""
        times = list(self._times_s)
        if len(times) < 2 or times[-1] <= times[0]:
            return math.nan
        return min((len(times) - 1) / (times[-1] - times[0]), len(times) / (now_s - times[0]))

    def state(self, expected: Expected, now_s: float) -> str:
        """Return one of the five states."""
        if not self.count:
            return NOT_RECEIVED
        if not self.steady:
            return OK
        if 0 < expected.timeout_s < self.age_s(now_s):
            return TIMEOUT
        rate_hz = self.rate_hz(now_s) if len(self._times_s) >= FEWEST else math.inf
        if rate_hz < expected.error_rate_hz:
            return ERROR_RATE
        return WARN_RATE if rate_hz < expected.warn_rate_hz else OK

    def level(self, expected: Expected, now_s: float) -> int:
        """Return how bad the state is; what has not come yet is an error once the timeout is over."""
        state = self.state(expected, now_s)
        if state == NOT_RECEIVED:
            return ERROR if 0 < expected.timeout_s < now_s - self._since_s else WARN
        return {OK: GOOD, WARN_RATE: WARN}.get(state, ERROR)

    def deadline_s(self, expected: Expected, now_s: float) -> float:
        """Return how long it is until the timeout, if nothing comes; infinite if there is none or it is over."""
        if not expected.timeout_s or (self.count and not self.steady):
            return math.inf
        left_s = expected.timeout_s - (self.age_s(now_s) if self.count else now_s - self._since_s)
        return left_s if left_s >= 0 else math.inf

    def describe(self, expected: Expected, now_s: float, others: int) -> str:
        """Return the state in words; ``others`` are the publishers of an input, the subscribers of an output."""
        state = self.state(expected, now_s)
        if state == OK:
            return OK
        if state in (WARN_RATE, ERROR_RATE):
            limit_hz = expected.warn_rate_hz if state == WARN_RATE else expected.error_rate_hz
            return f"{state}: {self.rate_hz(now_s):.1f} Hz, expected {limit_hz:g}"
        text = f"{state}: nothing for {now_s - self._since_s if state == NOT_RECEIVED else self.age_s(now_s):.1f} s"
        if self.direction == OUTPUT:
            return text
        if not others:
            return f"{text}, and there is no publisher"
        if self.incompatible:
            return f"{text}, and QoS does not fit: {', '.join(sorted(self.incompatible))}"
        return text

    def values(self, now_s: float) -> dict[str, str]:
        """Return what else is known, by name."""
        result = {
            "count": str(self.count),
            "rate_hz": f"{self.rate_hz(now_s):.2f}",
            "age_s": f"{self.age_s(now_s):.3f}",
        }
        result["lost"] = str(self.lost)
        return result | {f"incompatible_qos: {policy}": str(n) for policy, n in sorted(self.incompatible.items())}
