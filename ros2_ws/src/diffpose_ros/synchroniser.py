# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Brings together what several cameras saw at one instant, by the stamps. Knows nothing of ROS."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 30
"""Messages of one topic kept while others are waited for."""
JUMP_BACK_S = 1.0
"""Stamps of one camera come in order: one so far before its newest means that a recording is played again."""
LATEST_S = 10.0
"""Nor is a camera so far behind the others: it is they that were ahead of time."""


@dataclass
class View:
    """One camera's heatmaps, and its depth image if one came."""

    stamp_ns: int
    arrived_ns: int
    heatmaps: Any
    depth: Any = None


@dataclass
class _Camera:
    waiting: list[View] = field(default_factory=list)
    depths: list[tuple[int, Any]] = field(default_factory=list)
    newest_ns: int = -1
    newest_depth_ns: int = -1
    closed_ns: int = -1
    """Heatmaps with stamps up to this one come too late."""


class Synchroniser:
    """Groups heatmaps of cameras, and depth images if wanted, whose stamps differ by no more than a slop.

    A group is complete when every camera is in it with all it should have. It is handed over before that when what
    lacks cannot come any more, because that topic is already further, or when it was waited for long enough.
    Groups come in the order of their stamps, and each message is in at most one of them.

    Args:
        cameras: their names.
        with_depth: those that have depth images too.
        slop_s: largest difference of stamps within a group.
        wait_s: how long heatmaps wait for the rest, from their arrival.
        on_late: called with the name of the camera whose heatmaps came after their group had left.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        with_depth: Collection[str],
        slop_s: float,
        wait_s: float,
        on_late: Callable[[str], None],
    ) -> None:
        self._with_depth = frozenset(with_depth)
        self._on_late = on_late
        self._cameras = {name: _Camera() for name in cameras}
        self.set_limits(slop_s, wait_s)

    def set_limits(self, slop_s: float, wait_s: float) -> None:
        """Change what the constructor was given."""
        self._slop_ns, self._wait_ns = round(slop_s * 1e9), round(wait_s * 1e9)

    def clear(self) -> int:
        """Forget everything; return how many heatmaps waited."""
        waiting = sum(len(c.waiting) for c in self._cameras.values())
        self._cameras = {name: _Camera() for name in self._cameras}
        return waiting

    def heatmaps(self, name: str, stamp_ns: int, message: Any, now_ns: int) -> list[dict[str, View]]:
        """Take the heatmaps of a camera; return the groups that are ready, views by camera."""
        camera = self._cameras[name]
        if stamp_ns < max(camera.newest_ns - JUMP_BACK_S * 1e9, camera.closed_ns - LATEST_S * 1e9):
            self._begin_anew()
            camera = self._cameras[name]
        if stamp_ns <= camera.closed_ns:
            self._on_late(name)
            return []
        bisect.insort(camera.waiting, View(stamp_ns, now_ns, message), key=lambda v: v.stamp_ns)
        camera.newest_ns = max(camera.newest_ns, stamp_ns)
        return self.ready(now_ns)

    def depth(self, name: str, stamp_ns: int, message: Any, now_ns: int) -> list[dict[str, View]]:
        """Take a depth image of a camera; return the groups that are ready."""
        camera = self._cameras[name]
        bisect.insort(camera.depths, (stamp_ns, message), key=lambda d: d[0])
        del camera.depths[:-KEPT]
        camera.newest_depth_ns = max(camera.newest_depth_ns, stamp_ns)
        return self.ready(now_ns)

    def ready(self, now_ns: int) -> list[dict[str, View]]:
        """Return the groups that are complete, or were waited for long enough by now."""
        groups = []
        while heads := {name: c.waiting[0] for name, c in self._cameras.items() if c.waiting}:
            first_ns = min(v.stamp_ns for v in heads.values())
            group = {name: v for name, v in heads.items() if v.stamp_ns <= first_ns + self._slop_ns}
            overdue = now_ns - min(v.arrived_ns for v in group.values()) >= self._wait_ns
            full = any(len(c.waiting) > KEPT for c in self._cameras.values())
            if not (overdue or full) and any(self._expected(name, first_ns, group) for name in self._cameras):
                break
            self._close(first_ns, group)
            groups.append(group)
        return groups

    def _begin_anew(self) -> None:
        for name, camera in self._cameras.items():
            for _ in camera.waiting:
                self._on_late(name)
        self._cameras = {name: _Camera() for name in self._cameras}

    def _expected(self, name: str, first_ns: int, group: dict[str, View]) -> bool:
        """Whether more may still come of this camera for the group."""
        camera = self._cameras[name]
        if name not in group:
            return camera.newest_ns <= first_ns + self._slop_ns
        stamp_ns = group[name].stamp_ns
        return name in self._with_depth and self._nearest(name, stamp_ns) is None and (
            camera.newest_depth_ns <= stamp_ns + self._slop_ns
        )  # fmt: skip

    def _nearest(self, name: str, stamp_ns: int) -> Any:
        """Return the depth image nearest in time, or None."""
        near = min(self._cameras[name].depths, key=lambda d: abs(d[0] - stamp_ns), default=None)
        return near[1] if near is not None and abs(near[0] - stamp_ns) <= self._slop_ns else None

    def _close(self, first_ns: int, group: dict[str, View]) -> None:
        """Give the group its depth images, and let go of everything up to it."""
        for name, camera in self._cameras.items():
            if name in group:
                group[name].depth = self._nearest(name, group[name].stamp_ns)
            camera.closed_ns = group[name].stamp_ns if name in group else first_ns + self._slop_ns
            kept = [v for v in camera.waiting if v.stamp_ns > camera.closed_ns]
            for _ in range(len(camera.waiting) - len(kept) - (name in group)):
                self._on_late(name)
            camera.waiting = kept
            camera.depths = [d for d in camera.depths if d[0] > camera.closed_ns - self._slop_ns]
