# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Malformed messages, files and parameters: by hypothesis, by a coverage-guided fuzzer, and into real nodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from diffpose_ros.reliability.fuzz_nodes import fuzz_nodes
from diffpose_ros.reliability.fuzz_targets import TARGETS
from diffpose_ros.reliability.fuzz_worker import WAYS, Counters

GUIDED_FACTOR = 10
"""The guided fuzzer's runs are so many times as many as those of the other ways: most of its bytes are no message."""
LIMIT_S = 3600.0


def fuzz(prefix: Path, folder: Path, count: int, seed: int, nodes: bool = True) -> dict[str, Any]:
    """Fuzz every target in every way, ``count`` inputs each, then real nodes; return what came of it.

    Raises:
        ImportError: atheris is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("atheris") is None:
        raise ImportError("the coverage-guided fuzzer needs: pip install atheris")
    rows = [
        _in_a_process(name, way, count * (GUIDED_FACTOR if way == "guided" else 1), seed, folder)
        for name, target in TARGETS.items()
        for way in WAYS
        if way != "fields" or target.kind is not None
    ]
    found = fuzz_nodes(prefix, folder / "nodes", count, seed) if nodes else []
    passed = all(row["status"] == 0 for row in rows) and all(row["passed"] for row in found)
    return {"seed": seed, "targets": rows, "nodes": found, "passed": passed}


def _in_a_process(name: str, way: str, runs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Fuzz one target in a process of its own: a crash is an exit status."""
    place = folder / f"{name} {way}".replace(" ", "_")
    place.mkdir(parents=True)
    counts = place.with_suffix(".counts")
    command = [sys.executable, "-m", "diffpose_ros.reliability.fuzz_worker", name, way, "--runs", str(runs)]
    command += ["--seed", str(seed), "--folder", str(place), "--counts", str(counts)]
    with place.with_suffix(".log").open("wb") as log:
        status = subprocess.run(command, stdout=log, stderr=log, timeout=LIMIT_S, check=False).returncode
    row = {"target": name, "way": way, "status": status, **Counters(counts).values()}
    if status:
        text = place.with_suffix(".log").read_text(errors="replace").splitlines()
        row["end_of_log"] = [line[:300] for line in text[-15:]]
    print(row, flush=True)
    return row


def summary(found: dict[str, Any]) -> str:
    """Say what was found."""
    lines = ["| input | way | inputs | refused | not a message | taken | crashes, other errors |", "|---" * 7 + "|"]
    for r in found["targets"]:
        bad = 0 if r["status"] == 0 else f"exit status {r['status']}"
        lines.append(
            f"| {r['target']} | {r['way']} | {r['runs']:,} | {r['refused']:,} | {r['not_deserialized']:,} | "
            f"{r['taken']:,} | {bad} |"
        )
    lines += [
        "",
        "| node, input | sent | malformed | received | processed | refused | dropped | failed | published | of these |",
        "|---" * 10 + "|",
    ]  # fmt: skip
    for r in found["nodes"]:
        keys = ("sent", "bad", "received", "processed", "refused", "dropped", "failed", "published", "published_of_bad")
        lines.append(f"| {r['input']} | " + " | ".join(f"{r[k]:,}" for k in keys) + " |")
    wrong = sum(r["refused"] + r["not_deserialized"] for r in found["targets"])
    sent = sum(r["bad"] for r in found["nodes"])
    lines += ["", f"malformed in all: {wrong:,} by the conversions, {sent:,} by running nodes; {found['passed']=}"]
    return "\n".join(lines)
