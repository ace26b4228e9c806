# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Measure the running nodes; figures are printed as tables and written as JSON.

Every measurement starts the nodes as processes in a ROS domain of its own, on this machine only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffpose_ros.middleware import this_machine_only

DOMAIN = 101


def _overrides(settings: list[str]) -> dict[str, dict[str, Any]]:
    """Parse ``node.parameter=value``, values as JSON or else as text."""
    result: dict[str, dict[str, Any]] = {}
    for text in settings:
        name, _, value = text.partition("=")
        node, _, parameter = name.partition(".")
        if not (node and parameter and value):
            raise ValueError(f"settings are written node.parameter=value, got {text!r}")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        result.setdefault(node, {})[parameter] = parsed
    return result


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def main() -> int:
    """Run one measurement."""
    parser = argparse.ArgumentParser(prog="python -m diffpose_ros.reliability", description=__doc__)
    parser.add_argument(
        "what", choices=("latency", "overload", "soak", "cycles", "faults", "transport", "corrupt", "fuzz")
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="of overload, soak, transport")
    parser.add_argument("--rounds", type=int, default=200, help="of cycles and faults")
    parser.add_argument("--frames", type=int, default=200, help="of latency, per row")
    parser.add_argument("--rate-hz", type=float, default=2.0, help="of latency and soak: a rate that is kept up with")
    parser.add_argument("--count", type=int, default=1200, help="of corrupt and fuzz: files, inputs of a kind")
    parser.add_argument("--seed", type=int, default=0, help="of corrupt and fuzz")
    parser.add_argument("--set", nargs="*", default=[], metavar="NODE.PARAMETER=VALUE", help="other parameters")
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), help="where the ROS package is installed")
    parser.add_argument("--domain", type=int, default=DOMAIN, help="ROS domain, of nobody else")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(args.domain)
    os.environ.update(this_machine_only(os.environ))
    # After the domain is set: these modules talk to ROS.
    from diffpose_ros.reliability import corrupt, cycles, faults, fuzz, latency, overload, soak, transport

    overrides = _overrides(args.set)
    folder = Path(tempfile.mkdtemp(prefix="diffpose_reliability_"))
    runs: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
        "latency": (
            lambda: latency.latency(args.prefix, folder, overrides, args.rate_hz, args.frames), latency.table,
        ),
        "overload": (lambda: overload.overload(args.prefix, folder, overrides, args.seconds), overload.summary),
        "soak": (lambda: soak.soak(args.prefix, folder, overrides, args.seconds, args.rate_hz), soak.summary),
        "cycles": (lambda: cycles.cycles(args.prefix, folder, overrides, args.rounds), cycles.summary),
        "faults": (lambda: faults.faults(args.prefix, folder, overrides, args.rounds), faults.summary),
        "transport": (lambda: transport.transport(args.prefix, args.seconds), transport.summary),
        "corrupt": (lambda: corrupt.corrupt(args.prefix, folder, args.count, args.seed), corrupt.summary),
        "fuzz": (lambda: fuzz.fuzz(args.prefix, folder, args.count, args.seed), fuzz.summary),
    }  # fmt: skip
    run, show = runs[args.what]
    figures = run()
    print(show(figures))
    if args.json:
        report = {"what": args.what, "set": args.set, "machine": machine(), "figures": figures}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if isinstance(figures, dict) and figures.get("passed") is False else 0


if __name__ == "__main__":
    sys.exit(main())
