# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Samplers against the reference posterior (``diffpose_core.reference``), on held-out people.

    python training/reference.py --data mocap_free.safetensors --poses 54 --json docs/reference.json

Of two-peaked heatmaps the reference says which peaks the body allows: where it finds both likely, the others must too.

Prints, per method, the energy distance of its hypotheses from the reference, that of a second, independent run of the
reference, what lies between the two pose by pose, and how all score against the truth. Takes about 20 s per pose and
run on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from benchmark import OURS, at_true_peak, draw_poses
from tqdm import tqdm

from diffpose_core import PoseEstimator, PosePrior
from diffpose_core.data import SCENARIOS, load_mocap, synthesize
from diffpose_core.metrics import (
    bootstrap_interval,
    coverage,
    energy_distance,
    mpjpe,
    pose_energy_score,
    root_relative,
)
from diffpose_core.reference import ReferenceConfig, ReferenceEstimator

BATCH = 6
"""Poses that share a camera and are estimated together."""
LIKELY = 0.1
"""Of two peaks both are likely where the reference has this share of its hypotheses, or more, at each."""


REFERENCE, AGAIN = "reference", "reference again"


@dataclass(frozen=True)
class Settings:
    """What all batches share."""

    data: Path
    split: str
    prior: Path | None
    scenario: str
    poses: int
    hypotheses: int
    particles: int
    polish: int


def work(batch: int, settings: Settings) -> dict[str, dict[str, list[float]]]:
    """Return, per method, each pose's figures for one batch of poses."""
    torch.set_num_threads(1)
    data, prior = load_mocap(settings.data, settings.split), PosePrior.from_pretrained(settings.prior)
    world = data.joints[draw_poses(data, settings.poses, 0)].split(BATCH)[batch]
    scene = synthesize(world, SCENARIOS[settings.scenario], torch.Generator().manual_seed(batch))
    truth = root_relative(scene.joints)
    config = ReferenceConfig(particles=settings.particles, polish=settings.polish)
    estimators: dict[str, PoseEstimator] = {k: ReferenceEstimator(prior, "cpu", config) for k in (REFERENCE, AGAIN)}
    estimators |= {name: PoseEstimator(prior, sampler=config) for name, config in OURS.items()}
    drawn, at_peak = {}, {}
    for seed, (name, estimator) in enumerate(estimators.items()):
        generator = torch.Generator().manual_seed(1000 + seed)
        post = estimator(scene.heatmaps, scene.camera, settings.hypotheses, generator)
        drawn[name], at_peak[name] = root_relative(post.joints), at_true_peak(post, scene)[0]
    two = at_true_peak(post, scene)[1]
    expected = 0.5 * (at_peak[REFERENCE] + at_peak[AGAIN])
    likely = two & (expected >= LIKELY) & (expected <= 1 - LIKELY)
    result = {}
    for name, samples in drawn.items():
        share = coverage(samples[:, :, 1:], truth[:, 1:], (0.5, 0.9))
        figures = {
            "energy score": 1000 * pose_energy_score(samples, truth),
            "mean MPJPE": 1000 * mpjpe(samples.mean(1), truth),
            "z 0.5": share[:, 0, 2], "z 0.9": share[:, 1, 2],
            "xy 0.5": share[:, 0, :2].mean(-1), "xy 0.9": share[:, 1, :2].mean(-1),
        }  # fmt: skip
        if name != REFERENCE:
            figures["energy distance"] = 1000 * energy_distance(samples.flatten(2), drawn[REFERENCE].flatten(2))
            if two.any():
                share = at_peak[name][likely]
                figures["both peaks found"] = (share * (1 - share) > 0).float()
                figures["share of a peak off"] = (share - at_peak[REFERENCE][likely]).abs()
        result[name] = {k: v.tolist() for k, v in figures.items()}
    return result


def main() -> None:
    """Parse the command line, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--scenario", default="noise 2.5 %", choices=list(SCENARIOS))
    parser.add_argument("--poses", type=int, default=54, help="equally many of every subject")
    parser.add_argument("--hypotheses", type=int, default=50)
    parser.add_argument("--particles", type=int, default=ReferenceConfig.particles)
    parser.add_argument("--polish", type=int, default=ReferenceConfig.polish)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    settings = Settings(
        args.data, args.split, args.prior, args.scenario, args.poses, args.hypotheses, args.particles, args.polish
    )
    data = load_mocap(args.data, args.split)
    poses = len(draw_poses(data, args.poses, 0))
    figures: dict[str, dict[str, list[float]]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, mp_context=spawn) as pool:
        waiting = [pool.submit(work, batch, settings) for batch in range(math.ceil(poses / BATCH))]
        for future in tqdm(waiting, unit="batch"):
            for method, values in future.result().items():
                for key, value in values.items():
                    figures.setdefault(method, {}).setdefault(key, []).extend(value)
    again = figures[AGAIN]["energy distance"]
    for method in figures.keys() - {REFERENCE, AGAIN}:
        beyond = [d - a for d, a in zip(figures[method]["energy distance"], again, strict=True)]
        figures[method]["beyond a second reference"] = beyond
    keys = list(dict.fromkeys(itertools.chain(*figures.values())))
    print(f"{poses} poses of {args.split} subjects, {args.scenario}; mm; mean and 95 % interval over poses")
    print("| method | " + " | ".join(keys) + " |\n" + "|---" * (1 + len(keys)) + "|")
    for method, values in figures.items():
        cells = []
        for key in keys:
            value = torch.tensor(values.get(key, []))
            if len(value) < 2:
                cells.append("-")
                continue
            low, high = bootstrap_interval(value, torch.Generator().manual_seed(0))
            places = 2 if " 0." in key or "peak" in key else 1
            median = f", median {value.median():.{places}f}" if key == "energy distance" else ""
            cells.append(f"{value.mean():.{places}f} ({low:.{places}f} to {high:.{places}f}){median}")
        print(f"| {method} | " + " | ".join(cells) + " |")
    if args.json:
        report = {
            "split": args.split, "scenario": args.scenario, "poses": poses, "hypotheses": args.hypotheses,
            "reference": asdict(ReferenceConfig(particles=args.particles, polish=args.polish)),
            "prior_sha256": PosePrior.from_pretrained(args.prior).sha256,
            "torch": torch.__version__, "figures": figures,
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
