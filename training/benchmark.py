# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Accuracy and calibration on held-out people: all samplers side by side, in every scenario.

    python training/benchmark.py --data mocap_free.safetensors --poses 510 --seeds 3

Prints a table of millimetres and coverages for every scenario, mean and
standard deviation over the seeds, and a summary with 95 % confidence
intervals (bootstrap over the poses of all seeds: how far the figure is known
for these subjects, not for others), and writes all of it as JSON and as a
picture. Errors are root-relative; the inputs are keypoints with heatmaps, as
the scenario says (``diffpose_core.data.SCENARIOS``); the root position is not
known. The same number of poses is drawn from every subject: people count
alike, not frames, of which one dancer has nearly half. "frames alike" weighs
the subjects by their frames. The figures do not depend on the number of
processes, which take one thread each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from diffpose_core import H36M17, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.baselines import BASELINES
from diffpose_core.data import (
    SCENARIOS,
    MocapSet,
    SyntheticConfig,
    SyntheticScene,
    load_mocap,
    load_splits,
    synthesize,
)
from diffpose_core.metrics import (
    best_of,
    bone_asymmetry,
    bone_length_error,
    bootstrap_interval,
    chi_square_from_uniform,
    coverage,
    covered,
    expected_calibration_error,
    inside_by_distance,
    mpjpe,
    pa_mpjpe,
    pose_energy_score,
    rank_deviation,
    rank_histogram,
    ranks,
    residual_in_sigma,
    root_relative,
    weighted_mode,
)
from diffpose_core.metrics.calibration import CENTRES, CURVE
from diffpose_core.training import MixtureConfig

LEVELS = (0.5, 0.8, 0.9, 0.95)
BY_SUBJECT = ("mean MPJPE", "energy score", "PA best of 50")
WITH_INTERVAL = (*BY_SUBJECT, "MPJPE best of 50", "mode MPJPE")
OURS = {
    "kalman, 25 steps": SamplerConfig(),
    "kalman, 10 steps": SamplerConfig(steps=10),
    "gradient, 10 x 5 steps": SamplerConfig(guidance="gradient", steps=10, repeats=5),
    "gradient, 50 steps": SamplerConfig(guidance="gradient", steps=50),
}
METHODS = (*OURS, *BASELINES)
BATCH = 10
"""Poses that share a camera and are estimated together."""


@dataclass(frozen=True)
class Job:
    """One row of work: a method in a scenario, on the poses and cameras of one seed."""

    scenario: str
    method: str
    seed: int


@dataclass(frozen=True)
class Settings:
    """What all jobs share."""

    data: Path
    split: str
    prior: Path | None
    device: str
    poses: int
    hypotheses: int


def coverages(samples: torch.Tensor, truth: torch.Tensor, seen: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share of coordinates inside the central intervals, per person: of all joints but the root, seen and hidden."""
    samples, truth, seen = samples[:, :, 1:], truth[:, 1:], seen[:, 1:]
    masks = {"": torch.ones_like(seen)}
    if not seen.all():  # every person of such a scenario has hidden joints
        masks |= {", seen": seen, ", hidden": ~seen}
    row = {}
    for name, mask in masks.items():
        share = coverage(samples, truth, LEVELS, mask)
        for i, level in enumerate(LEVELS):
            row[f"z {level:g}{name}"], row[f"xy {level:g}{name}"] = share[:, i, 2], share[:, i, :2].mean(-1)
    return row


def at_true_peak(post: PosePosterior, scene: SyntheticScene) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the share of hypotheses nearer the true one of two peaks [P, 17], and where there are two [P, 17]."""
    heat = scene.heatmaps
    if heat.means.shape[2] == 1:
        return torch.ones_like(heat.visibility), torch.zeros_like(heat.seen)
    distance = (scene.camera.project(post.joints.cpu())[..., None, :] - heat.means[:, None]).norm(dim=-1)
    return (distance[..., 0] < distance[..., 1]).float().mean(1), heat.weights[..., 1] > 0


def peaks(post: PosePosterior, scene: SyntheticScene) -> dict[str, torch.Tensor]:
    """How hypotheses divide among two-peaked heatmaps' peaks, per person; of two peaks the true one is first."""
    to_true, two = at_true_peak(post, scene)
    if not two.any():
        return {}
    heavier_is_true = scene.heatmaps.weights[..., 0] > 0.5
    share = torch.where(heavier_is_true, to_true, 1 - to_true)

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (values * two).sum(-1) / two.sum(-1)

    return {
        "both peaks found": mean((to_true * (1 - to_true) > 0).float()),
        "hypotheses at the heavier peak": mean(share),
        "truth at the heavier peak": mean(heavier_is_true.float()),
    }


def misfit(post: PosePosterior, scene: SyntheticScene) -> torch.Tensor:
    """Root mean square over hypotheses and seen joints of the distance to the nearest peak in sigmas, per person."""
    heat = scene.heatmaps
    pixels = scene.camera.project(post.joints.cpu())
    distance = residual_in_sigma(pixels[..., None, :], heat.means[:, None], heat.covariances[:, None])
    nearest = torch.where(heat.weights[:, None] > 0, distance, torch.inf).amin(-1)
    seen = heat.seen[:, None].float()
    return ((nearest**2 * seen).sum((1, 2)) / (seen.sum((1, 2)) * nearest.shape[1])).sqrt()


def agreement(samples: torch.Tensor, truth: torch.Tensor) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Figures and curves of calibration that belong to all persons [P, S, 17, 3] together, less the root joint."""
    samples, truth = samples[:, :, 1:], truth[:, 1:]
    inside = {centre: inside_by_distance(samples, truth, centre=centre) for centre in CENTRES}
    figures = {f"ECE about the {c}": float(expected_calibration_error(v).mean()) for c, v in inside.items()}
    curves = {f"inside about the {c}": v.float().mean((0, 1)).tolist() for c, v in inside.items()}
    rank, size = ranks(samples.movedim(1, -1), truth), samples.shape[1]
    bins = max((b for b in range(2, 22) if (size + 1) % b == 0), default=size + 1)
    for axis, each in {"z": rank[..., 2].flatten(), "xy": rank[..., :2].flatten()}.items():
        figures[f"rank deviation {axis}"] = float(rank_deviation(each, size))
        curves[f"ranks {axis}"] = (rank_histogram(each, size, bins) / len(each)).tolist()
    # Coordinates of one pose hang together, poses do not: one joint's ranks are what the statistic may be taken of.
    wrist = rank_histogram(rank[:, H36M17.index("RWrist") - 1, 2], size, bins)
    figures["rank chi-square per degree, right wrist's z"] = float(chi_square_from_uniform(wrist)) / (bins - 1)
    return figures, curves


class Result(NamedTuple):
    """What one method did on the poses of one seed."""

    figures: dict[str, float]
    curves: dict[str, list[float]]
    values: dict[str, torch.Tensor]
    """Each pose's own, of the figures that get an interval."""


def evaluate(
    estimator: PoseEstimator, world: torch.Tensor, subject: list[str], frames: dict[str, int],
    config: SyntheticConfig, hypotheses: int, seed: int,
) -> Result:  # fmt: skip
    """Evaluate one method on the given world poses.

    ``frames``: how many frames each subject has in all.
    """
    scenes = torch.Generator().manual_seed(seed)
    noise = torch.Generator(estimator.device).manual_seed(seed + 1)
    rows: list[dict[str, torch.Tensor]] = []
    all_samples, all_truth = [], []
    elapsed_s = 0.0
    for chunk in world.split(BATCH):
        scene = synthesize(chunk, config, scenes)
        started = time.perf_counter()
        post = estimator(scene.heatmaps, scene.camera, hypotheses, noise)
        elapsed_s += time.perf_counter() - started
        samples, truth = root_relative(post.joints.cpu()), root_relative(scene.joints)
        error, aligned = mpjpe(samples, truth[:, None]), pa_mpjpe(samples, truth[:, None])
        row = {"mean MPJPE": mpjpe(samples.mean(1), truth), "energy score": pose_energy_score(samples, truth)}
        for m in (1, 5, 10, 50, 200):
            if m <= hypotheses:
                row[f"MPJPE best of {m}"], row[f"PA best of {m}"] = best_of(error, m), best_of(aligned, m)
        mode = weighted_mode(samples, post.log_weights.cpu())
        row |= {
            "mode MPJPE": mpjpe(mode, truth),
            "bone asymmetry": bone_asymmetry(samples).mean(1),
            "bone length error": bone_length_error(samples, truth[:, None]).mean(1),
        }
        row["root error"] = (post.mean[:, 0].cpu() - scene.joints[:, 0]).norm(dim=-1)
        row = {k: 1000 * v for k, v in row.items()}
        root = covered(post.joints[:, :, 0].cpu().movedim(1, -1), scene.joints[:, 0], 0.9).float()
        row |= coverages(samples, truth, scene.heatmaps.seen) | {"root z 0.9": root[:, 2]} | peaks(post, scene)
        row["2D misfit, sigmas"] = misfit(post, scene)
        rows.append(row)
        all_samples.append(samples)
        all_truth.append(truth)
    values = {k: torch.cat([r[k] for r in rows]) for k in rows[0]}
    calibration, curves = agreement(torch.cat(all_samples), torch.cat(all_truth))
    figures = {k: float(v.mean()) for k, v in values.items()} | calibration
    for k in BY_SUBJECT:
        if k in values:
            each = {s: float(values[k][torch.tensor([s == of for of in subject])].mean()) for s in frames}
            figures[f"{k}, frames alike"] = sum(frames[s] * v for s, v in each.items()) / sum(frames.values())
            figures |= {f"{k}, subject {s}": v for s, v in each.items()}
    figures["ms per pose"] = 1000 * elapsed_s / len(world)
    return Result(figures, curves, {k: values[k] for k in WITH_INTERVAL if k in values})


def draw_poses(data: MocapSet, poses: int, seed: int) -> torch.Tensor:
    """Return the indices of equally many poses of every subject, in random order."""
    generator = torch.Generator().manual_seed(seed)
    subjects = data.subject.unique()
    each = [torch.nonzero(data.subject == s)[:, 0] for s in subjects]
    drawn = torch.cat([ids[torch.randperm(len(ids), generator=generator)[: poses // len(subjects)]] for ids in each])
    return drawn[torch.randperm(len(drawn), generator=generator)]


def build(method: str, settings: Settings) -> PoseEstimator:
    """Return the estimator of a method."""
    prior = PosePrior.from_pretrained(settings.prior)
    if method in OURS:
        return PoseEstimator(prior, settings.device, OURS[method])
    exclude = MixtureConfig().exclude_recordings
    return BASELINES[method](prior, settings.device, lambda: load_splits(settings.data, exclude)[0].joints)


def frame_counts(data: MocapSet) -> dict[str, int]:
    """Return how many frames each subject has."""
    return {data.subjects[s]: int((data.subject == s).sum()) for s in data.subject.unique().tolist()}


def work(job: Job, settings: Settings) -> Result:
    """Do one job, in a process of its own."""
    torch.set_num_threads(1)
    data = load_mocap(settings.data, settings.split)
    pick = draw_poses(data, settings.poses, job.seed)
    world, scenario = data.joints[pick], SCENARIOS[job.scenario]
    subject = [data.subjects[s] for s in data.subject[pick].tolist()]
    estimator, frames = build(job.method, settings), frame_counts(data)
    return evaluate(estimator, world, subject, frames, scenario, settings.hypotheses, 100 + job.seed)


def decimals(key: str) -> int:
    """Decimals worth printing: of a share 3, of millimetres 1."""
    return 3 if key.startswith(("z ", "xy ", "root z", "ECE", "rank", "2D")) or "peak" in key else 1


def table(methods: dict[str, dict[str, list[float]]]) -> str:
    """Mean and standard deviation over the seeds, a column per method."""
    lines = ["| figure | " + " | ".join(methods) + " |", "|---" * (1 + len(methods)) + "|"]
    for key in next(iter(methods.values())):
        cells = []
        for figures in methods.values():
            values = torch.tensor(figures[key])
            spread = float(values.std()) if len(values) > 1 else 0.0
            cells.append(f"{float(values.mean()):.{decimals(key)}f} ± {spread:.{decimals(key)}f}")
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


SUMMARY = (
    "mean MPJPE", "PA best of 50", "energy score", "z 0.5", "z 0.9", "xy 0.5", "xy 0.9", "ECE about the median",
)  # fmt: skip


Figures = dict[str, dict[str, dict[str, list[float]]]]
"""Scenario -> method -> figure -> one value per seed, an interval's two ends or the values of a curve."""


def summary(scenarios: Figures, intervals: Figures) -> str:
    """One row per scenario and method: means over the seeds, and intervals of 95 % where there are any."""
    lines = ["| scenario | method | " + " | ".join(SUMMARY) + " |", "|---" * (2 + len(SUMMARY)) + "|"]
    for scenario, methods in scenarios.items():
        for method, figures in methods.items():
            cells = []
            for key in SUMMARY:
                values = torch.tensor(figures.get(key, [torch.nan]))
                ends = intervals[scenario][method].get(key)
                between = f" ({ends[0]:.1f} to {ends[1]:.1f})" if ends else ""
                cells.append(f"{float(values.mean()):.{decimals(key)}f}{between}")
            lines.append(f"| {scenario} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(scenarios: Figures, path: Path) -> None:
    """Draw the energy score and the coverage that each method reaches in each scenario."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = {
        "energy score": "energy score, mm",
        "z 0.9": "inside 90 % along the view",
        "xy 0.9": "... across the view",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 1.6 + 0.45 * len(scenarios)), sharey=True)
    for axis, (key, label) in zip(axes, panels.items(), strict=True):
        for shift, method in enumerate(next(iter(scenarios.values()))):
            values = torch.tensor([methods[method][key] for methods in scenarios.values()])
            at = [-y - 0.15 * shift for y in range(len(scenarios))]
            spread = values.std(1) if values.shape[1] > 1 else torch.zeros(len(values))
            axis.errorbar(values.mean(1), at, xerr=spread, fmt="o", ms=4, lw=1, label=method)
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
        if key != "energy score":
            axis.axvline(0.9, color="0.4", lw=1)
    axes[0].set_yticks([-y - 0.2 for y in range(len(scenarios))], list(scenarios))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.9 / (1.6 + 0.45 * len(scenarios)) * 0.4, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_calibration(curves: Figures, path: Path) -> None:
    """Draw, per scenario, the calibration curve of each method less the diagonal, and its histogram of depth ranks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        2, len(curves), figsize=(3.2 * len(curves) + 1, 6.2), sharex="row", sharey="row", squeeze=False
    )
    for (above, below), (scenario, methods) in zip(axes.T, curves.items(), strict=True):
        for method, each in methods.items():
            excess = torch.tensor(each["inside about the median"]) - torch.tensor(CURVE)
            above.plot(CURVE, excess, label=method)
            share = torch.tensor(each["ranks z"])
            below.stairs(share * len(share), torch.linspace(0, 1, len(share) + 1).tolist(), label=method)
        above.axhline(0, color="0.4", lw=1)
        below.axhline(1, color="0.4", lw=1)
        above.set(title=scenario, xlabel="share of hypotheses")
        below.set(xlabel="rank of the true depth", ylim=(0, None))
    axes[0, 0].set_ylabel("share of truths as near, less it")
    axes[1, 0].set_ylabel("density")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = min(4, 2 * len(curves))
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False)
    figure.tight_layout(rect=(0, 0.03 + 0.035 * math.ceil(len(labels) / columns), 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def report_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of what every report on held-out people takes: benchmark, completion, sensors."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument(
        "--split", default="test", choices=["train", "validation", "test"],
        help="tune on validation, report on test; train: people whom the prior knows, to compare with",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hypotheses", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


def main() -> None:
    """Parse the command line, evaluate, print the tables."""
    parser = report_parser(__doc__)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, metavar="NAME")
    parser.add_argument("--poses", type=int, default=510, help="in all; equally many of every subject, so rounded down")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--figure", type=Path, help="draw them here (.png)")
    parser.add_argument("--calibration-figure", type=Path, help="draw calibration curves and ranks here (.png)")
    args = parser.parse_args()
    frames = frame_counts(load_mocap(args.data, args.split))
    if not len(frames) <= args.poses <= len(frames) * min(frames.values()):
        parser.error(f"--poses must lie in {len(frames)}..{len(frames) * min(frames.values())}, got {args.poses}")
    poses = args.poses // len(frames) * len(frames)
    settings = Settings(args.data, args.split, args.prior, args.device, poses, args.hypotheses)
    jobs = [Job(s, m, seed) for s in args.scenarios for m in args.methods for seed in range(args.seeds)]
    done: dict[Job, Result] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, mp_context=spawn) as pool:
        waiting = {pool.submit(work, job, settings): job for job in jobs}
        for future in tqdm(as_completed(waiting), total=len(jobs), unit="job"):
            done[waiting[future]] = future.result()
    scenarios: Figures = {}
    intervals: Figures = {}
    for job in jobs:
        figures = scenarios.setdefault(job.scenario, {}).setdefault(job.method, {})
        for key, value in done[job].figures.items():
            figures.setdefault(key, []).append(value)
    curves: Figures = {}
    for scenario, method in itertools.product(args.scenarios, args.methods):
        each = [done[Job(scenario, method, seed)] for seed in range(args.seeds)]
        pooled = {k: torch.cat([e.values[k] for e in each]) for k in each[0].values}
        means = {k: torch.tensor([e.curves[k] for e in each]).mean(0).tolist() for k in each[0].curves}
        curves.setdefault(scenario, {})[method] = means
        ends = {k: bootstrap_interval(v, torch.Generator().manual_seed(0)) for k, v in pooled.items()}
        intervals.setdefault(scenario, {})[method] = {k: [float(e) for e in v] for k, v in ends.items()}
    for scenario, methods in scenarios.items():
        print(
            f"{scenario}: {poses} poses of {args.split} subjects x {args.seeds} seeds, "
            f"{args.hypotheses} hypotheses; mm\n{table(methods)}\n"
        )
    print(summary(scenarios, intervals))
    if args.json:
        report = {
            "split": args.split, "poses": poses, "hypotheses": args.hypotheses,
            "settings": {s: asdict(SCENARIOS[s]) for s in args.scenarios},
            "prior_sha256": PosePrior.from_pretrained(args.prior).sha256, "device": args.device,
            "torch": torch.__version__, "machine": platform.machine(), "processes": args.processes,
            "scenarios": scenarios, "intervals": intervals, "curves": curves,
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.figure:
        draw(scenarios, args.figure)
    if args.calibration_figure:
        draw_calibration(curves, args.calibration_figure)


if __name__ == "__main__":
    main()
