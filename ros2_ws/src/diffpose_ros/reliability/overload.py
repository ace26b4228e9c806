# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What happens when images come three times as fast as they can be used: no result is old, no image lost uncounted."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from diffpose_ros.graph import Value
from diffpose_ros.health import percentile
from diffpose_ros.reliability.bench import CAMERA, COUNTERS, Bench
from diffpose_ros.reliability.latency import WARM_UP, capacity
from diffpose_ros.reliability.scenes import scene

FACTOR = 3.0
WINDOWS = 10


def overload(prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], seconds: float) -> dict[str, Any]:
    """Flood the graph for so long; return ages over time and what became of every image."""
    persons, width, height = 1, 640, 480
    per_second = capacity(prefix, folder, overrides, persons, width, height)
    rate_hz = FACTOR * per_second
    with Bench(prefix, folder / "overload", overrides) as bench:
        bench.start_camera(scene(persons, width, height, folder), rate_hz, int(rate_hz * seconds))
        bench.wait(lambda: "(ended)" in bench.health.get(CAMERA, {}).get("source", ""), seconds + 120, "the end")
        counters = bench.settle()
        results = bench.arrivals[WARM_UP:]
    period_s = (results[-1].arrived_s - results[0].arrived_s) / (len(results) - 1)
    size = max(1, len(results) // WINDOWS)
    windows = [[r.age_s for r in results[i : i + size]] for i in range(0, size * WINDOWS, size)]
    stamps = [r.stamp_s for r in results]
    return {
        "seconds": seconds, "capacity_hz": per_second, "rate_hz": rate_hz, "results": len(results),
        "period_s": period_s,
        "age_p50_s": percentile([r.age_s for r in results], 0.5),
        "age_p99_s": percentile([r.age_s for r in results], 0.99),
        "age_max_s": max(r.age_s for r in results),
        "older_than_two_periods": sum(r.age_s > 2 * period_s for r in results) / len(results),
        "age_p50_by_tenth_s": [percentile(w, 0.5) for w in windows if w],
        "out_of_order_or_twice": sum(a >= b for a, b in itertools.pairwise(stamps)),
        "counters": counters,
        "unaccounted": {n: c["received"] - sum(c[k] for k in COUNTERS[1:]) for n, c in counters.items()},
        "lost_on_the_way": {
            "images": counters[CAMERA]["processed"] - counters["detector_node"]["received"],
            "heatmaps": counters["detector_node"]["processed"] - counters["diffusion_node"]["received"],
        },
    }  # fmt: skip


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    tenths = ", ".join(f"{1000 * v:.0f}" for v in row["age_p50_by_tenth_s"])
    return (
        f"{row['rate_hz']:.1f} images a second for {row['seconds']:.0f} s, {1 / row['period_s']:.1f} results a second: "
        f"age p50 {1000 * row['age_p50_s']:.0f} ms, p99 {1000 * row['age_p99_s']:.0f} ms, largest "
        f"{1000 * row['age_max_s']:.0f} ms; two periods are {2000 * row['period_s']:.0f} ms, "
        f"{100 * row['older_than_two_periods']:.2f} % are older; medians of the tenths: {tenths} ms; "
        f"out of order or twice: {row['out_of_order_or_twice']}; unaccounted: {row['unaccounted']}; "
        f"lost on the way: {row['lost_on_the_way']}"
    )
