# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How old a result is when it is published, and how many there are in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffpose_ros.graph import Value
from diffpose_ros.health import percentile
from diffpose_ros.reliability.bench import Bench, MeasureError
from diffpose_ros.reliability.scenes import scene

SIZES = ((640, 480), (1280, 720))
PERSONS = (1, 4)
WARM_UP = 10
"""Results at the start that are left out."""
FLOODS_HZ = (20.0, 80.0, 320.0)
"""The first is more than two cores can use, and not so much that the camera takes them."""


def latency(
    prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], rate_hz: float, frames: int
) -> list[dict[str, Any]]:
    """Measure age at a rate that the nodes keep up with, and the number of results a second when flooded."""
    rows = []
    for width, height in SIZES:
        for persons in PERSONS:
            name = f"{persons}_{width}x{height}"
            with Bench(prefix, folder / name, overrides) as bench:
                bench.start_camera(scene(persons, width, height, folder), rate_hz, frames + WARM_UP)
                counters = bench.settle()
                results = bench.arrivals[WARM_UP:]
                if wrong := [r.persons for r in results if r.persons != persons]:
                    raise MeasureError(f"{name}: {len(wrong)} of {len(results)} results hold other numbers of persons")
                ages = [r.age_s for r in results]
            rows.append(
                {
                    "width": width, "height": height, "persons": persons, "rate_hz": rate_hz, "results": len(ages),
                    "p50_s": percentile(ages, 0.5), "p99_s": percentile(ages, 0.99), "max_s": max(ages),
                    "results_per_s": capacity(prefix, folder, overrides, persons, width, height),
                    "counters": counters,
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def capacity(
    prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], persons: int, width: int, height: int,
    seconds: float = 20.0,
) -> float:  # fmt: skip
    """Return results per second when images come faster than they can be used.

    Raises:
        MeasureError: they never do.
    """
    for rate_hz in FLOODS_HZ:
        with Bench(prefix, folder / f"flood_{persons}_{width}x{height}", overrides) as bench:
            bench.start_camera(scene(persons, width, height, folder), rate_hz, int(rate_hz * (seconds + 10)))
            counters = bench.settle()
            results = bench.arrivals[WARM_UP:]
        if counters["detector_node"]["dropped"] > len(results) / 10:
            return (len(results) - 1) / (results[-1].arrived_s - results[0].arrived_s)
    raise MeasureError(f"{FLOODS_HZ[-1]:g} images a second are no flood")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| image | persons | results | p50, ms | p99, ms | p99 / p50 | largest, ms | results per second, flooded |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        times = [f"{1000 * r[k]:.0f}" for k in ("p50_s", "p99_s")]
        lines.append(
            f"| {r['width']} x {r['height']} | {r['persons']} | {r['results']} | {' | '.join(times)} | "
            f"{r['p99_s'] / r['p50_s']:.2f} | {1000 * r['max_s']:.0f} | {r['results_per_s']:.1f} |"
        )
    return "\n".join(lines)
