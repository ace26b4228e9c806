# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Whether a node's life, gone through again and again, leaves anything behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition

from diffpose_ros.graph import Value
from diffpose_ros.reliability.bench import CAMERA, Bench, MeasureError

ROUND = (
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
)  # fmt: skip
WARM_UP_SHARE = 0.2


def cycles(prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], count: int) -> dict[str, Any]:
    """Take every node but the camera through all states so often; return its memory, threads and open files."""
    with Bench(prefix, folder / "cycles", overrides) as bench:
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in bench.processes.running}
        for number in range(count):
            for name, each in rows.items():
                for transition in ROUND:
                    if not bench.change_state(name, transition):
                        raise MeasureError(f"{name} refused transition {transition} in cycle {number}")
                each.append(bench.resources(name))
        alive = [name for name in rows if name != CAMERA and name not in bench.processes.ended()]
    kept = int(WARM_UP_SHARE * count)
    return {
        "cycles": count, "alive": alive,
        "mib_per_100_cycles": {
            name: 100 * float(np.polyfit(range(kept, count), [r["rss_mib"] for r in each[kept:]], 1)[0])
            for name, each in rows.items()
        },
        "rss_mib": {name: [round(r["rss_mib"], 2) for r in each] for name, each in rows.items()},
        "resources": {name: [each[0], each[kept], each[-1]] for name, each in rows.items()},
    }  # fmt: skip


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = [
        f"{row['cycles']} cycles",
        "",
        "| node | MiB: first, after a fifth, last | MiB per 100 cycles | threads | files |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, points in row["resources"].items():
        mib, threads, files = ([f"{p[k]:.0f}" for p in points] for k in ("rss_mib", "threads", "files"))
        slope = row["mib_per_100_cycles"][name]
        lines.append(f"| {name} | {', '.join(mib)} | {slope:+.2f} | {', '.join(threads)} | {', '.join(files)} |")
    return "\n".join(lines)
