# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How long inference takes and what it needs: persons, hypotheses, steps and precision, on the device at hand.

    python training/performance.py --threads 2 --json docs/performance_cpu.json --figure docs/figures/performance.png
    python training/performance.py --device cuda --json docs/performance_cuda.json
    python training/performance.py --training --threads 2 --json docs/training_speed.json

Times are of one call of the estimator with everything seen, 2D keypoints to weighted skeletons in the CPU's memory,
median and 90th percentile of the repetitions. Memory is what a process has at its peak beyond one that draws a single
hypothesis; on a GPU, what torch allocated at its peak. With --training: poses per second of training at its default
settings, and of its bare step (the same network and optimiser on one batch that never changes).
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePrior, SamplerConfig
from diffpose_core.device import checked_device


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    persons: int = 1
    hypotheses: int = 50
    steps: int = 10
    precision: str = "float32"
    guidance: str = "kalman"
    repeats: int = 1


BASE = Case()
HEADLINES = [
    replace(BASE, persons=persons, precision=precision, steps=steps)
    for steps in (10, 25)
    for precision in ("float32", "bfloat16")
    for persons in (1, 4, 8)
] + [replace(BASE, persons=persons, guidance="gradient", repeats=5) for persons in (1, 4)]
SWEEPS: dict[str, list[Case]] = {
    "persons": [replace(BASE, persons=n) for n in (1, 2, 4, 8, 16)],
    "hypotheses": [replace(BASE, hypotheses=n) for n in (10, 50, 200, 1000)],
    "steps": [replace(BASE, steps=n) for n in (5, 10, 25, 50)],
}
MEMORY = [1_000, 2_000, 4_000]
"""Hypotheses of one person whose memory is measured."""


def asker(case: Case, device: str) -> Callable[[], torch.Tensor]:
    """Return a call of the estimator that waits for its answer."""
    prior = PosePrior.from_pretrained()
    config = SamplerConfig(guidance=case.guidance, steps=case.steps, repeats=case.repeats, precision=case.precision)
    estimator = PoseEstimator(prior, device, config)
    camera = Camera.from_field_of_view(1280, 720, 60.0)
    people = prior.sample(case.persons, torch.Generator().manual_seed(3)) + torch.tensor([0.2, 0.1, 3.5])
    covariance = 64 * torch.eye(2).expand(case.persons, len(H36M17), 2, 2)
    seen = Heatmaps.from_keypoints(camera.project(people), covariance, torch.ones(case.persons, len(H36M17)), H36M17)
    generator = torch.Generator(device).manual_seed(0)
    return lambda: estimator(seen, camera, case.hypotheses, generator).joints.cpu()


def latency_ms(case: Case, device: str, repetitions: int) -> dict[str, float]:
    """Return the median and the 90th percentile of one call."""
    ask = asker(case, device)
    for _ in range(3):
        ask()
    taken_ms = []
    for _ in range(repetitions):
        started = time.perf_counter()
        ask()
        taken_ms.append(1000 * (time.perf_counter() - started))
    median, high = torch.tensor(taken_ms).quantile(torch.tensor([0.5, 0.9])).tolist()
    return {"median_ms": median, "p90_ms": high}


def moved_mm(case: Case, device: str) -> dict[str, float]:
    """Return how far bfloat16 moves root-relative joints from those of float32 with the same noise, on average."""
    exact, rough = (asker(replace(case, precision=p), device)() for p in ("float32", "bfloat16"))
    apart = (exact - exact[..., :1, :]) - (rough - rough[..., :1, :])
    return {name: 1000 * a.norm(dim=-1).mean().item() for name, a in (("hypothesis", apart), ("mean", apart.mean(1)))}


def memory_mib(case: Case, device: str) -> float:
    """Return what this case needs at its peak beyond one hypothesis; in a process of its own, for the CPU's sake."""

    def peak_mib() -> float:
        if device != "cpu":
            return torch.cuda.max_memory_allocated() / 2**20
        # Not ru_maxrss: a process takes the peak of the one that started it along with it.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].removesuffix("kB")) / 2**10

    asker(replace(case, hypotheses=1), device)()
    before = peak_mib()
    asker(case, device)()
    return peak_mib() - before


def device_name(device: str) -> str:
    """Return what the device calls itself."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {torch.backends.cpu.get_cpu_capability()}"
    return platform.processor()


def where(args: argparse.Namespace) -> dict[str, Any]:
    """Return what every report begins with: on what and when it was measured."""
    return {
        "device": device_name(args.device), "threads": args.threads, "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__, "python": platform.python_version(), "repetitions": args.repetitions,
    }  # fmt: skip


def report_training(args: argparse.Namespace) -> None:
    """Measure training, print it."""
    from diffpose_core.training.speed import training_speed

    report = where(args) | training_speed("cpu" if args.device == "cpu" else "auto", args.repetitions)
    print(f"{report['device']}, {args.threads} threads, torch {torch.__version__}, {report['date']}")
    part = f"{100 * report['part_of_bare']:.0f} % of the bare step's"
    print(f"training: {report['training_poses_per_s']:,.0f} poses/s, {part}")
    print(f"bare step: {report['bare_poses_per_s']:,.0f} poses/s; batch {report['batch']}")
    print("ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in report["ms"].items()))
    print(f"load of the machine before: {report['load_before']:.2f}")
    write_json(args.json, report)


def write_json(path: Path | None, report: dict[str, Any]) -> None:
    """Write the figures, if asked to."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw how time and memory grow."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6))
    for axis, (name, rows) in zip(axes, report["growth"].items(), strict=False):
        axis.plot([r["case"][name] for r in rows], [r["median_ms"] for r in rows], "o-")
        axis.fill_between(
            [r["case"][name] for r in rows], [r["median_ms"] for r in rows], [r["p90_ms"] for r in rows], alpha=0.2
        )
        axis.set(xlabel=name, ylabel="ms per call, median to 90 %", ylim=(0, None))
    axes[3].plot([r["case"]["hypotheses"] for r in report["memory"]], [r["mib"] for r in report["memory"]], "o-")
    axes[3].set(xlabel="hypotheses", ylabel="MiB at the peak", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.suptitle(f"One person, 50 hypotheses, 10 steps, float32 unless said; {report['device']}")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--figure", type=Path, help="draw them here (.png)")
    parser.add_argument("--training", action="store_true", help="measure training instead")
    args = parser.parse_args()
    try:
        checked_device(args.device)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(args.threads)
    if args.training:
        report_training(args)
        return
    cases = list(dict.fromkeys([*HEADLINES, *itertools.chain(*SWEEPS.values())]))
    times = {case: latency_ms(case, args.device, args.repetitions) for case in tqdm(cases, unit="case")}
    memory: list[dict[str, Any]] = []
    for hypotheses in MEMORY:
        case = replace(BASE, hypotheses=hypotheses)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            mib = fresh.submit(memory_mib, case, args.device).result()
        memory.append({"case": asdict(case), "mib": mib})
    moved = moved_mm(replace(BASE, persons=20), args.device)

    def row(case: Case) -> dict[str, Any]:
        return {"case": asdict(case)} | times[case]

    report = where(args) | {
        "prior_sha256": PosePrior.from_pretrained().sha256, "headlines": [row(c) for c in HEADLINES],
        "growth": {name: [row(c) for c in sweep] for name, sweep in SWEEPS.items()}, "memory": memory,
        "bfloat16_moves_mm": moved,
    }  # fmt: skip
    print(f"{report['device']}, {args.threads} threads, torch {torch.__version__}, {report['date']}")
    names = list(asdict(BASE))
    print("| " + " | ".join(names) + " | median, ms | 90 %, ms |\n" + "|---" * (len(names) + 2) + "|")
    for case in cases:
        cells = [str(v) for v in asdict(case).values()] + [f"{v:.0f}" for v in times[case].values()]
        print("| " + " | ".join(cells) + " |")
    slope = (memory[-1]["mib"] - memory[0]["mib"]) / (MEMORY[-1] - MEMORY[0])
    print(f"memory: {1024 * slope:.0f} KiB more per hypothesis")
    print(f"bfloat16 moves a hypothesis by {moved['hypothesis']:.2f} mm, the mean by {moved['mean']:.2f} mm")
    write_json(args.json, report)
    if args.figure:
        draw(report, args.figure)


if __name__ == "__main__":
    main()
