# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Fuzz one target in this process, which may crash: ``python -m diffpose_ros.reliability.fuzz_worker``.

Three ways: ``fields`` (hypothesis changes the fields of a message), ``bytes`` (hypothesis changes its serialized form)
and ``guided`` (atheris, which looks for bytes that reach new code). What was done is counted in a mapped file, so that
it is known after a crash too. The exit status is not 0 if anything but ``ValueError`` came out.
"""

from __future__ import annotations

import argparse
import copy
import mmap
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("fields", "bytes", "guided")
COUNTS = ("runs", "refused", "not_deserialized", "taken")
INSTRUMENTED = [
    "diffpose_ros.images", "diffpose_ros.conversions", "diffpose_ros.completion", "diffpose_ros.ros_parameters",
    "diffpose_ros.parameters", "diffpose_core.onnx_file", "diffpose_core.prior.checkpoint", "diffpose_core.camera",
]  # fmt: skip


class Counters:
    """Numbers in a file that outlive the process.

    Args:
        path: the file; made with zeros if it is not there.
    """

    def __init__(self, path: Path) -> None:
        size = 8 * len(COUNTS)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def add(self, name: str) -> None:
        """Count one."""
        at = 8 * COUNTS.index(name)
        (value,) = struct.unpack_from("<Q", self._map, at)
        struct.pack_into("<Q", self._map, at, value + 1)

    def values(self) -> dict[str, int]:
        """Return all numbers."""
        return dict(zip(COUNTS, struct.unpack(f"<{len(COUNTS)}Q", self._map[:]), strict=True))


def attempt(target: Any, given: Any, counters: Counters) -> None:
    """Use one input and count what came of it; bytes are deserialized first where the target takes messages."""
    from rclpy.serialization import deserialize_message

    counters.add("runs")
    if target.kind is not None and isinstance(given, bytes):
        try:
            given = deserialize_message(given, target.kind)
        except Exception:  # what the middleware raises has no type of its own; such bytes never reach a node
            counters.add("not_deserialized")
            return
    try:
        target.use(given)
    except ValueError:
        counters.add("refused")
    else:
        counters.add("taken")


def by_hypothesis(target: Any, way: str, runs: int, seed: int, counters: Counters) -> None:
    """Let hypothesis choose what is changed."""
    import hypothesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from rclpy.serialization import serialize_message

    from diffpose_ros.reliability.malform import malform, malform_bytes

    seeds = target.seeds()

    @hypothesis.seed(seed)
    @settings(max_examples=runs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False), st.sampled_from(range(len(seeds))))
    def run(rng: random.Random, number: int) -> None:
        tried = copy.deepcopy(seeds[number])
        if way == "bytes" or target.kind is None:
            tried = malform_bytes(rng, tried if target.kind is None else serialize_message(tried))
        else:
            malform(rng, tried)
        attempt(target, tried, counters)

    run()


def guided(name: str, runs: int, seed: int, folder: Path, counters: Counters) -> None:
    """Let atheris look for bytes that reach new code; does not return."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from diffpose_ros.reliability.fuzz_targets import TARGETS
    from rclpy.serialization import serialize_message

    target = TARGETS[name]
    for number, good in enumerate(target.seeds()):
        (folder / f"seed_{number}").write_bytes(good if target.kind is None else serialize_message(good))

    def one_input(data: bytes) -> None:
        attempt(target, data, counters)

    run: Callable[[bytes], None] = one_input
    options = [f"-runs={runs}", f"-seed={seed + 1}", "-rss_limit_mb=4096", "-timeout=60", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/found_", str(folder)], run)
    atheris.Fuzz()


def main() -> None:
    """Fuzz one target in one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="for the corpus and what is found")
    parser.add_argument("--counts", type=Path, required=True, help="the file that counts")
    args = parser.parse_args()
    counters = Counters(args.counts)
    if args.way == "guided":
        guided(args.target, args.runs, args.seed, args.folder, counters)
    from diffpose_ros.reliability.fuzz_targets import TARGETS

    by_hypothesis(TARGETS[args.target], args.way, args.runs, args.seed, counters)


if __name__ == "__main__":
    main()
