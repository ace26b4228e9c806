# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Starts and ends the processes of the graph where there is no ``ros2 launch``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from diffpose_ros.graph import PACKAGE, NodeEntry, environment

GRACE_S = 10.0


class Processes:
    """The running nodes.

    Args:
        prefix: where the package is installed; executables lie in ``lib/diffpose``, files in ``share/diffpose``.
        log_folder: every node's output goes to a file in it; None: to this process's own output.
    """

    def __init__(self, prefix: Path, log_folder: Path | None = None) -> None:
        self.prefix, self.log_folder = prefix, log_folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def share(self) -> Path:
        """Folder of the package's files."""
        return self.prefix / "share" / PACKAGE

    def start(self, entry: NodeEntry) -> None:
        """Start one node with this Python; if it cannot be configured it ends, unless the entry says otherwise."""
        entry = replace(entry, parameters={"exit_on_error": True, **entry.parameters})
        command = [sys.executable, str(self.prefix / "lib" / PACKAGE / entry.executable), *entry.ros_arguments()]
        log = f"{entry.name.replace('/', '.')}.log"
        output = None if self.log_folder is None else (self.log_folder / log).open("wb")
        # A session of its own: Ctrl-C reaches this process alone, which then ends the nodes in order.
        self.running[entry.name] = subprocess.Popen(
            command, env={**os.environ, **environment(self.share, os.environ)}, stdout=output,
            stderr=subprocess.STDOUT if output else None, start_new_session=True,
        )  # fmt: skip
        if output is not None:
            output.close()

    def ended(self) -> dict[str, int]:
        """Return the nodes that have ended and their exit statuses (negative: by a signal)."""
        return {name: status for name, p in self.running.items() if (status := p.poll()) is not None}

    def stop(self) -> dict[str, int]:
        """Ask all nodes to end, force those that do not; return the exit statuses."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for name, process in self.running.items():
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                print(f"{name} did not end within {GRACE_S:g} s: killed", file=sys.stderr)
                process.kill()
                process.wait()
        return self.ended()
