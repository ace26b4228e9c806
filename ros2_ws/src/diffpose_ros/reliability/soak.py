# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether the nodes' memory grows while they run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_ros.graph import Value
from diffpose_ros.reliability.bench import Bench
from diffpose_ros.reliability.scenes import scene

EVERY_S = 10.0
WARM_UP_SHARE = 0.2
"""Of the run at its start that is left out: allocators and caches fill."""


def soak(
    prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], seconds: float, rate_hz: float
) -> dict[str, Any]:
    """Show four people for so long; return every process's memory over time and its slope."""
    with Bench(prefix, folder / "soak", overrides) as bench:
        bench.start_camera(scene(4, 640, 480, folder), rate_hz, int(rate_hz * (seconds + 60)))
        rows: list[dict[str, float]] = []
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            bench.check_alive("memory to be measured")  # a process that ended has memory that never grows
            rows.append({"s": passed, **bench.rss_mib()})
            time.sleep(EVERY_S)
        results, counters = len(bench.arrivals), {name: bench.counters(name) for name in bench.health}
    kept = rows[int(WARM_UP_SHARE * len(rows)) :]
    hours = np.array([r["s"] for r in kept]) / 3600
    slopes = {name: float(np.polyfit(hours, [r[name] for r in kept], 1)[0]) for name in rows[0] if name != "s"}
    return {
        "seconds": seconds, "rate_hz": rate_hz, "results": results, "mib_per_hour": slopes,
        "rss_mib": {name: [round(r[name], 2) for r in rows[:: max(1, len(rows) // 100)]] for name in slopes},
        "counters": counters,
    }  # fmt: skip


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = [
        f"{row['results']} results in {row['seconds'] / 3600:.2f} h",
        "",
        "| node | MiB at the start, the end | MiB per hour |",
    ]
    lines += ["|---|---|---|"]
    for name, slope in row["mib_per_hour"].items():
        values = row["rss_mib"][name]
        lines.append(f"| {name} | {values[0]:.0f}, {values[-1]:.0f} | {slope:+.2f} |")
    return "\n".join(lines)
