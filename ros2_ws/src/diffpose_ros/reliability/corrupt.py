# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Corrupted checkpoints: none may load, none may run anything; a node must report it and be mended afterwards.

The packaged prior, and the same prior as training writes it (with its digest inside), see ``damage``.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition

from diffpose_core import PosePrior
from diffpose_ros.reliability.damage import corrupted, source_files
from diffpose_ros.reliability.live import LiveGraph

CHUNK = 50
"""Files per process."""


def corrupt(prefix: Path, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Give so many files to the library and to a real diffusion node; return what came of them."""
    library = _library(seed, count, folder)
    node = _node(prefix, seed, count, folder)
    passed = not any(library[k] for k in ("loaded", "crashes", "other_errors", "executed"))
    passed = passed and node["reported"] == count and node["mended"]
    passed = passed and not any(node[k] for k in ("configured", "executed", "exit_status"))
    return {"seed": seed, "library": library, "node": node, "passed": passed}


def outcome(path: Path) -> str:
    """Try to load a file; return what came of it, without what differs from file to file."""
    try:
        PosePrior.from_pretrained(path)
    except ValueError as error:
        text = str(error).replace(str(path), "")
        words = {
            "holds no digest": "holds no digest", "is damaged": "digest differs", "digest": "digest is not one",
            "format is": "format", "not a readable safetensors": "not safetensors", "denoiser conf": "configuration",
        }  # fmt: skip
        return next((told for word, told in words.items() if word in text), "contents")
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {error}"
    return "LOADED"


def chunk(seed: int, numbers: range, folder: Path) -> list[tuple[str, str, str]]:
    """Try some files; return kind, source and outcome of each."""
    sources = source_files()
    result = []
    for number in numbers:
        kind, source, data = corrupted(seed, number, sources, str(folder / "executed"))
        path = folder / "prior.safetensors"
        path.write_bytes(data)
        result.append((kind, source, outcome(path)))
    return result


def _library(seed: int, count: int, folder: Path) -> dict[str, Any]:
    """Load every file in processes of their own, so that a crash is seen."""
    rows: list[tuple[str, str, str]] = []
    crashes = 0
    context = multiprocessing.get_context("spawn")
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                rows += pool.submit(chunk, seed, numbers, folder).result()
            except BrokenProcessPool:
                crashes += 1
    kinds: dict[str, Counter[str]] = {}
    for kind, _, came in rows:
        kinds.setdefault(kind, Counter())[came] += 1
    outcomes = Counter(came for _, _, came in rows)
    return {
        "files": len(rows), "loaded": outcomes["LOADED"], "crashes": crashes,
        "other_errors": sum(n for came, n in outcomes.items() if came.startswith("FAILED")),
        "executed": (folder / "executed").exists(), "outcomes": dict(outcomes),
        "by_kind": {kind: dict(found) for kind, found in sorted(kinds.items())},
    }  # fmt: skip


def _node(prefix: Path, seed: int, count: int, folder: Path) -> dict[str, Any]:
    """Give every file to a real diffusion node: it must refuse, say why, stay, and be mended at the end."""
    node = "diffusion_node"
    sources = source_files()
    result = dict.fromkeys(("files", "configured", "reported", "parameter_refused"), 0)
    with LiveGraph(prefix, folder) as graph:
        graph.start(node, autostart=False, device="cpu", num_hypotheses=5, steps=2)
        for number in range(count):
            kind, _, data = corrupted(seed, number, sources, str(folder / "executed"))
            path = folder / f"prior_{number}.safetensors"
            path.write_bytes(data)
            result["files"] += 1
            result["parameter_refused"] += bool(graph.set_parameter(node, "prior", str(path)))
            if graph.change(node, Transition.TRANSITION_CONFIGURE):
                result["configured"] += 1
                graph.change(node, Transition.TRANSITION_CLEANUP)
            else:
                graph.wait(partial(_says, graph, node, path.name), f"a report of {kind}")
                result["reported"] += graph.health[node]["level"] == "2"
            path.unlink()
        graph.set_parameter(node, "prior", "")
        mended = graph.change(node, Transition.TRANSITION_CONFIGURE)
        mended = mended and graph.change(node, Transition.TRANSITION_ACTIVATE)
        graph.wait(lambda: graph.health[node]["state"] == "active" or not mended, "the node to be active")
    executed = (folder / "executed").exists()
    return {**result, "mended": mended, "executed": executed, "exit_status": graph.statuses[node]}


def _says(graph: LiveGraph, node: str, words: str) -> bool:
    """Say whether the node's diagnostics hold these words."""
    return words in graph.health[node]["message"]


def summary(found: dict[str, Any]) -> str:
    """Say what was found."""
    library, node = found["library"], found["node"]
    lines = [
        f"{library['files']} corrupted checkpoints, by the library: {library['loaded']} loaded, "
        f"{library['crashes']} crashes, {library['other_errors']} other errors, code run: {library['executed']}",
        f"by a diffusion node: {node['configured']} of {node['files']} loaded, {node['reported']} reported in the "
        f"diagnostics, code run: {node['executed']}; configured and activated afterwards: {node['mended']}",
        "", "| kind | files | refused because |", "|---|---|---|",
    ]  # fmt: skip
    for kind, outcomes in library["by_kind"].items():
        reasons = ", ".join(f"{came}: {n}" for came, n in sorted(outcomes.items()))
        lines.append(f"| {kind} | {sum(outcomes.values())} | {reasons} |")
    return "\n".join(lines)
