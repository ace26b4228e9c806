# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What can happen to a running graph; each harm is over when its function returns."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from diffpose_ros.reliability.bench import CAMERA, HYPOTHESES, MARKERS, START_S, Bench, MeasureError
from diffpose_ros.reliability.sim_clock import SimClock
from diffpose_ros.shared_memory import segments

OTHERS_S = 2.0
"""After one participant has dropped another, the rest do so within this."""

UNHEARD_S = 5.0


@dataclass(frozen=True)
class Harm:
    """Something that goes wrong, and is mended again.

    Attributes:
        name: in the table.
        do: does it; returns when it is over.
        output: the topic whose next message tells that the graph works again.
    """

    name: str
    do: Callable[[], None]
    output: str = HYPOTHESES


def killed(bench: Bench, node: str, start: Callable[[], None]) -> Harm:
    """``kill -9``, and started again at once, as a supervisor would."""

    def do() -> None:
        process = bench.processes.running.pop(node)
        process.kill()
        process.wait()
        start()

    return Harm(f"kill -9 {node}", do, MARKERS if node == "marker_node" else HYPOTHESES)


def camera_away(bench: Bench, seconds: float, start: Callable[[], None]) -> Harm:
    """The camera's process ends, and comes back later."""

    def do() -> None:
        process = bench.processes.running.pop(CAMERA)
        process.send_signal(signal.SIGINT)
        process.wait()
        time.sleep(seconds)
        start()

    return Harm(f"camera_node away for {seconds:g} s", do)


def stands_still(bench: Bench, node: str, seconds: float) -> Harm:
    """SIGSTOP, and SIGCONT later: a machine that swaps, a debugger, a virtual machine that is moved."""
    name = f"{node} stands still for {seconds:g} s"
    return Harm(name, partial(_still_while, bench, node, partial(time.sleep, seconds)))


def lost(bench: Bench, node: str) -> Harm:
    """SIGSTOP until its DDS participant's lease is over and the others have dropped it, then SIGCONT."""

    def dropped() -> None:
        bench.wait(lambda: node not in bench.node.get_node_names(), START_S, f"{node} to be dropped")
        time.sleep(OTHERS_S)

    return Harm(f"{node} lost to the others (lease over)", partial(_still_while, bench, node, dropped))


def segment_removed(bench: Bench, node: str) -> Harm:
    """The file of its shared memory is removed, as when the files of a user who logs out are."""

    def do() -> None:
        files = segments(bench.processes.running[node].pid)
        if not files:
            raise MeasureError(f"{node} has no shared memory that could be removed")
        for path in files:
            path.unlink()

    return Harm(f"shared memory of {node} removed", do)


def newcomer(bench: Bench, mute: str, node: str, start: dict[str, Callable[[], None]]) -> Harm:
    """After :func:`segment_removed`: a node that starts now cannot hear the one that lost it, until that is killed."""

    def do() -> None:
        killed(bench, node, start[node]).do()
        bench.health.pop(node, None)
        bench.wait(lambda: node in bench.health, START_S, f"{node} to start")
        time.sleep(UNHEARD_S)
        killed(bench, mute, start[mute]).do()

    return Harm(f"... and {node} killed, {UNHEARD_S:g} s later {mute}", do)


def clock_set(clock: SimClock, by_s: float, whose: str) -> Harm:
    """The clock is set forward or back, and stays so: a recording begins again or leaves something out."""
    return Harm(f"{whose} set by {by_s:+g} s", partial(clock.set, by_s))


def clock_held(clock: SimClock, seconds: float, whose: str) -> Harm:
    """The clock stands still, then goes on: a recording is paused."""

    def do() -> None:
        clock.hold()
        time.sleep(seconds)
        clock.go_on()

    return Harm(f"{whose} held for {seconds:g} s", do)


def clock_wrong(clock: SimClock, by_s: float, seconds: float, whose: str) -> Harm:
    """The clock is wrong for some time."""

    def do() -> None:
        clock.set(by_s)
        time.sleep(seconds)
        clock.set(-by_s)

    return Harm(f"{whose} wrong by {by_s:+g} s for {seconds:g} s", do)


def _still_while(bench: Bench, node: str, wait: Callable[[], None]) -> None:
    process = bench.processes.running[node]
    process.send_signal(signal.SIGSTOP)
    try:
        wait()
    finally:
        process.send_signal(signal.SIGCONT)
