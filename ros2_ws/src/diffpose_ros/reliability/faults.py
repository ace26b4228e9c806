# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What happens when a node is killed, stands still or is cut off, and when the camera goes and comes back."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diffpose_ros.graph import Value
from diffpose_ros.reliability.bench import CAMERA, Bench
from diffpose_ros.reliability.scenes import scene

RATE_HZ = 5.0
QUIET_S = 3.0
FOREVER = 1_000_000


def faults(prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], rounds: int) -> dict[str, Any]:
    """Do every harm so often; return how long results stayed away afterwards, and what came twice or too late."""
    source = scene(1, 640, 480, folder)
    with Bench(prefix, folder / "faults", overrides) as bench:

        def camera() -> None:
            bench.start_camera(source, RATE_HZ, FOREVER)

        def killed(name: str, start: Callable[[], None]) -> Callable[[], None]:
            def harm() -> None:
                process = bench.processes.running.pop(name)
                process.kill()
                process.wait()
                start()

            return harm

        def stopped(name: str) -> Callable[[], None]:
            def harm() -> None:
                process = bench.processes.running[name]
                process.send_signal(signal.SIGSTOP)
                time.sleep(QUIET_S)
                process.send_signal(signal.SIGCONT)

            return harm

        def camera_away() -> None:
            process = bench.processes.running.pop(CAMERA)
            process.send_signal(signal.SIGINT)
            process.wait()
            time.sleep(QUIET_S)
            camera()

        camera()
        bench.wait(lambda: len(bench.arrivals) > 5, 60, "the first results")
        harms: dict[str, Callable[[], None]] = {
            f"kill -9 {name}": killed(name, partial(bench.processes.start, entry))
            for name, entry in bench.entries.items()
            if name in ("detector_node", "diffusion_node")
        }
        harms["kill -9 camera_node"] = killed(CAMERA, camera)
        harms[f"camera away for {QUIET_S:g} s"] = camera_away
        harms |= {
            f"{name} stands still for {QUIET_S:g} s": stopped(name) for name in ("detector_node", "diffusion_node")
        }
        away: dict[str, list[float]] = {name: [] for name in harms}
        for _, (name, harm) in itertools.product(range(rounds), harms.items()):
            harm()
            over_s = bench.now_s()
            # What was taken after the harm was over: older images must not come at all, or at least not as new ones.
            first = bench.first_result_after(over_s, f"results after {name}")
            away[name].append(first.arrived_s - over_s)
            time.sleep(2.0)
        arrivals = bench.arrivals
    stamps = [a.stamp_s for a in arrivals]
    return {
        "rounds": rounds, "rate_hz": RATE_HZ, "results": len(arrivals), "recovery_s": away,
        "out_of_order_or_twice": sum(a >= b for a, b in itertools.pairwise(stamps)),
        "oldest_s": max(a.age_s for a in arrivals),
    }  # fmt: skip


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = ["| harm | seconds until the first new result: mean, largest |", "|---|---|"]
    for name, seconds in row["recovery_s"].items():
        lines.append(f"| {name} | {sum(seconds) / len(seconds):.1f}, {max(seconds):.1f} |")
    lines += [
        "", f"{row['results']} results; out of order or twice: {row['out_of_order_or_twice']}; "
        f"oldest when it came: {row['oldest_s']:.2f} s",
    ]  # fmt: skip
    return "\n".join(lines)
