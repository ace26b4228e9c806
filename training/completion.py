# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Completion of partly known poses on held-out people, beside simple ways to do it.

    python training/completion.py --data mocap_free.safetensors --json docs/completion.json \
        --figure docs/figures/completion.png

Poses stand before random cameras, in whose axes the known joints are given: as they are, or with errors of 1 cm.
All figures are of the missing joints alone, mm or shares, means over equally many poses of every subject, with the
standard deviation over seeds that draw other poses, cameras and missing joints. The other ways
(``diffpose_core.evaluation.completers``) learn from the same training subjects as the prior did.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from benchmark import draw_poses, frame_counts, report_parser
from tqdm import tqdm

from diffpose_core import H36M17, PoseEstimator, PosePrior
from diffpose_core.data import AugmentConfig, SyntheticConfig, augment, load_mocap, load_splits, synthesize
from diffpose_core.evaluation.completers import (
    AlignedPoses,
    Completer,
    GaussianAligned,
    GaussianAsSeen,
    MeanPose,
    NearestPoses,
    mirrored,
)
from diffpose_core.evaluation.completion import CASES, LEVELS, missing_joints, score_missing
from diffpose_core.metrics import bootstrap_interval
from diffpose_core.sampler import COMPLETING
from diffpose_core.training import MixtureConfig

OURS, MIRRORED, OURS_THERE = "diffpose", "mirrored limb", "diffpose, the same joints"
KNOWN = {"exact": 0.001, "1 cm": 0.01}
"""Standard deviation of the known joints that every way is told, metres; a millimetre stands for none."""
GAUSSIAN_POSES = 20_000
AS_SEEN = AugmentConfig(pitch_sd_deg=6.0, roll_sd_deg=2.0, definition_prob=0.0)
"""Training poses of the Gaussians and of the mean, by the energy score on validation subjects."""
DRAWN = ("arm", "lower body", "upper body")
BATCH = 14

Place = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""How poses come to stand before a camera: [P, 17, 3] to camera axes, metres."""
Scores = dict[str, dict[str, torch.Tensor]]
"""Method -> figure -> one value per pose."""
Examples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""True joints [P, 17, 3], which are missing [P, 17], hypotheses [P, S, 17, 3]."""
Figures = dict[str, dict[str, dict[str, dict[str, list[float]]]]]
"""Case -> how joints are known -> method -> figure -> one value per seed."""
Spans = dict[str, dict[str, dict[str, list[float]]]]
"""Case -> how joints are known -> share -> lower limit, mean, upper limit."""


def completers(prior: PosePrior, data: Path, training_poses: int) -> dict[str, Completer]:
    """Return all ways that give hypotheses of any missing joint."""
    train, _ = load_splits(data, MixtureConfig().exclude_recordings)
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int, config: AugmentConfig) -> torch.Tensor:
        weights = train.weights(MixtureConfig().subject_temper)
        return augment(train.joints[torch.multinomial(weights, count, True, generator=generator)], config, generator)

    as_seen = drawn(min(training_poses, GAUSSIAN_POSES), AS_SEEN)
    aligned = AlignedPoses(as_seen)
    estimator = PoseEstimator(prior, sampler=COMPLETING)

    def ours(
        joints: torch.Tensor, known: torch.Tensor, std_m: float, hypotheses: int, noise: torch.Generator
    ) -> torch.Tensor:
        return estimator.complete(joints, known, std_m, hypotheses, noise).joints

    return {
        OURS: ours,
        "mean pose": MeanPose(aligned),
        "nearest poses": NearestPoses(drawn(training_poses, AugmentConfig())),
        "Gaussian as seen": GaussianAsSeen(as_seen),
        "Gaussian, placed": GaussianAligned(aligned),
    }


def before_cameras(world: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn and place world poses [P, 17, 3] as random cameras see them, metres."""
    return synthesize(world, SyntheticConfig(), generator).joints


def at_distances(relative: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move poses [P, 17, 3] that stand in camera axes already 2.5 to 6 m away."""
    depth = 2.5 + 3.5 * torch.rand(len(relative), 1, generator=generator)
    return relative + torch.nn.functional.pad(depth, (2, 0))[:, None]


def evaluate(
    methods: dict[str, Completer], poses: torch.Tensor, place: Place, case: str, known: str, hypotheses: int, seed: int
) -> tuple[Scores, Examples]:
    """Score all methods on the same poses, cameras and missing joints, and return ours of the first batch too."""
    scenes = torch.Generator().manual_seed(seed)
    scores: dict[str, dict[str, list[torch.Tensor]]] = {}
    examples: list[Examples] = []

    def add(method: str, row: dict[str, torch.Tensor]) -> None:
        for key, value in row.items():
            scores.setdefault(method, {}).setdefault(key, []).append(value)

    for i, chunk in enumerate(poses.split(BATCH)):
        truth = place(chunk, scenes)
        missing = missing_joints(case, len(truth), scenes)
        errors = KNOWN[known] * torch.randn(truth.shape, generator=scenes)
        given = torch.where(missing[..., None], 0.0, truth if known == "exact" else truth + errors)
        drawn = {
            name: method(given, ~missing, KNOWN[known], hypotheses, torch.Generator().manual_seed(1000 * seed + i))
            for name, method in methods.items()
        }
        for name, samples in drawn.items():
            add(name, score_missing(samples, truth, missing))
        image, there = mirrored(given, ~missing)
        some = there.any(-1)
        if some.any():
            one = image[some, None].expand(-1, hypotheses, -1, -1)
            add(MIRRORED, score_missing(one, truth[some], there[some]))
            add(OURS_THERE, score_missing(drawn[OURS][some], truth[some], there[some]))
        examples.append((truth, missing, drawn[OURS]))
    return {m: {k: torch.cat(v) for k, v in figures.items()} for m, figures in scores.items()}, examples[0]


def cell(values: list[float], decimals: int) -> str:
    """Mean and standard deviation over the seeds."""
    spread = float(torch.tensor(values).std()) if len(values) > 1 else 0.0
    return f"{sum(values) / len(values):.{decimals}f} ± {spread:.{decimals}f}"


def summary(figures: Figures, leads: dict[str, dict[str, list[float]]]) -> str:
    """Energy score of every method, how far ours is below the best other one, and its coverage."""
    methods = list(next(iter(next(iter(figures.values())).values())))
    methods = [m for m in methods if m not in (MIRRORED, OURS_THERE)]
    shares = [f"inside {level:g}" for level in LEVELS]
    heads = ["missing", "known", *methods, "below the next best (95 %)", MIRRORED, OURS_THERE, *shares]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case, kinds in figures.items():
        for known, rows in kinds.items():
            scores = [cell(rows[m]["energy score"], 1) for m in methods]
            pair = [cell(rows[m]["energy score"], 1) if m in rows else "-" for m in (MIRRORED, OURS_THERE)]
            low, middle, high = leads[case][known]
            inside = [cell(rows[OURS][s], 3) for s in shares]
            cells = [case, known, *scores, f"{middle:.1f} ({low:.1f} to {high:.1f})", *pair, *inside]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def between(spans: Spans) -> str:
    """Coverage of ours with the interval that drawing other people leaves it."""
    lines = ["| missing | known | " + " | ".join(f"inside {level:g}" for level in LEVELS) + " |", "|---" * 5 + "|"]
    for case, kinds in spans.items():
        for known, row in kinds.items():
            cells = [f"{m:.2f} ({low:.2f} to {high:.2f})" for low, m, high in row.values()]
            lines.append("| " + " | ".join([case, known, *cells]) + " |")
    return "\n".join(lines)


def table(figures: Figures) -> str:
    """All figures of all methods."""
    keys = list(next(iter(next(iter(figures.values())).values()))[OURS])
    lines = ["| missing | known | method | " + " | ".join(keys) + " |", "|---" * (3 + len(keys)) + "|"]
    for case, kinds in figures.items():
        for known, rows in kinds.items():
            for method, row in rows.items():
                cells = [cell(row[k], 3 if k.startswith("inside") else 1) for k in keys]
                lines.append("| " + " | ".join([case, known, method, *cells]) + " |")
    return "\n".join(lines)


def draw(figures: Figures, examples: dict[str, Examples], path: Path) -> None:
    """Draw completed poses, of another person in every case, and below them energy scores and coverage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.1))
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    panels = above.subplots(1, 2 * max(1, len(examples)), squeeze=False).reshape(-1, 2)
    for i, (axis, (case, example)) in enumerate(zip(panels, examples.items(), strict=False)):
        truth, missing, samples = (part[i % len(part)] for part in example)
        for side, (view, name) in enumerate(((0, "from the front"), (2, "from the side"))):
            flat = [p[..., [view, 1]] - truth[0, [view, 1]] for p in (truth, samples)]
            for a, b in H36M17.edges:
                ends = [a, b]
                if missing[ends].any():
                    for pose in flat[1]:
                        axis[side].plot(*pose[ends].T, color="#0072b2", lw=0.6, alpha=0.3)
                    axis[side].plot(*flat[0][ends].T, color="#d55e00", lw=2, ls=(0, (2, 1)), zorder=3)
                else:
                    axis[side].plot(*flat[0][ends].T, color="0.15", lw=3, zorder=2)
            axis[side].set(aspect="equal", title=f"{case}, {name}", xticks=[], yticks=[], ylim=(1.1, -1.0))
            axis[side].set_xlim(-0.7, 0.7)
            axis[side].spines[:].set_visible(False)
    bars, inside = below.subplots(1, 2, width_ratios=(1.7, 1))
    known = next(iter(next(iter(figures.values()))))
    methods = [m for m in next(iter(figures.values()))[known] if m not in (MIRRORED, OURS_THERE)]
    for i, method in enumerate(methods):
        values = torch.tensor([kinds[known][method]["energy score"] for kinds in figures.values()])
        at = [x + 0.16 * (i - (len(methods) - 1) / 2) for x in range(len(figures))]
        spread = values.std(1) if values.shape[1] > 1 else None
        bars.bar(at, values.mean(1), 0.15, yerr=spread, label=method, color=f"C{i}", error_kw={"lw": 1})
    bars.set_xticks(range(len(figures)), list(figures))
    bars.set(ylabel="energy score of the missing joints, mm", title=f"known joints: {known}")
    bars.margins(y=0.2)  # room for the legend
    bars.legend(frameon=False, ncols=3)
    for i, level in enumerate(LEVELS):
        for j, name in enumerate(figures[next(iter(figures))]):
            values = torch.tensor([kinds[name][OURS][f"inside {level:g}"] for kinds in figures.values()]).mean(1)
            where = [x + 0.12 * (2 * j - 1) for x in range(len(figures))]
            inside.plot(where, values, "o^"[j % 2], color=f"C{i}", label=f"{level:.0%}, {name}")
        inside.axhspan(level - 0.05, level + 0.05, color=f"C{i}", alpha=0.12, lw=0)
        inside.axhline(level, color=f"C{i}", lw=0.8)
    inside.set_xticks(range(len(figures)), list(figures), rotation=30, ha="right")
    inside.set(title="truths inside intervals of diffpose; bands: within 5 points", ylim=(0.3, 1))
    inside.legend(frameon=False, ncols=3, loc="lower right", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Parse the command line, evaluate, print the tables."""
    parser = report_parser(__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES, metavar="NAME")
    parser.add_argument("--poses", type=int, default=42, help="in all; equally many of every subject, so rounded down")
    parser.add_argument("--training-poses", type=int, default=50_000, help="among which the nearest are sought")
    parser.add_argument("--figure", type=Path, help="draw poses, scores and coverage here (.png)")
    parser.add_argument(
        "--of-the-prior", action="store_true",
        help="complete poses that the prior generated, not people: what is off then is the sampler's fault",
    )  # fmt: skip
    args = parser.parse_args()
    data = load_mocap(args.data, args.split)
    frames = frame_counts(data)
    if not args.of_the_prior and not len(frames) <= args.poses <= len(frames) * min(frames.values()):
        parser.error(f"--poses must lie in {len(frames)}..{len(frames) * min(frames.values())}, got {args.poses}")
    torch.set_num_threads(1)
    prior = PosePrior.from_pretrained(args.prior)
    methods = completers(prior, args.data, args.training_poses)
    figures: Figures = {}
    leads: dict[str, dict[str, list[float]]] = {}
    spans: Spans = {}
    examples: dict[str, Examples] = {}
    jobs = [(case, known) for case in args.cases for known in KNOWN]
    place: Place = at_distances if args.of_the_prior else before_cameras
    for case, known in tqdm(jobs):
        if args.of_the_prior:
            seeds = [torch.Generator().manual_seed(seed) for seed in range(args.seeds)]
            drawn = [prior.sample(args.poses, generator=seed) for seed in seeds]
            who = torch.arange(args.seeds * args.poses)  # nobody twice
        else:
            chosen = [draw_poses(data, args.poses, seed) for seed in range(args.seeds)]
            drawn = [data.joints[rows] for rows in chosen]
            who = data.subject[torch.cat(chosen)]
        done = [
            evaluate(methods, poses, place, case, known, args.hypotheses, 100 + seed)
            for seed, poses in enumerate(drawn)
        ]
        each = [scores for scores, _ in done]
        if case in DRAWN:
            examples.setdefault(case, done[0][1])
        rows = figures.setdefault(case, {}).setdefault(known, {})
        for method in each[0]:
            there = [e[method] for e in each if method in e]
            rows[method] = {k: [float(e[k].mean()) for e in there] for k in there[0]}
        scores = {m: torch.cat([e[m]["energy score"] for e in each]) for m in methods}
        best = min((m for m in methods if m != OURS), key=lambda m: float(scores[m].mean()))
        gap = scores[best] - scores[OURS]
        low, high = bootstrap_interval(gap, torch.Generator().manual_seed(0))
        leads.setdefault(case, {})[known] = [float(low), float(gap.mean()), float(high)]
        names = [f"inside {level:g}" for level in LEVELS]
        shares = torch.stack([torch.cat([e[OURS][name] for e in each]) for name in names], 1)
        each_one = torch.stack([shares[who == subject].mean(0) for subject in who.unique()])
        low, high = bootstrap_interval(each_one, torch.Generator().manual_seed(0))
        limits = torch.stack([low, each_one.mean(0), high], 1).tolist()
        spans.setdefault(case, {})[known] = dict(zip(names, limits, strict=True))
    split = "prior" if args.of_the_prior else args.split
    poses = args.poses if args.of_the_prior else args.poses // len(frames) * len(frames)
    source = "that the prior generated" if args.of_the_prior else f"of {split} subjects"
    people = "poses" if args.of_the_prior else f"{len(frames)} subjects"
    print(table(figures))
    print(f"\n{poses} poses {source} x {args.seeds} seeds, {args.hypotheses} hypotheses; energy score, mm")
    print(summary(figures, leads))
    print(f"\ncoverage of {OURS} with its 95 % interval over {people} (bootstrap)")
    print(between(spans))
    if args.json:
        report = {
            "split": split, "poses": poses, "hypotheses": args.hypotheses, "seeds": args.seeds,
            "training_poses": args.training_poses, "sampler": asdict(COMPLETING), "known_std_m": KNOWN,
            "prior_sha256": prior.sha256, "torch": torch.__version__, "cases": figures,
            "below_the_next_best_mm": leads, "coverage_over_subjects": spans,
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.figure:
        draw(figures, examples, args.figure)


if __name__ == "__main__":
    main()
