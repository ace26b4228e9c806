# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The graph as processes, and a participant that notes when every result came."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from diffpose.msg import Hypotheses
from diffpose_ros.graph import NodeEntry, Value, environment, nodes
from diffpose_ros.processes import Processes
from diffpose_ros.reliability.sim_clock import SimClock
from diffpose_ros.runtime import nanoseconds

START_S = 120.0
SETTLE_S = 60.0
COUNTERS = ("received", "processed", "dropped", "refused", "failed")
CAMERA = "camera_node"
KINDS = {"RssAnon": "own", "RssFile": "files", "RssShmem": "shared"}
"""Kinds of memory that the kernel counts for a process."""
HYPOTHESES, MARKERS = "human_pose3d/hypotheses", "human_pose3d/markers"


class MeasureError(RuntimeError):
    """The graph did not do what has to be measured."""


@dataclass(frozen=True)
class Arrival:
    """One published result. Times are seconds since the listener's start, on the nodes' clock.

    Attributes:
        stamp_s: when the image was taken.
        arrived_s: when the result was here.
        ids: of the persons in it.
        set_backs: how often the clock of both times had been set back before.
    """

    stamp_s: float
    arrived_s: float
    ids: tuple[int, ...] = ()
    set_backs: int = 0

    @property
    def persons(self) -> int:
        """How many are in it."""
        return len(self.ids)

    @property
    def age_s(self) -> float:
        """From the image to the result."""
        return self.arrived_s - self.stamp_s


class Bench:
    """The graph of one camera, without the camera until :meth:`start_camera`; a context manager.

    Args:
        prefix: where the package is installed.
        folder: for the nodes' output.
        overrides: node -> parameter -> value.
    """

    def __init__(self, prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(prefix, folder)
        os.environ.update(environment(self.processes.share, os.environ))
        table = nodes({"source": "scene"}, self.processes.share)
        overrides = overrides or {}
        self.entries = {
            e.name: NodeEntry(
                e.executable, e.namespace, e.params_file, e.parameters | overrides.get(e.executable, {}), e.remaps
            )
            for e in table
        }
        self.health: dict[str, dict[str, str]] = {}
        self.clock: SimClock | None = None
        """The nodes' clock where it is not the system's."""
        self._arrivals: dict[str, list[Arrival]] = {HYPOTHESES: [], MARKERS: []}
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        rclpy.init()
        self.node = rclpy.create_node("reliability")
        self._start_ns = self.node.get_clock().now().nanoseconds
        qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(Hypotheses, HYPOTHESES, self._on_result, qos)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 100)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def __enter__(self) -> Bench:
        """Start all nodes but the camera."""
        try:
            started = [name for name in self.entries if name != CAMERA]
            for name in started:
                self.processes.start(self.entries[name])
            self.wait(lambda: all(n in self.health for n in started), START_S, "the nodes' first diagnostics")
        except BaseException:  # nobody else ends what was started already
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the nodes."""
        self.processes.stop()
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown()  # Ctrl-C has done it already

    def start_camera(self, source: Path, rate_hz: float, frames: int, **parameters: Value) -> None:
        """Show a still image so often at this rate."""
        entry = self.entries[CAMERA]
        shown: dict[str, Value] = {
            "source": str(source), "rate_hz": rate_hz, "frames_per_image": frames, "loop": False,
        }  # fmt: skip
        self.processes.start(
            NodeEntry(entry.executable, entry.namespace, entry.params_file, entry.parameters | shown | parameters)
        )

    def listen_to_markers(self) -> None:
        """Note when markers come, too: all other measurements do without that load."""
        self.node.create_subscription(MarkerArray, MARKERS, self._on_markers, 1000)

    @property
    def arrivals(self) -> list[Arrival]:
        """All results so far."""
        return self.arrived(HYPOTHESES)

    def arrived(self, topic: str) -> list[Arrival]:
        """All that came on one of the topics :data:`HYPOTHESES` and :data:`MARKERS` so far."""
        with self._lock:
            return list(self._arrivals[topic])

    def now_s(self) -> float:
        """Seconds since the listener's start, on the nodes' clock."""
        return self._now()[0]

    def first_after(self, taken_s: float, topic: str, number: int, what: str) -> Arrival:
        """Wait for the first of an image that was taken later than this, leaving out so many that came before."""

        def found() -> list[Arrival]:
            return [a for a in self.arrived(topic)[number:] if a.stamp_s > taken_s and a.age_s >= 0]

        self.wait(lambda: bool(found()), START_S, what)
        return found()[0]

    def wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait until the condition holds.

        Raises:
            MeasureError: it does not within the limit, or a node ended.
        """
        end = time.monotonic() + limit_s
        while not condition():
            self.check_alive(what)
            if time.monotonic() > end:
                raise MeasureError(f"waited {limit_s:g} s for {what}; see {self.processes.log_folder}")
            time.sleep(0.05)

    def check_alive(self, what: str) -> None:
        """Go on only if no node has ended.

        Raises:
            MeasureError: one has.
        """
        if ended := self.processes.ended():
            raise MeasureError(f"nodes ended while waiting for {what}: {ended}; see {self.processes.log_folder}")

    def settle(self) -> dict[str, dict[str, int]]:
        """Wait until the camera has ended and every node has done with its inputs; return the counters.

        Raises:
            MeasureError: a node's received is not processed + dropped + refused + failed in the end.
        """
        self.wait(lambda: "(ended)" in self.health.get(CAMERA, {}).get("source", ""), SETTLE_S, "the camera's end")
        try:
            self.wait(lambda: not self._open(), SETTLE_S, "every input to be accounted for")
            time.sleep(2.5)  # diagnostics of another second or two: nothing may have been on its way
            self.wait(lambda: not self._open(), SETTLE_S, "every input to be accounted for")
        except MeasureError as error:
            raise MeasureError(f"{error}; open: {self._open()}") from error
        return {name: self.counters(name) for name in self.health}

    def counters(self, node: str) -> dict[str, int]:
        """Return a node's counters."""
        return {k: int(self.health[node][k]) for k in COUNTERS}

    def memory_mib(self) -> dict[str, dict[str, float]]:
        """Return the resident memory of every process by kind, MiB: its own, of files, shared with other processes."""
        return {name: memory_mib(process.pid) for name, process in self.processes.running.items()}

    def resources(self, node: str) -> dict[str, float]:
        """Return a process's resident memory in MiB, its threads and its open files."""
        folder = Path(f"/proc/{self.processes.running[node].pid}")
        return {
            "rss_mib": sum(memory_mib(self.processes.running[node].pid).values()),
            "threads": len(list((folder / "task").iterdir())),
            "files": len(list((folder / "fd").iterdir())),
        }

    def change_state(self, node: str, transition: int) -> bool:
        """Ask a node for a lifecycle transition and wait for it; return whether it succeeded."""
        service = f"{node}/change_state"
        if service not in self._clients:
            self._clients[service] = self.node.create_client(ChangeState, service)
        client = self._clients[service]
        self.wait(client.service_is_ready, START_S, f"service {service}")
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.wait(future.done, START_S, f"transition {transition} of {node}")
        return bool(future.result().success)

    def _open(self) -> dict[str, int]:
        each = {name: self.counters(name) for name in self.health}
        sums = {name: c["received"] - sum(c[k] for k in COUNTERS[1:]) for name, c in each.items()}
        return {name: number for name, number in sums.items() if number}

    def _on_result(self, message: Hypotheses) -> None:
        self._note(HYPOTHESES, message.header, tuple(person.id for person in message.persons))

    def _on_markers(self, message: MarkerArray) -> None:
        self._note(MARKERS, message.markers[0].header)

    def _note(self, topic: str, header: Header, ids: tuple[int, ...] = ()) -> None:
        stamp_s = (nanoseconds(header.stamp) - self._start_ns) * 1e-9
        arrived_s, set_backs = self._now()
        with self._lock:
            self._arrivals[topic].append(Arrival(stamp_s, arrived_s, ids, set_backs))

    def _now(self) -> tuple[float, int]:
        """Return the time on the nodes' clock and how often that was set back."""
        now, set_backs = self.clock.read() if self.clock else (self.node.get_clock().now(), 0)
        return float(now.nanoseconds - self._start_ns) * 1e-9, set_backs

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, what = status.name.partition(": ")
            if what == "health":
                self.health[node] = {v.key: v.value for v in status.values}


def memory_mib(pid: int) -> dict[str, float]:
    """Return a process's resident memory by kind, as named in :data:`KINDS`, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name in KINDS}
    return {KINDS[name]: number / 1024 for name, number in kib.items()}
