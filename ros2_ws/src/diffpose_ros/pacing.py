# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""When to begin with the next image, if the heatmaps of the last one are still being worked on. Knows nothing of ROS.

A detector that runs ahead of the node after it takes the processor from it, for heatmaps that are old when their turn
comes or that are never used. One that waits until that node is done leaves a core idle. Between the two: it begins
so long before that node will be done, by what it took before, as is :data:`OVERLAP` of its own time.
"""

from __future__ import annotations

import math
import threading
import time

OVERLAP = 0.5
"""Share of the detector's time in which both work."""
NEW = 0.2
"""Weight of the newest duration."""


class Pacer:
    """Waits for the node that works on what this one publishes, as long as there is one that answers.

    Args:
        limit_s: who has not answered for so long is not waited for, until the next answer; 0: wait for nobody.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._change = threading.Condition()
        self._stopped = False
        self._stamp_ns = 0
        self._open_since_s: float | None = None
        self._heard_s = -math.inf
        self._own_s = self._response_s = 0.0

    def set_limit(self, limit_s: float) -> None:
        """Wait no longer than this from now on, in a wait that has begun, too."""
        with self._change:
            self._limit_s = limit_s
            self._change.notify()

    def published(self, stamp_ns: int, took_s: float, now_s: float) -> None:
        """What was made of the image of this stamp, in so much time, leaves now (on the monotonic clock)."""
        with self._change:
            self._own_s = _newer(self._own_s, took_s)
            self._stamp_ns, self._open_since_s = stamp_ns, now_s

    def done(self, stamp_ns: int, now_s: float) -> None:
        """Somebody is done with what was published up to this stamp."""
        with self._change:
            self._heard_s = now_s
            if stamp_ns >= self._stamp_ns and self._open_since_s is not None:
                self._response_s = _newer(self._response_s, self._heard_s - self._open_since_s)
                self._open_since_s = None
                self._change.notify()

    @property
    def begin_s(self) -> float:
        """When the next image is to be begun with if no answer comes before, on the monotonic clock; -inf: now."""
        if self._open_since_s is None:
            return -math.inf
        begin_s = self._heard_s + self._limit_s
        if self._response_s:
            begin_s = min(begin_s, self._open_since_s + self._response_s - OVERLAP * self._own_s)
        return begin_s

    def wait(self) -> None:
        """Return when the next image is to be begun with."""
        with self._change:
            while not self._stopped and (left_s := self.begin_s - time.monotonic()) > 0:
                self._change.wait(left_s)

    def stop(self) -> None:
        """Let go of who waits; nobody waits any more."""
        with self._change:
            self._stopped = True
            self._change.notify()


def _newer(before_s: float, now_s: float) -> float:
    return before_s + NEW * (now_s - before_s) if before_s else now_s
