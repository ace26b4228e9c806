# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether the nodes' memory grows while they run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_ros.graph import Value
from diffpose_ros.reliability.bench import KINDS, Bench
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
        rows: list[tuple[float, dict[str, dict[str, float]]]] = []
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            bench.check_alive("memory to be measured")  # a process that ended has memory that never grows
            rows.append((passed, bench.memory_mib()))
            time.sleep(EVERY_S)
        results, counters = len(bench.arrivals), {name: bench.counters(name) for name in bench.health}
    series = {
        name: {kind: [memory[name][kind] for _, memory in rows] for kind in KINDS.values()} for name in rows[0][1]
    }
    for kinds in series.values():
        kinds["all"] = [sum(values) for values in zip(*kinds.values(), strict=True)]
    hours, begin = np.array([s for s, _ in rows]) / 3600, int(WARM_UP_SHARE * len(rows))

    def slope(values: list[float]) -> float:
        return float(np.polyfit(hours[begin:], values[begin:], 1)[0])

    every = max(1, len(rows) // 100)
    return {
        "seconds": seconds, "rate_hz": rate_hz, "results": results, "counters": counters,
        "mib_per_hour": {n: {kind: slope(values) for kind, values in kinds.items()} for n, kinds in series.items()},
        "mib": {
            n: {kind: [round(v, 2) for v in values[::every]] for kind, values in kinds.items()}
            for n, kinds in series.items()
        },
    }  # fmt: skip


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = [
        f"{row['results']} results in {row['seconds'] / 3600:.2f} h",
        "",
        "| node | MiB at the start, the end | MiB per hour | of its own | of files | shared |",
        "|---|---|---|---|---|---|",
    ]
    for name, slopes in row["mib_per_hour"].items():
        values = row["mib"][name]["all"]
        rates = " | ".join(f"{slopes[kind]:+.2f}" for kind in ("all", *KINDS.values()))
        lines.append(f"| {name} | {values[0]:.0f}, {values[-1]:.0f} | {rates} |")
    return "\n".join(lines)
