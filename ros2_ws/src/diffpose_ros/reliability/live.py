# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Real nodes as processes, by their services: parameters, transitions, diagnostics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from diffpose_ros.graph import NodeEntry, environment
from diffpose_ros.processes import Processes

LIMIT_S = 120.0


class LiveGraph:
    """Real nodes as processes, and a participant that talks to them; ends them on leaving.

    Args:
        prefix: where the package is installed.
        folder: for the nodes' output.
    """

    def __init__(self, prefix: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(prefix, folder)
        os.environ.update(environment(self.processes.share, os.environ))
        rclpy.init()
        self.node = rclpy.create_node("reliability")
        self.health: dict[str, dict[str, str]] = {}
        self.topics: dict[str, dict[str, str]] = {}
        self._services: dict[str, Any] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 100)

    def __enter__(self) -> LiveGraph:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.statuses = self.processes.stop()
        self.node.destroy_node()
        rclpy.shutdown()

    def _on_health(self, message: Any) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            values |= {"message": status.message, "level": str(status.level[0])}
            node, _, what = status.name.partition(": ")
            if what == "health":
                self.health[node] = values
            else:
                self.topics[status.name] = values

    def start(self, executable: str, namespace: str = "", **parameters: Any) -> None:
        """Start a node and wait for its diagnostics."""

        entry = NodeEntry(executable, namespace, str(self.processes.share / "config" / "estimator.yaml"), parameters)
        self.processes.start(entry)
        self.wait(lambda: entry.name in self.health, f"{entry.name} to come up")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Ask a service; return its response."""
        if name not in self._services:
            self._services[name] = self.node.create_client(kind, name)
            self.wait(self._services[name].service_is_ready, f"the service {name}")
        future = self._services[name].call_async(request)
        self.wait(future.done, f"a response of {name}")
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any, kind: int | None = None) -> str:
        """Set a parameter, of a type that may not exist; return the reason of a refusal, or nothing."""

        message = ParameterMessage(name=name, value=Parameter(name, value=value).get_parameter_value())
        if kind is not None:
            message.value.type = kind
        answer = self.call(SetParameters, f"/{node}/set_parameters", SetParameters.Request(parameters=[message]))
        return str(answer.results[0].reason)

    def change(self, node: str, transition: int) -> bool:
        """Ask for a transition of the node's life; return whether it was made."""

        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"/{node}/change_state", request).success)

    def spin(self, seconds: float) -> None:
        """Take what arrives for so long."""

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def spin_until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Take what arrives until something is so, or for so long."""
        end = time.monotonic() + limit_s
        while not condition() and time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.005)

    def lost(self, node: str) -> int:
        """Return how many messages the middleware says the inputs of a node lost."""
        return sum(int(v.get("lost", 0)) for name, v in self.topics.items() if name.startswith(f"{node}: input "))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Take what arrives until something is so.

        Raises:
            TimeoutError: it is not so in time.
            RuntimeError: a node has ended.
        """

        end = time.monotonic() + LIMIT_S
        while not condition():
            if ended := self.processes.ended():
                raise RuntimeError(f"ended by themselves while waiting for {what}: {ended}")
            if time.monotonic() > end:
                raise TimeoutError(f"waited {LIMIT_S:g} s for {what}; {self.health}")
            rclpy.spin_once(self.node, timeout_sec=0.02)
