"""Accuracy and calibration on held-out people, all samplers side by side.

    python training/benchmark.py --data mocap_free.npz --poses 510 --seeds 3

Prints a table of millimetres and coverages, mean and standard deviation over
the seeds, the same for every subject alone, and writes all of it as JSON.
Errors are root-relative; the inputs are noisy keypoints with honest heatmaps;
cameras and intrinsics are known, the root position is not. The same number of
poses is drawn from every subject: people count alike, not frames, of which one
dancer has nearly half. "frames alike" weighs the subjects by their frames.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from diffpose_core import PoseEstimator, PosePrior, SamplerConfig
from diffpose_core.data import MocapSet, SyntheticConfig, load_mocap, synthesize
from diffpose_core.metrics import best_of, covered, mpjpe, pa_mpjpe, pose_energy_score, root_relative

LEVELS = (0.5, 0.8, 0.9)
BY_SUBJECT = ("mean MPJPE", "energy score", "PA best of 50")
METHODS = {
    "kalman, 25 steps": SamplerConfig(),
    "kalman, 10 steps": SamplerConfig(steps=10),
    "gradient, 10 x 5 steps": SamplerConfig(guidance="gradient", steps=10, repeats=5),
    "gradient, 50 steps": SamplerConfig(guidance="gradient", steps=50),
}


def evaluate(
    estimator: PoseEstimator, world: torch.Tensor, subject: torch.Tensor, frames: dict[int, int],
    config: SyntheticConfig, hypotheses: int, seed: int, batch: int = 10,
) -> dict[str, float]:  # fmt: skip
    """Return the figures of one method on the given world poses, one camera per ``batch`` poses.

    ``frames``: how many frames each subject has in all.
    """
    scenes = torch.Generator().manual_seed(seed)
    noise = torch.Generator(estimator.device).manual_seed(seed + 1)
    rows: list[dict[str, torch.Tensor]] = []
    elapsed_s = 0.0
    for chunk in tqdm(world.split(batch), leave=False):
        scene = synthesize(chunk, config, scenes)
        started = time.perf_counter()
        post = estimator(scene.heatmaps, scene.camera, hypotheses, noise)
        elapsed_s += time.perf_counter() - started
        samples, truth = root_relative(post.joints.cpu()), root_relative(scene.joints)
        error, aligned = mpjpe(samples, truth[:, None]), pa_mpjpe(samples, truth[:, None])
        row = {"mean MPJPE": mpjpe(samples.mean(1), truth), "energy score": pose_energy_score(samples, truth)}
        for m in (1, 10, 50):
            if m <= hypotheses:
                row[f"MPJPE best of {m}"], row[f"PA best of {m}"] = best_of(error, m), best_of(aligned, m)
        row["root error"] = (post.mean[:, 0].cpu() - scene.joints[:, 0]).norm(dim=-1)
        row = {k: 1000 * v for k, v in row.items()}
        for level in LEVELS:
            inside = covered(samples[:, :, 1:].movedim(1, -1), truth[:, 1:], level).float()
            row[f"z {level:g}"], row[f"xy {level:g}"] = inside[..., 2].mean(-1), inside[..., :2].mean((-1, -2))
        rows.append(row)
    values = {k: torch.cat([r[k] for r in rows]) for k in rows[0]}
    result = {k: float(v.mean()) for k, v in values.items()}
    for k in BY_SUBJECT:
        if k in values:
            each = {s: float(values[k][subject == s].mean()) for s in frames}
            result[f"{k}, frames alike"] = sum(frames[s] * v for s, v in each.items()) / sum(frames.values())
            result |= {f"{k}, subject {s}": v for s, v in each.items()}
    result["ms per pose"] = 1000 * elapsed_s / len(world)
    return result


def draw_poses(data: MocapSet, poses: int, seed: int) -> torch.Tensor:
    """Return the indices of equally many poses of every subject, in random order."""
    generator = torch.Generator().manual_seed(seed)
    subjects = data.subject.unique()
    each = [torch.nonzero(data.subject == s)[:, 0] for s in subjects]
    drawn = torch.cat([ids[torch.randperm(len(ids), generator=generator)[: poses // len(subjects)]] for ids in each])
    return drawn[torch.randperm(len(drawn), generator=generator)]


def main() -> None:
    """Parse the command line, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (.npz)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument(
        "--split", default="test", choices=["validation", "test"], help="tune on validation, report on test"
    )
    parser.add_argument("--poses", type=int, default=510, help="in all; equally many of every subject, so rounded down")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hypotheses", type=int, default=50)
    parser.add_argument("--noise", type=float, default=SyntheticConfig.noise, help="sigma as a fraction of the box")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    prior = PosePrior.from_pretrained(args.prior)
    data = load_mocap(args.data, args.split)
    frames = {s: int((data.subject == s).sum()) for s in data.subject.unique().tolist()}
    if not len(frames) <= args.poses <= len(frames) * min(frames.values()):
        parser.error(f"--poses must lie in {len(frames)}..{len(frames) * min(frames.values())}, got {args.poses}")
    poses = args.poses // len(frames) * len(frames)
    config = SyntheticConfig(noise=args.noise)
    report: dict[str, object] = {
        "split": args.split, "poses": poses, "hypotheses": args.hypotheses, "scene": asdict(config),
        "prior_sha256": prior.sha256, "device": args.device, "torch": torch.__version__, "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    methods: dict[str, dict[str, list[float]]] = {}
    for name, settings in METHODS.items():
        estimator = PoseEstimator(prior, args.device, settings)
        runs = []
        for seed in range(args.seeds):
            pick = draw_poses(data, poses, seed)
            world, subject = data.joints[pick], data.subject[pick]
            runs.append(evaluate(estimator, world, subject, frames, config, args.hypotheses, 100 + seed))
        methods[name] = {k: [r[k] for r in runs] for k in runs[0]}
    report["methods"] = methods
    names = list(methods)
    print(
        f"{poses} poses of {args.split} subjects x {args.seeds} seeds, {args.hypotheses} hypotheses, "
        f"noise {args.noise:g} of the box; mm"
    )
    print("| figure | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for key in methods[names[0]]:
        digits = 1 if key not in {f"{a} {x:g}" for a in ("z", "xy") for x in LEVELS} else 3
        cells = []
        for name in names:
            values = torch.tensor(methods[name][key])
            spread = float(values.std()) if len(values) > 1 else 0.0
            cells.append(f"{float(values.mean()):.{digits}f} ± {spread:.{digits}f}")
        print(f"| {key} | " + " | ".join(cells) + " |")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
