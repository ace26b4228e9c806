# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What each sensor is worth on held-out people: errors and coverage with it and without, and what evidence tells.

    python training/sensors.py --data mocap_free.safetensors --json docs/sensors.json --figure docs/figures/sensors.png

Every person is seen by one synthetic camera, as a scenario of the benchmark says, and by one sensor more. The sampler's
draws are the same for all sensors, so that figures differ by what the sensor says alone. Errors of the pose are
root-relative. On some poses every sensor is given endless noise: then it must say nothing. Last, observations that
belong together are told from ones that contradict each other, by ``PoseEstimator.log_evidence`` and ``agreement``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from benchmark import report_parser
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior
from diffpose_core.body import ANKLE_M
from diffpose_core.data import (
    SCENARIOS,
    DepthNoise,
    MocapSet,
    SyntheticConfig,
    SyntheticScene,
    SyntheticView,
    load_mocap,
    measure_depth,
    render_depth,
    see_from,
    synthesize,
)
from diffpose_core.data.synthetic import observe
from diffpose_core.likelihood import (
    DepthImage,
    GroundPlane,
    HeatmapLikelihood,
    JointDepth,
    KnownJoints,
    KnownLengths,
    Likelihood,
    PreviousPosterior,
)
from diffpose_core.metrics import (
    bone_lengths,
    coverage,
    covered,
    mpjpe,
    pose_energy_score,
    roc_auc,
    root_relative,
)
from diffpose_core.reference import ReferenceEstimator
from diffpose_core.sampler import FUSED

DEFAULT_SCENARIOS = ("noise 2.5 %", "noise 0.5 %", "many cameras")
ANGLES_DEG = (60.0, 120.0)
"""Between which the second camera is turned about the person; the third one to the other side."""
DEPTH_SD = 0.02
DEPTH_SURFACE_SD_M = 0.03
"""Chosen on validation subjects. Real bodies differ by more than these of capsules, hence the larger default."""
LENGTH_SD = 0.01
GROUND_SD_M = 0.03
KNOWN_SD_M = 0.005
COARSER = 4
"""The depth image has so many times fewer pixels a side."""
WALL_M = 9.0
LEVELS = (0.5, 0.8, 0.9)
ENDLESS = 1e6
"""Factor on a sensor's noise that leaves nothing of it."""
ASIDE_M = 0.25
LEGS = [H36M17.index(s + j) for j in ("Hip", "Knee", "Ankle") for s in "LR"]


@dataclass(frozen=True)
class Case:
    """One person, and everything that is observed of it.

    Attributes:
        scene: the pose before the first camera.
        views: of two further cameras.
        depth_m: [H, W] depth image as the sensor measures it, of the first camera's view.
        depth_camera: its camera.
        depth_at_joints_m: [1, 17] z of the joints, measured.
        lengths_m: [1, 16] of the bones, measured.
        height_m: [1] of the body, measured.
        before: heatmaps of the pose a frame earlier by the first camera.
        elapsed_s: since then.
        stranger: another person's heatmaps by the second camera, at this one's place.
        halves: the first camera's heatmaps, the legs being another person's: at the same pelvis, and aside.
    """

    scene: SyntheticScene
    views: tuple[SyntheticView, ...]
    depth_m: Float[Tensor, "H W"]
    depth_camera: Camera
    depth_at_joints_m: Float[Tensor, "1 17"]
    lengths_m: Float[Tensor, "1 16"]
    height_m: Float[Tensor, "1"]
    before: Heatmaps
    elapsed_s: float
    stranger: Heatmaps
    halves: tuple[Heatmaps, ...]


def coarser(camera: Camera, times: int) -> Camera:
    """Return the camera with fewer pixels of the same view."""
    centre = ((camera.cx + 0.5) / times - 0.5, (camera.cy + 0.5) / times - 0.5)
    return replace(
        camera, fx=camera.fx / times, fy=camera.fy / times, cx=centre[0], cy=centre[1],
        width=camera.width // times, height=camera.height // times,
    )  # fmt: skip


def body_height(joints: Float[Tensor, "P 17 3"]) -> Float[Tensor, "P"]:
    """Return the height that ``KnownLengths.of_height`` means, metres."""
    weights = KnownLengths.of_height(torch.ones(1)).weights[0]
    return bone_lengths(joints) @ weights + ANKLE_M


def noisy(values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return values with Gaussian errors of a share of their size."""
    return values * (1 + share * torch.randn(values.shape, generator=generator))


def moved(joints: Tensor, pose: Float[Tensor, "3 4"]) -> Tensor:
    """Return joints in another frame."""
    return joints @ pose[:, :3].T + pose[:, 3]


def build_case(data: MocapSet, index: int, other: int, config: SyntheticConfig, generator: torch.Generator) -> Case:
    """Observe pose ``index``; pose ``other`` is somebody else's."""
    scene = synthesize(data.joints[index, None], config, generator)
    camera, joints = scene.camera, scene.joints
    angle = ANGLES_DEG[0] + (ANGLES_DEG[1] - ANGLES_DEG[0]) * float(torch.rand(1, generator=generator))
    side = 1 if torch.rand(1, generator=generator) < 0.5 else -1
    views = tuple(see_from(a, joints, config, generator) for a in (side * angle, -side * angle))
    depth_camera = coarser(camera, COARSER)
    earlier = max(index - 1, 0)  # the first pose of a recording stands still
    earlier = earlier if data.recording[earlier] == data.recording[index] else index
    scale = bone_lengths(joints).sum() / bone_lengths(data.joints[index]).sum()
    before = moved(scale * data.joints[earlier, None], scene.camera_from_world[0])
    stranger = root_relative(synthesize(data.joints[other, None], config, generator).joints) + joints[:, :1]
    halves = []
    for aside_m in (0.0, ASIDE_M):
        mixed = joints.clone()
        mixed[:, LEGS] = stranger[:, LEGS] + torch.tensor([aside_m, 0.0, 0.0])
        halves.append(observe(mixed, camera, config, generator)[0])
    return Case(
        scene, views,
        measure_depth(render_depth(joints, depth_camera, WALL_M), DepthNoise(DEPTH_SD), generator), depth_camera,
        noisy(joints[..., 2], DEPTH_SD, generator),
        noisy(bone_lengths(joints), LENGTH_SD, generator),
        noisy(body_height(joints), LENGTH_SD, generator),
        observe(before, camera, config, generator)[0],
        1 / data.recordings[int(data.recording[index])].frame_rate_hz,
        observe(moved(stranger, views[0].camera_from_reference), views[0].camera, config, generator)[0],
        tuple(halves),
    )  # fmt: skip


def through(view: SyntheticView, factor: float = 1.0) -> HeatmapLikelihood:
    """Observe through a further camera, its keypoints and the box that outliers lie in ``factor`` times as wide."""
    heat = view.heatmaps
    if factor != 1:
        pixels = heat.means[:, :, 0]
        reach = factor * view.sigma_px[:, None]
        box = torch.cat([pixels.amin(1) - reach, pixels.amax(1) + reach], -1)
        heat = Heatmaps.from_mixture(
            heat.means, factor**2 * heat.covariances, heat.weights, heat.visibility, heat.outlier, box, heat.skeleton
        )
    return HeatmapLikelihood(heat, view.camera, view.camera_from_reference)


def ground(case: Case, factor: float) -> GroundPlane:
    """Observe the floor, z = 0 of the world, in the first camera's frame: where it is below the camera is known."""
    pose = case.scene.camera_from_world[0]
    up = pose[:, 2]
    return GroundPlane(torch.cat([up, -(up @ pose[:, 3])[None]]), 1, factor * GROUND_SD_M)


NONE = "no sensor"
Sensor = Callable[[Case, float, Callable[[], PosePosterior]], list[Likelihood]]
SENSORS: dict[str, Sensor] = {
    NONE: lambda case, factor, before: [],
    "second camera": lambda case, factor, before: [through(case.views[0], factor)],
    "third camera": lambda case, factor, before: [through(view, factor) for view in case.views],
    "depth at joints": lambda case, factor, before: [
        JointDepth(case.depth_at_joints_m, factor * DEPTH_SD * case.depth_at_joints_m)
    ],
    "depth image": lambda case, factor, before: [
        DepthImage(case.depth_m, case.depth_camera, 1, factor * DEPTH_SD, DEPTH_SURFACE_SD_M, noise_width_px=1.0)
    ],
    "height": lambda case, factor, before: [KnownLengths.of_height(case.height_m, factor * LENGTH_SD * case.height_m)],
    "bone lengths": lambda case, factor, before: [
        KnownLengths.of_bones(case.lengths_m, factor * LENGTH_SD * case.lengths_m)
    ],
    "ground plane": lambda case, factor, before: [ground(case, factor)],
    "previous posterior": lambda case, factor, before: [PreviousPosterior(before(), factor * case.elapsed_s)],
    "(pose known)": lambda case, factor, before: [
        KnownJoints(root_relative(case.scene.joints), torch.ones(1, 17, dtype=torch.bool), factor * KNOWN_SD_M, True)
    ],
}
"""What is observed beside the first camera's heatmaps, with noise ``factor`` times what it is. The last one is no
sensor: what the root's error is, once nothing but the heatmaps' noise is left."""


def parts(heatmaps: Heatmaps, camera: Camera) -> list[Likelihood]:
    """Observe the legs and the rest of the body as two."""
    legs = torch.zeros(len(H36M17), dtype=torch.bool)
    legs[LEGS] = True
    return [
        HeatmapLikelihood(
            Heatmaps.from_keypoints(
                heatmaps.means[:, :, 0], heatmaps.covariances[:, :, 0], heatmaps.visibility * half, heatmaps.skeleton
            ),
            camera,
        )
        for half in (legs, ~legs)
    ]


def pairs(case: Case) -> dict[str, tuple[list[Likelihood], list[Likelihood]]]:
    """Return observations that belong together and ones that contradict each other, of several kinds."""
    scene, view = case.scene, case.views[0]
    first = HeatmapLikelihood(scene.heatmaps, scene.camera)
    both: list[Likelihood] = [first, through(view)]
    whole = parts(scene.heatmaps, scene.camera)
    pose = view.camera_from_reference
    return {
        "two people in two views": (both, [first, HeatmapLikelihood(case.stranger, view.camera, pose)]),
        "cameras swapped": (
            both,
            [HeatmapLikelihood(view.heatmaps, view.camera), HeatmapLikelihood(scene.heatmaps, scene.camera, pose)],
        ),
        "one view, another's legs": (whole, parts(case.halves[0], scene.camera)),
        f"... {100 * ASIDE_M:.0f} cm aside": (whole, parts(case.halves[1], scene.camera)),
    }


def figures(post: PosePosterior, truth: Float[Tensor, "1 17 3"]) -> dict[str, float]:
    """Errors in mm, shares inside the intervals, nats."""
    samples, pose = root_relative(post.joints), root_relative(truth)
    error = 1000 * (post.mean[0, 0] - truth[0, 0])
    row = {
        "mean MPJPE": 1000 * float(mpjpe(samples.mean(1), pose)),
        "root depth error": float(error[2].abs()),
        "root error": float(error.norm()),
        "energy score": 1000 * float(pose_energy_score(samples, pose)),
    }
    inside = coverage(samples[:, :, 1:], pose[:, 1:], LEVELS)[0]
    of_root = [covered(post.joints[0, :, 0].T, truth[0, 0], level).float() for level in LEVELS]
    for name, shares in {"": inside, "root ": torch.stack(of_root)}.items():
        row |= {f"{name}z {level:g}": float(share[2]) for level, share in zip(LEVELS, shares, strict=True)}
        row |= {f"{name}xy {level:g}": float(share[:2].mean()) for level, share in zip(LEVELS, shares, strict=True)}
    assert post.log_evidence is not None  # every inference has one
    return row | {"log evidence": float(post.log_evidence)}


@dataclass(frozen=True)
class Result:
    """What one seed gave.

    Attributes:
        figures: sensor -> figure -> mean over the poses.
        auc: contradiction -> score -> area under the curve.
        endless: sensor -> mean and largest distance of joints of all hypotheses from those without the sensor, mm.
    """

    figures: dict[str, dict[str, float]]
    auc: dict[str, dict[str, float]]
    endless: dict[str, dict[str, float]]


def draw_pairs(data: MocapSet, poses: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Draw equally many poses of every subject, each with a pose of somebody else."""
    people = data.subject.unique()
    drawn = []
    for person in people:
        own, others = torch.nonzero(data.subject == person)[:, 0], torch.nonzero(data.subject != person)[:, 0]
        mine = own[torch.randperm(len(own), generator=generator)[: poses // len(people)]]
        theirs = others[torch.randint(len(others), (len(mine),), generator=generator)]
        drawn += list(zip(mine.tolist(), theirs.tolist(), strict=True))
    return drawn


def measure(
    estimator: PoseEstimator, data: MocapSet, config: SyntheticConfig, settings: argparse.Namespace, seed: int
) -> Result:
    """Measure all sensors on the poses and cameras of one seed."""
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in settings.sensors}
    scores: dict[str, dict[str, list[tuple[float, float]]]] = {}
    moved_mm: dict[str, list[Tensor]] = {name: [] for name in settings.sensors if name != NONE}

    def infer(likelihoods: list[Likelihood], draws: int) -> PosePosterior:
        return estimator.infer(likelihoods, settings.hypotheses, torch.Generator().manual_seed(draws))

    for number, (index, other) in enumerate(tqdm(draw_pairs(data, settings.poses, generator), unit="pose")):
        case = build_case(data, index, other, config, generator)
        first, draws = HeatmapLikelihood(case.scene.heatmaps, case.scene.camera), 2 * (1000 * seed + number)
        before = cache(partial(infer, [HeatmapLikelihood(case.before, case.scene.camera)], draws + 1))
        for name in settings.sensors:
            post = infer([first, *SENSORS[name](case, 1.0, before)], draws)
            rows[name].append(figures(post, case.scene.joints))
        if number < settings.endless:
            alone = infer([first], draws)
            for name, each in moved_mm.items():
                post = infer([first, *SENSORS[name](case, ENDLESS, before)], draws)
                each.append(1000 * (post.joints - alone.joints).norm(dim=-1))
        for name, (agreeing, contradicting) in pairs(case).items():
            for score, of in (("log evidence", estimator.log_evidence), ("agreement", estimator.agreement)):
                told = scores.setdefault(name, {}).setdefault(score, [])
                told.append((float(of(agreeing)), float(of(contradicting))))
    means = {
        name: {k: float(torch.tensor([r[k] for r in each]).mean()) for k in each[0]} for name, each in rows.items()
    }
    auc = {
        name: {score: roc_auc(*torch.tensor(values).unbind(-1)) for score, values in each.items()}
        for name, each in scores.items()
    }
    endless = {
        name: {"mean": float(torch.stack(each).mean()), "largest": float(torch.stack(each).max())}
        for name, each in moved_mm.items()
        if each
    }
    return Result(means, auc, endless)


def spread(values: list[float], decimals: int) -> str:
    """Return mean and standard deviation over the seeds."""
    tensor = torch.tensor(values)
    sd = float(tensor.std()) if len(values) > 1 else 0.0
    return f"{float(tensor.mean()):.{decimals}f} ± {sd:.{decimals}f}"


def table(results: list[Result]) -> str:
    """One row per sensor, means over the seeds and their standard deviations; then those of the evidence."""
    keys = list(results[0].figures[NONE])
    lines = ["| beside one camera | " + " | ".join(keys) + " |", "|---" * (1 + len(keys)) + "|"]
    for name in results[0].figures:
        cells = [spread([r.figures[name][k] for r in results], 2 if k[-1].isdigit() else 1) for k in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| contradiction | AUC of log evidence | AUC of agreement |", "|---|---|---|"]
    for name, scores in results[0].auc.items():
        lines.append(f"| {name} | " + " | ".join(spread([r.auc[name][s] for r in results], 3) for s in scores) + " |")
    lines += ["", "| with endless noise | mean distance from no sensor, mm | largest, mm |", "|---|---|---|"]
    for name in results[0].endless:
        mean, largest = ([r.endless[name][k] for r in results] for k in ("mean", "largest"))
        lines.append(f"| {name} | {sum(mean) / len(mean):.3f} | {max(largest):.1f} |")
    return "\n".join(lines)


def draw(scenarios: dict[str, list[Result]], path: Path) -> None:
    """Draw errors and coverage with every sensor and without, a colour per scenario."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    errors = {"mean MPJPE": "mean pose's error, mm", "root depth error": "root's depth error, mm"}
    shares = {"z": "depth", "xy": "place across the view", "root z": "root's depth"}
    sensors = list(next(iter(scenarios.values()))[0].figures)
    figure, axes = plt.subplots(1, 5, figsize=(20, 1.8 + 0.5 * len(sensors)), sharey=True)
    colours = plt.get_cmap("tab10").colors

    def values(results: list[Result], sensor: str, key: str) -> Tensor:
        return torch.tensor([r.figures[sensor][key] for r in results])

    for number, (scenario, results) in enumerate(scenarios.items()):
        at = [-y - 0.2 * number for y in range(len(sensors))]
        for axis, key in zip(axes, errors, strict=False):
            each = torch.stack([values(results, s, key) for s in sensors])
            sd = each.std(1) if each.shape[1] > 1 else torch.zeros(len(each))
            axis.errorbar(each.mean(1), at, xerr=sd, fmt="o", ms=5, lw=1, color=colours[number], label=scenario)
            axis.axvline(float(each[sensors.index(NONE)].mean()), color=colours[number], lw=0.8, ls=":")
        for axis, key in zip(axes[2:], shares, strict=True):
            for level, marker in zip(LEVELS, "<o>", strict=True):
                inside = [float(values(results, s, f"{key} {level:g}").mean()) for s in sensors]
                axis.plot(inside, at, marker, ms=5, color=colours[number])
    axes[1].set_xscale("log")
    labels = (*errors.values(), *(f"{what} inside 50 (<), 80 (o), 90 % (>)" for what in shares.values()))
    for axis, label in zip(axes, labels, strict=True):
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_xlim(0, None)
    for axis in axes[2:]:
        axis.set_xlim(0.3, 1.02)
        for level in LEVELS:
            axis.axvspan(level - 0.05, level + 0.05, color="0.4", alpha=0.25, lw=0)
            axis.axvline(level, color="0.4", lw=1)
    axes[0].set_yticks([-y - 0.2 for y in range(len(sensors))], sensors)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = report_parser(__doc__)
    parser.add_argument("--scenarios", nargs="+", default=DEFAULT_SCENARIOS, choices=DEFAULT_SCENARIOS, metavar="NAME")
    parser.add_argument("--sensors", nargs="+", default=list(SENSORS), choices=list(SENSORS), metavar="NAME")
    parser.add_argument("--poses", type=int, default=30, help="per seed; equally many of every subject, rounded down")
    parser.add_argument("--endless", type=int, default=3, help="on so many poses per seed sensors get endless noise")
    parser.add_argument(
        "--reference", action="store_true",
        help="draw from the reference posterior (training/reference.py) instead: slow, some 20 s per pose and sensor",
    )  # fmt: skip
    parser.add_argument("--figure", type=Path, help="draw them here (.png)")
    args = parser.parse_args()
    data = load_mocap(args.data, args.split)
    if args.poses < len(data.people):
        parser.error(f"--poses must be at least {len(data.people)}, one of every subject, got {args.poses}")
    if NONE not in args.sensors:
        parser.error(f"--sensors must hold {NONE!r}, which the others are compared with")
    poses = args.poses // len(data.people) * len(data.people)
    prior = PosePrior.from_pretrained(args.prior)
    estimator = ReferenceEstimator(prior) if args.reference else PoseEstimator(prior, sampler=FUSED)
    started = time.perf_counter()
    scenarios = {
        name: [measure(estimator, data, SCENARIOS[name], args, seed) for seed in range(args.seeds)]
        for name in args.scenarios
    }
    minutes = (time.perf_counter() - started) / 60
    for name, results in scenarios.items():
        print(
            f"{name}: {poses} poses of {args.split} subjects x {args.seeds} seeds, "
            f"{args.hypotheses} hypotheses; mm\n\n{table(results)}\n"
        )
    if args.json:
        report = {
            "split": args.split, "poses": poses, "hypotheses": args.hypotheses, "sampler": asdict(FUSED),
            "prior_sha256": prior.sha256, "torch": torch.__version__, "minutes": minutes,
            "scenarios": {name: [asdict(r) for r in results] for name, results in scenarios.items()},
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.figure:
        draw(scenarios, args.figure)


if __name__ == "__main__":
    main()
