#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The ``diffpose`` command.

``run`` starts the same graphs as ``ros2 launch diffpose estimator.launch.py`` and ``fusion.launch.py``, without launch;
``doctor`` says what is wrong with those that run (docs/doctor.md); ``complete`` and ``generate`` are those of
``python -m diffpose_core``.

    diffpose run source:=photo.jpg num_hypotheses:=100
    diffpose run fusion cameras:=left,right extrinsics_file:=extrinsics.yaml
    diffpose doctor
    diffpose complete seen.json --out completed.json
    diffpose generate --count 24 --picture poses.png
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from diffpose_ros.graph import GRAPHS, PACKAGE, RESPAWN_DELAY_S, nodes
from diffpose_ros.processes import Processes
from diffpose_ros.signals import stop_on

POLL_S = 0.2


def run(arguments: list[str], prefix: Path) -> int:
    """Run a graph until a signal or, without ``respawn``, until a node ends; return the exit status."""
    graph, values = "estimator", {}
    if arguments and arguments[0] in GRAPHS:
        graph, *arguments = arguments
    for text in arguments:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ValueError(f"arguments are written name:=value, got {text!r}")
        values[name] = value
    processes = Processes(prefix)
    entries = {entry.name: entry for entry in nodes(values, processes.share, graph)}
    respawn = values.get("respawn") == "true"
    if values.get("rviz") == "true":
        raise ValueError(f"argument rviz needs `ros2 launch`; start rviz2 by hand with rviz/{graph}.rviz")
    # The nodes have sessions of their own: when the terminal is closed, this process alone is told, but for nohup.
    hang_up = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
    stop = stop_on((signal.SIGINT, signal.SIGTERM, *hang_up))
    try:
        for entry in entries.values():
            processes.start(entry)
        ended_s: dict[str, float] = {}
        while not stop and (respawn or not processes.ended()):
            time.sleep(POLL_S)
            for name, status in processes.ended().items() if respawn else ():
                if name not in ended_s:
                    again = "it is started again"
                    print(f"diffpose: {name} ended by itself with status {status}; {again}", file=sys.stderr)
                    ended_s[name] = time.monotonic()
                elif time.monotonic() - ended_s[name] > RESPAWN_DELAY_S and not stop:
                    del ended_s[name]
                    processes.start(entries[name])
        lost = {} if respawn else processes.ended()
    finally:
        processes.stop()
    for name, status in lost.items():
        print(f"diffpose: {name} ended by itself with status {status}; all others were stopped", file=sys.stderr)
    return 1 if lost else 0


def _prefix() -> Path:
    """Return where the package is installed: this file is there, as a link out of it, or a link leads to it."""
    here = Path(os.path.abspath(__file__))
    found = (path.parents[1] for path in (here, here.resolve()) if (path.parents[1] / "share" / PACKAGE).is_dir())
    return next(found, here.parents[1])


def main() -> int:
    """Parse the command line and run."""
    if sys.argv[1:2] in (["complete"], ["generate"]):
        from diffpose_core.commands.main import main as library  # torch, which `run` itself does not need

        return library(sys.argv[1:], "diffpose")
    if sys.argv[1:2] == ["doctor"]:
        from diffpose_ros.observer import main as doctor  # ROS, which `run` itself does not need

        return doctor(sys.argv[2:])
    listing = ""
    for graph, arguments in GRAPHS.items():
        listing += f"\narguments of run {graph}:\n"
        listing += "".join(f"  {a.name}:={a.default or '<empty>'}  {a.doc}\n" for a in arguments)
    parser = argparse.ArgumentParser(
        prog="diffpose", description="Human pose hypotheses from a camera.", epilog=listing,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "command", choices=["run", "doctor", "complete", "generate"],
        help="run: start all nodes; doctor: what is wrong with those that run; complete, generate: poses in files; "
        "say --help after all but run",
    )  # fmt: skip
    parser.add_argument(
        "arguments", nargs="*", metavar="name:=value", help="of run: a graph, if not estimator, and its arguments"
    )
    args = parser.parse_args()
    try:
        return run(args.arguments, _prefix())
    except ValueError as error:
        print(f"diffpose: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
