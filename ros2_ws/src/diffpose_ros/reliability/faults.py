# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How long results stay away after a harm, and whether any comes stale, twice or with another person's id."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from diffpose_ros.graph import Value
from diffpose_ros.reliability import harms
from diffpose_ros.reliability.bench import CAMERA, HYPOTHESES, MARKERS, Arrival, Bench
from diffpose_ros.reliability.harms import Harm
from diffpose_ros.reliability.scenes import scene
from diffpose_ros.reliability.sim_clock import SimClock
from diffpose_ros.stamps import CLOCK_SET_BACK, TOO_OLD

RATE_HZ = 5.0
FOREVER = 1_000_000
SHORT_S, LONG_S, JUMP_S = 0.5, 3.0, 60.0
SETTLE_S = 2.0
"""After the first new result: what is stale or comes twice has come by then, and diagnostics have told of all."""
MAX_AGE_S = 1.0
"""``max_age_s`` of all nodes."""
WAY_S = 0.1
"""From being published to being noted here."""
KEPT, GIVEN_AGAIN, NEW, NOBODY = "kept", "given again", "new", "nobody"
DETECTOR, DIFFUSION, MARKER = NODES = ("detector_node", "diffusion_node", "marker_node")


def faults(prefix: Path, folder: Path, overrides: dict[str, dict[str, Value]], rounds: int) -> dict[str, Any]:
    """Do every harm so often; return what became of the results, round by round."""
    source = scene(1, 640, 480, folder)
    figures: dict[str, list[dict[str, Any]]] = {}
    results = wrong = 0
    for name, simulated, prepare in (
        ("processes", (), _processes),
        ("clock", (*NODES, CAMERA), _clock),
        ("camera_clock", (CAMERA,), _camera_clock),
    ):
        parameters = {
            node: {**overrides.get(node, {}), "use_sim_time": node in simulated}
            | ({"max_age_s": MAX_AGE_S} if node in NODES else {})
            for node in (*NODES, CAMERA)
        }
        with Bench(prefix, folder / name, parameters) as bench:
            bench.listen_to_markers()
            start_camera = partial(bench.start_camera, source, RATE_HZ, FOREVER)
            every = prepare(bench, start_camera)
            start_camera()
            bench.first_after(bench.now_s(), MARKERS, 5, "the first results")
            for _, harm in itertools.product(range(rounds), every):
                row = _measured(bench, harm)
                figures.setdefault(harm.name, []).append(row)
                wrong += row["ids"] == GIVEN_AGAIN and not row["detector_restarted"]
                print(harm.name, row, flush=True)
            for topic in (HYPOTHESES, MARKERS):
                arrivals = bench.arrived(topic)
                results += len(arrivals)
                wrong += stale(arrivals) + twice_or_out_of_order(arrivals)
    return {
        "rounds": rounds, "rate_hz": RATE_HZ, "max_age_s": MAX_AGE_S, "results": results, "wrong": wrong,
        "harms": figures, "passed": not wrong,
    }  # fmt: skip


def _processes(bench: Bench, start_camera: Callable[[], None]) -> list[Harm]:
    """Harms to processes and their middleware."""
    start = {node: partial(bench.processes.start, bench.entries[node]) for node in NODES} | {CAMERA: start_camera}
    return [
        *(harms.stands_still(bench, node, SHORT_S) for node in (CAMERA, DETECTOR)),
        *(harms.stands_still(bench, node, LONG_S) for node in (DETECTOR, DIFFUSION)),
        harms.camera_away(bench, LONG_S, start_camera),
        *(harms.lost(bench, node) for node in (DETECTOR, DIFFUSION)),
        *(harms.killed(bench, node, start[node]) for node in (CAMERA, DETECTOR, DIFFUSION, MARKER)),
        harms.segment_removed(bench, DETECTOR),
        harms.newcomer(bench, DETECTOR, DIFFUSION, start),
    ]


def _clock(bench: Bench, start_camera: Callable[[], None]) -> list[Harm]:
    """Harms to the clock of all nodes."""
    bench.clock = clock = SimClock(bench.node)
    return [
        harms.clock_set(clock, -JUMP_S, "/clock"),
        harms.clock_set(clock, JUMP_S, "/clock"),
        harms.clock_held(clock, LONG_S, "/clock"),
    ]


def _camera_clock(bench: Bench, start_camera: Callable[[], None]) -> list[Harm]:
    """Harms to the clock of the camera alone."""
    clock = SimClock(bench.node)
    return [harms.clock_wrong(clock, by_s, LONG_S, "the camera's clock") for by_s in (JUMP_S, -JUMP_S)]


def _measured(bench: Bench, harm: Harm) -> dict[str, Any]:
    """Do a harm in the midst of the work on an image; return what came of it."""
    bench.first_after(bench.now_s(), HYPOTHESES, len(bench.arrivals), f"a result before {harm.name}")
    time.sleep(0.5 / RATE_HZ)
    before = {topic: bench.arrived(topic) for topic in (HYPOTHESES, MARKERS)}
    passed_over, processes = _passed_over(bench.health), _pids(bench)
    harm.do()
    over_s, meanwhile = bench.now_s(), len(bench.arrivals) - len(before[HYPOTHESES])
    first = bench.first_after(over_s, harm.output, len(bench.arrived(harm.output)), f"results after {harm.name}")
    time.sleep(SETTLE_S)
    same = {node for node, pid in _pids(bench).items() if processes.get(node) == pid}
    came = {topic: bench.arrived(topic)[len(known) :] for topic, known in before.items()}
    return {
        "recovery_s": first.arrived_s - over_s,
        "results_meanwhile": meanwhile,
        "ids": fate_of_ids(before[HYPOTHESES][-1], came[HYPOTHESES], DETECTOR not in same),
        "detector_restarted": DETECTOR not in same,
        "stale": sum(map(stale, came.values())),
        "twice_or_out_of_order": sum(twice_or_out_of_order(before[topic][-1:] + came[topic]) for topic in came),
        "passed_over": dict(_passed_over(bench.health) - passed_over_before(passed_over, same)),
    }


def fate_of_ids(before: Arrival, after: Sequence[Arrival], restarted: bool) -> str:
    """Say whether the ids from before are kept. The others are new if they are higher: ids are counted upwards.

    Args:
        before: the last result before the harm.
        after: all from there.
        restarted: by another process of the detector, to which every id is a new one.
    """
    ids = {i for a in after for i in a.ids}
    if not ids:
        return NOBODY
    if not (others := ids - set(() if restarted else before.ids)):
        return KEPT
    return NEW if min(others) > max(before.ids, default=-1) else GIVEN_AGAIN


def stale(arrivals: Sequence[Arrival]) -> int:
    """Return how many are older than allowed, or of a time before the clock was set back."""
    return sum(not 0 <= a.age_s <= MAX_AGE_S + WAY_S for a in arrivals)


def twice_or_out_of_order(arrivals: Sequence[Arrival]) -> int:
    """Return how many are not newer than the one before them; a clock that is set back begins anew."""
    keys = [(a.set_backs, a.stamp_s) for a in arrivals]
    return sum(a >= b for a, b in itertools.pairwise(keys))


def passed_over_before(passed_over: Counter[str], same: Iterable[str]) -> Counter[str]:
    """Return what was passed over before a harm by the processes that still run: another counts from 0."""
    return Counter({what: number for what, number in passed_over.items() if what.partition(": ")[0] in same})


def _pids(bench: Bench) -> dict[str, int]:
    return {node: process.pid for node, process in bench.processes.running.items()}


def _passed_over(health: dict[str, dict[str, str]]) -> Counter[str]:
    """Return how many inputs each node refused, and dropped because their time was over."""
    names = ("refused", f"dropped: {TOO_OLD}", f"dropped: {CLOCK_SET_BACK}")
    return Counter({f"{node}: {name}": int(values.get(name, 0)) for node, values in health.items() for name in names})


def summary(row: dict[str, Any]) -> str:
    """Say what was found."""
    lines = [
        "| harm | seconds to a result: mean, largest | id | refused, too old, set back | stale | twice, out of order |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, found in row["harms"].items():
        seconds = [each["recovery_s"] for each in found]
        ids = Counter(each["ids"] for each in found)
        passed_over = sum(sum(each["passed_over"].values()) for each in found)
        sums = [passed_over, *(sum(each[key] for each in found) for key in ("stale", "twice_or_out_of_order"))]
        fates = ", ".join(fate if number == len(found) else f"{fate} {number}" for fate, number in ids.items())
        times = f"{sum(seconds) / len(seconds):.1f}, {max(seconds):.1f}"
        lines.append(f"| {name} | {times} | {fates} | {' | '.join(map(str, sums))} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{row['rounds']} rounds, {row['results']} results and markers; stale, twice or out of order: "
            f"{row['wrong']}.",
        ]
    )
