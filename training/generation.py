"""How like real people generated poses are: the prior against held-out subjects, beside real people against them.

    python training/generation.py --data mocap_free.safetensors --json docs/generation.json

Every set is compared with the same poses of the test subjects. What real people of other subjects reach is the
measure of what generated ones may. Poses are root-relative joints in camera axes; real ones are turned and mirrored as
in training, with their own proportions, but for the last set, which is what the prior was trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from diffpose_core import PosePrior
from diffpose_core.data import AugmentConfig, MocapSet, augment, load_mocap, load_splits
from diffpose_core.metrics import (
    bone_asymmetry,
    bone_lengths,
    frechet_distance,
    precision_recall_density_coverage,
)
from diffpose_core.training import MixtureConfig

AS_THEY_ARE = AugmentConfig(scale_sd=0.0, bone_sd=0.0, definition_prob=0.0)
CHUNK = 250


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


def main() -> None:
    """Parse the command line, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument("--poses", type=int, default=3000, help="in every set")
    parser.add_argument("--training-poses", type=int, default=50_000, help="among which the nearest is sought")
    parser.add_argument("--json", type=Path, help="write the figures here too")
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
    keys = list(report["generated"])
    print(f"{args.poses} poses in every set, against as many of the test subjects")
    print("| set | " + " | ".join(keys) + " |\n" + "|---" * (1 + len(keys)) + "|")
    for name, row in report.items():
        print(f"| {name} | " + " | ".join(f"{row[k]:.{1 if 'mm' in k else 3}f}" for k in keys) + " |")
    if args.json:
        settings = {"poses": args.poses, "training_poses": args.training_poses, "prior_sha256": prior.sha256}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(settings | {"sets": report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
