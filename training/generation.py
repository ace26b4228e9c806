# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How like real people generated poses are: the prior against held-out subjects, beside real people against them.

    python training/generation.py --data mocap_free.safetensors --json docs/generation.json --pictures docs/figures

Every set is compared with the same poses of the test subjects. What real people of other subjects reach is the
measure of what generated ones may. Poses are root-relative joints in camera axes; real ones are turned and mirrored as
in training, with their own proportions, but for the last set, which is what the prior was trained on.

Poses generated under a condition, both wrists above the head, are compared with those of many unconditional ones that
happen to meet it: an exact draw of the same distribution.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from diffpose_core import H36M17, PoseEstimator, PosePrior
from diffpose_core.commands.generate import SOFT_M, UNDER_CONDITIONS, generate
from diffpose_core.data import AugmentConfig, MocapSet, augment, load_mocap, load_splits
from diffpose_core.likelihood import LinearConstraint
from diffpose_core.metrics import (
    bone_asymmetry,
    bone_lengths,
    frechet_distance,
    precision_recall_density_coverage,
)
from diffpose_core.training import MixtureConfig
from diffpose_core.viz_grid import draw_poses

AS_THEY_ARE = AugmentConfig(scale_sd=0.0, bone_sd=0.0, definition_prob=0.0)
CHUNK = 250
WRISTS = ("LWrist", "RWrist")
SEARCHED = 30
"""Times as many poses are searched for those that meet the condition."""
COLUMNS, ROWS = 6, 5
"""Of poses in a picture, whose sets share the columns."""


def drawn(data: MocapSet, count: int, config: AugmentConfig, generator: torch.Generator) -> torch.Tensor:
    """Draw poses as training does, equally often from every subject to the power that it takes."""
    index = torch.multinomial(
        data.weights(MixtureConfig().subject_temper), count, replacement=True, generator=generator
    )
    return augment(data.joints[index], config, generator)


def nearest_mm(poses: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """Root mean square joint distance to the nearest of other poses, mm."""
    flat = among.flatten(1)
    least = [torch.cdist(p.flatten(1), flat).amin(1) for p in poses.split(CHUNK)]
    return 1000 * torch.cat(least) / poses.shape[1] ** 0.5


def figures(poses: torch.Tensor, test: torch.Tensor, training: torch.Tensor) -> dict[str, float]:
    """Compare poses [N, 17, 3] with those of the test subjects and with training poses."""
    flat = poses.flatten(1)[:, 3:]
    nearest = nearest_mm(poses, training)
    usual = bone_lengths(training).mean(0)
    return precision_recall_density_coverage(test.flatten(1)[:, 3:], flat) | {
        "Frechet distance, mm": 1000 * frechet_distance(test.flatten(1)[:, 3:], flat) ** 0.5,
        "bone asymmetry, mm": 1000 * float(bone_asymmetry(poses).mean()),
        "bone lengths off training's mean, mm": 1000 * float((bone_lengths(poses) - usual).abs().mean()),
        "nearest training pose, mm": float(nearest.mean()),
        "... of the nearest 1 %, mm": float(nearest.quantile(0.01)),
    }


def hands_up(poses: torch.Tensor) -> torch.Tensor:
    """Return which poses [N, 17, 3] have both wrists above the head, [N]."""
    height = -poses[:, :, 1]
    return (height[:, [H36M17.index(w) for w in WRISTS]] > height[:, [H36M17.index("HeadTop")]]).all(1)


def under_condition(prior: PosePrior, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return poses generated under the condition, two sets of others that meet it, and any."""
    conditions = [LinearConstraint.above(wrist, "HeadTop", std_m=SOFT_M) for wrist in WRISTS]
    steered = generate(PoseEstimator(prior, sampler=UNDER_CONDITIONS), count, generator, conditions)
    some = prior.sample(count * SEARCHED, generator)
    exact, again = some[hands_up(some)].tensor_split(2)
    return {"found": exact, "generated under the condition": steered, "found again": again, "any": some[:count]}


def condition_figures(poses: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Compare poses [N, 17, 3] with exact draws, in sets of equal size."""
    count = min(len(poses), len(exact))
    flat, reference = (x[:count].flatten(1)[:, 3:] for x in (poses, exact))
    return {
        "both wrists above the head": float(hands_up(poses).float().mean()),
        **precision_recall_density_coverage(reference, flat),
        "Frechet distance, mm": 1000 * frechet_distance(reference, flat) ** 0.5,
    }


def table(report: dict[str, dict[str, float]]) -> str:
    """Write a markdown table, a line for every set."""
    keys = list(next(iter(report.values())))
    lines = ["| set | " + " | ".join(keys) + " |", "|---" * (1 + len(keys)) + "|"]
    for name, row in report.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[k]:.{1 if 'mm' in k else 3}f}" for k in keys) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument("--poses", type=int, default=3000, help="in every set")
    parser.add_argument("--training-poses", type=int, default=50_000, help="among which the nearest is sought")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--pictures", type=Path, help="draw into this folder: generated poses beside real ones")
    args = parser.parse_args()
    train, validation = load_splits(args.data, MixtureConfig().exclude_recordings)
    prior = PosePrior.from_pretrained(args.prior)
    generator = torch.Generator().manual_seed(0)
    held_out = load_mocap(args.data, "test")
    test = drawn(held_out, args.poses, AS_THEY_ARE, generator)
    training = drawn(train, args.training_poses, AugmentConfig(), generator)
    sets = {
        "generated": prior.sample(args.poses, generator),
        "validation subjects": drawn(validation, args.poses, AS_THEY_ARE, generator),
        "training subjects": drawn(train, args.poses, AS_THEY_ARE, generator),
        "test subjects again": drawn(held_out, args.poses, AS_THEY_ARE, generator),
        "training subjects, varied as in training": drawn(train, args.poses, AugmentConfig(), generator),
    }
    report = {name: figures(poses, test, training) for name, poses in sets.items()}
    print(f"{args.poses} poses in every set, against as many of the test subjects\n{table(report)}\n")
    up = under_condition(prior, args.poses, generator)
    exact = up.pop("found")
    up_report = {name: condition_figures(poses, exact) for name, poses in up.items()}
    print(f"Both wrists above the head, against {len(exact)} found among generated ones\n{table(up_report)}")
    if args.pictures:
        people = {"generated": sets["generated"], "people whom the prior has never seen": test}
        raised = {
            "generated under the condition": up["generated under the condition"],
            "found among generated ones": exact,
            "training poses that meet it": training[hands_up(training)],
        }
        args.pictures.mkdir(parents=True, exist_ok=True)
        for name, shown in (("generation", people), ("generation_hands_up", raised)):
            columns = COLUMNS // len(shown)
            first = {title: poses[: ROWS * columns] for title, poses in shown.items()}
            draw_poses(first, args.pictures / f"{name}.png", columns)
    if args.json:
        settings = {"poses": args.poses, "training_poses": args.training_poses, "prior_sha256": prior.sha256}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(settings | {"sets": report, "hands_up": up_report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
