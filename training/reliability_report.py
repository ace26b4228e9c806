"""What the reliability commands share: the report that is kept, and real nodes that are talked to."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_S = 120.0


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """Write the figures as JSON, if asked to, with the day and what they were measured on."""
    if path:
        where = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "machine": platform.machine()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(where | report, indent=1) + "\n", encoding="utf-8")


class LiveGraph:
    """Real nodes as processes, and a participant that talks to them; ends them on leaving.

    Needs ROS 2 and the built package. It takes a domain of its own, on this machine only.

    Args:
        log_folder: of the nodes' output.
    """

    def __init__(self, log_folder: Path) -> None:
        spec = importlib.util.find_spec("diffpose")
        if spec is None or spec.origin is None:
            raise ImportError("the package diffpose is not built: make setup")
        os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        from diffpose_ros.graph import environment
        from diffpose_ros.processes import Processes

        self.processes = Processes(Path(spec.origin).parents[4], log_folder)
        os.environ.update(environment(self.processes.share, os.environ))
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        rclpy.init()
        self.node = rclpy.create_node("reliability")
        self.health: dict[str, dict[str, str]] = {}
        self._services: dict[str, Any] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, 100)

    def __enter__(self) -> LiveGraph:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import rclpy

        self.statuses = self.processes.stop()
        self.node.destroy_node()
        rclpy.shutdown()

    def _on_health(self, message: Any) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            level = str(status.level[0])
            self.health[status.name.split(":")[0]] = values | {"message": status.message, "level": level}

    def start(self, executable: str, **parameters: Any) -> None:
        """Start a node and wait for its diagnostics."""
        from diffpose_ros.graph import NodeEntry

        entry = NodeEntry(executable, "", str(self.processes.share / "config" / "estimator.yaml"), parameters)
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

    def set_parameter(self, node: str, name: str, value: Any) -> str:
        """Set a parameter; return the reason of a refusal, or nothing."""
        from rcl_interfaces.msg import Parameter as ParameterMessage
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        message = ParameterMessage(name=name, value=Parameter(name, value=value).get_parameter_value())
        answer = self.call(SetParameters, f"/{node}/set_parameters", SetParameters.Request(parameters=[message]))
        return str(answer.results[0].reason)

    def change(self, node: str, transition: int) -> bool:
        """Ask for a transition of the node's life; return whether it was made."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"/{node}/change_state", request).success)

    def spin(self, seconds: float) -> None:
        """Take what arrives for so long."""
        import rclpy

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Take what arrives until something is so.

        Raises:
            TimeoutError: it is not so in time.
            RuntimeError: a node has ended.
        """
        import rclpy

        end = time.monotonic() + LIMIT_S
        while not condition():
            if ended := self.processes.ended():
                raise RuntimeError(f"ended by themselves while waiting for {what}: {ended}")
            if time.monotonic() > end:
                raise TimeoutError(f"waited {LIMIT_S:g} s for {what}; {self.health}")
            rclpy.spin_once(self.node, timeout_sec=0.02)
