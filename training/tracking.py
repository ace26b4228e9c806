# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What earlier frames are worth on held-out people: jitter, lag, errors, coverage with them and without; ids that last.

    python training/tracking.py --data FILE --json docs/tracking.json --figure docs/figures/tracking.png

Every window of a recording is seen by one synthetic camera that stands still, or by two, keypoints with noise of their
own in every frame, and inferred as the nodes do it: 10 steps, the same seed for every frame. *Standing*: a window's
first pose, held. *Fast arm*: the windows with the fastest wrists. At 10 Hz the same windows, every third frame. Last,
what a short time budget costs a single frame.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from benchmark import report_parser
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from diffpose_core import H36M17, Camera, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.budget import MIN_HYPOTHESES, MIN_STEPS, Effort
from diffpose_core.data import SCENARIOS, MocapSet, SyntheticConfig, load_mocap, see_from, synthesize
from diffpose_core.data.synthetic import observe
from diffpose_core.likelihood import HeatmapLikelihood
from diffpose_core.metrics import covered, root_relative
from diffpose_core.sampler import FUSED
from diffpose_core.temporal import TemporalConfig, TemporalFilter
from diffpose_core.tracking import PersonTracker, TrackerConfig

DEFAULT_SCENARIOS = ("noise 2.5 %", "noise 0.5 %")
CAMERAS = (1, 2)
ANGLES_DEG = (60.0, 120.0)
"""Between which the second camera is turned about the person."""
STEPS = 10
KINDS = ("standing", "everyday", "fast arm")
RATES_HZ = (30, 10)
ID_RATES_HZ = (30, 10, 5)
EFFORTS = (Effort(STEPS, 50), Effort(7, 50), Effort(MIN_STEPS, 50), Effort(MIN_STEPS, MIN_HYPOTHESES))
RATE_HZ = 30
SETTLED_S = 0.2
"""Left out at the beginning of a window, where there is nothing before."""
GAP_S = 0.5
LEVELS = (0.5, 0.9)
NEAREST_M = 1.0
FASTEST_M_S = 15.0
"""Joints faster than this beside the pelvis are glitches of the recording."""
SAME_BOX = 0.7
"""People that overlap more are one person to a detector."""
WRISTS = [H36M17.index("LWrist"), H36M17.index("RWrist")]
SHIFTS = torch.arange(-1, 3.01, 0.05)
"""Lags tried, frames."""


@dataclass(frozen=True)
class Track:
    """One window, inferred frame by frame and with the frames before.

    Attributes:
        truth: [T, 17, 3] metres, optical frame.
        alone: [T, S, 17, 3] hypotheses of every frame by itself.
        carried: the same given the earlier frames.
    """

    truth: Float[Tensor, "T 17 3"]
    alone: Float[Tensor, "T S 17 3"]
    carried: Float[Tensor, "T S 17 3"]


def windows(data: MocapSet, frames: int) -> list[tuple[str, float, Float[Tensor, "T 17 3"]]]:
    """Cut recordings into windows; with the subject and the wrists' 90th percentile of speed beside the pelvis, m/s."""
    found = []
    for recording in data.recording.unique().tolist():
        joints = data.joints[data.recording == recording]
        for start in range(0, len(joints) - frames + 1, frames):
            window = joints[start : start + frames]
            speed = RATE_HZ * root_relative(window).diff(dim=0).norm(dim=-1)
            if speed.max() < FASTEST_M_S:
                found.append((data.recordings[recording].subject, float(speed[:, WRISTS].quantile(0.9)), window))
    return found


def choose(data: MocapSet, count: int, frames: int, generator: torch.Generator) -> dict[str, list[Tensor]]:
    """Return so many windows of each kind, of as many subjects as can be."""
    every = windows(data, frames)
    drawn = [every[i] for i in torch.randperm(len(every), generator=generator).tolist()]
    orders = {kind: drawn for kind in KINDS} | {"fast arm": sorted(every, key=lambda w: -w[1])}
    most = max(2, math.ceil(count / 3))
    chosen: dict[str, list[Tensor]] = {}
    for kind, order in orders.items():
        taken: dict[str, int] = {}
        chosen[kind] = []
        for subject, _, window in order:
            if len(chosen[kind]) < count and taken.get(subject, 0) < most:
                taken[subject] = taken.get(subject, 0) + 1
                chosen[kind].append(window[:1].expand_as(window) if kind == "standing" else window)
    return chosen


def place(
    window: Float[Tensor, "T 17 3"], config: SyntheticConfig, generator: torch.Generator
) -> tuple[Float[Tensor, "T 17 3"], Camera]:
    """Put a window before one still camera, nowhere nearer than :data:`NEAREST_M`."""
    while True:
        scene = synthesize(window[len(window) // 2, None], config, generator)
        pose = scene.camera_from_world[0]
        joints = window @ pose[:, :3].T + pose[:, 3]
        if joints[..., 2].min() > NEAREST_M:
            return joints, scene.camera


def second(
    truth: Float[Tensor, "T 17 3"], config: SyntheticConfig, generator: torch.Generator
) -> tuple[Camera, Float[Tensor, "3 4"]]:
    """Return a still camera at the person's side, and how it stands to the first one."""
    while True:
        angle_deg = ANGLES_DEG[0] + (ANGLES_DEG[1] - ANGLES_DEG[0]) * float(torch.rand(1, generator=generator))
        view = see_from(angle_deg, truth[len(truth) // 2, None], config, generator)
        if moved(truth, view.camera_from_reference)[..., 2].min() > NEAREST_M:
            return view.camera, view.camera_from_reference


def moved(joints: Float[Tensor, "T 17 3"], pose: Float[Tensor, "3 4"] | None) -> Float[Tensor, "T 17 3"]:
    """Return joints in another camera's frame."""
    return joints if pose is None else joints @ pose[:, :3].T + pose[:, 3]


def infer(
    estimator: PoseEstimator, truth: Float[Tensor, "T 17 3"], cameras: list[tuple[Camera, Tensor | None]],
    config: SyntheticConfig, hypotheses: int, generator: torch.Generator,
) -> Float[Tensor, "T S 17 3"]:  # fmt: skip
    """Return every frame's hypotheses by itself, of one or more cameras with their poses beside the first one."""
    seen = [(observe(moved(truth, pose), camera, config, generator)[0], camera, pose) for camera, pose in cameras]
    each = [
        estimator.infer(
            [HeatmapLikelihood(heatmaps.of([t]), camera, pose) for heatmaps, camera, pose in seen],
            hypotheses, torch.Generator().manual_seed(0),
        )
        for t in range(len(truth))
    ]  # fmt: skip
    return torch.cat([post.joints for post in each])


def carry(alone: Float[Tensor, "T S 17 3"], rate_hz: float) -> Float[Tensor, "T S 17 3"]:
    """Return the hypotheses given the earlier frames."""
    over_time = TemporalFilter()
    seen = torch.zeros(1, len(H36M17), dtype=torch.long)
    log_weights = torch.full((1, alone.shape[1]), -math.log(alone.shape[1]))
    frames = [PosePosterior(joints[None], log_weights, seen) for joints in alone]
    return torch.cat([over_time(post, [0], t / rate_hz).joints for t, post in enumerate(frames)])


def jitter(mean: Float[Tensor, "T 17 3"]) -> float:
    """Root mean square distance of joints from one frame to the next, mm."""
    return 1000 * float(mean.diff(dim=0).square().sum(-1).mean().sqrt())


def lag(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Shift of the truth, frames, that best explains the means [T, ...]: of all pairs of mean and truth together."""
    errors = torch.zeros(len(SHIFTS))
    for mean, truth in pairs:
        at = torch.arange(math.ceil(float(SHIFTS[-1])), len(truth) - math.ceil(-float(SHIFTS[0])))
        for i, shift in enumerate(SHIFTS):
            place = at - shift
            low = place.floor().long().clamp(0, len(truth) - 2)
            part = (place - low).reshape(-1, *[1] * (truth.ndim - 1))
            off = mean[at] - (truth[low] + part * (truth[low + 1] - truth[low]))
            errors[i] += (off - off.mean(0)).square().sum()  # what lasts is no lag
    return float(SHIFTS[errors.argmin()])


def figures(tracks: list[Track], rate_hz: int, how: str) -> dict[str, float]:
    """Jitter and errors in mm, lag of who moves in frames, shares in the intervals; without a window's beginning."""
    first = math.ceil(SETTLED_S * rate_hz)
    rows = []
    for track in tracks:
        samples, truth = getattr(track, how)[first:], track.truth[first:]
        mean, off = samples.mean(1), root_relative(samples.mean(1)) - root_relative(truth)
        row = {
            "jitter": jitter(mean),
            "jitter of the pose": jitter(root_relative(mean)),
            "MPJPE": 1000 * float(off.norm(dim=-1).mean()),
            "wrist error": 1000 * float(off[:, WRISTS].norm(dim=-1).mean()),
            "absolute error": 1000 * float((mean - truth).norm(dim=-1).mean()),
        }
        relative = root_relative(samples)[:, :, 1:], root_relative(truth)[:, 1:]
        whole = samples[:, :, :1], truth[:, :1]
        for name, (drawn, true) in {"": relative, "root ": whole}.items():
            for level in LEVELS:
                inside = covered(drawn.movedim(1, -1), true, level).float()
                row[f"{name}xy {level:g}"] = float(inside[..., :2].mean())
                row[f"{name}z {level:g}"] = float(inside[..., 2].mean())
        rows.append(row)
    means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    wrists = [
        (root_relative(getattr(t, how).mean(1))[first:, WRISTS], root_relative(t.truth)[first:, WRISTS]) for t in tracks
    ]
    return means | ({"lag": lag(wrists)} if wrists[0][1].diff(dim=0).any() else {})


def boxes(joints: Float[Tensor, "T 17 3"], camera: Camera, generator: torch.Generator) -> Float[Tensor, "T 4"]:
    """Boxes as a detector gives them: the joints' with a margin, every edge wrong by 1 % of the larger side."""
    pixels = camera.project(joints)
    low, high = pixels.amin(1), pixels.amax(1)
    side = (high - low).amax(-1, keepdim=True)
    edges = torch.cat([low - 0.08 * side, high + 0.08 * side], -1)
    return edges + 0.01 * side * torch.randn(edges.shape, generator=generator)


def overlap(a: Float[Tensor, "T 4"], b: Float[Tensor, "T 4"]) -> Float[Tensor, "T"]:
    """Intersection over union, frame by frame."""
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(-1)
    return common / ((a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - common)


def keeps_ids(both: Float[Tensor, "T 2 4"], rate_hz: int) -> tuple[int, int]:
    """Return whose ids of two people are the same after both were gone for :data:`GAP_S`, and how often ids changed."""
    tracker, step = PersonTracker(TrackerConfig(buffer_s=2 * GAP_S)), RATE_HZ // rate_hz
    middle = len(both) // 2
    gap = range(middle - int(GAP_S * RATE_HZ / 2), middle + int(GAP_S * RATE_HZ / 2))
    before: list[int] = []
    kept = changes = 0
    for t in range(0, len(both), step):
        seen = both[t] if t not in gap else both[t, :0]
        ids = list(tracker.update(seen, torch.full((len(seen),), 0.8), t / RATE_HZ).values())
        if t in gap:
            continue
        same = sum(a == b for a, b in zip(ids, before, strict=False))
        if before and t - step in gap:
            kept = same
        elif before:
            changes += 2 - same
        before = ids
    return kept, changes


def count_ids(data: MocapSet, pairs: int, frames: int) -> dict[str, dict[str, int]]:
    """Let two people walk before one camera, as often as asked; how many keep their ids."""
    told: dict[str, dict[str, int]] = {}
    for kind in ("standing", "everyday"):
        for rate_hz in ID_RATES_HZ:
            generator = torch.Generator().manual_seed(0)
            seen = kept = changes = 0
            while seen < pairs:
                two = choose(data, 2, frames, generator)[kind]
                camera = Camera.from_field_of_view(1280, 720, 60.0)
                each = [boxes(place(one, SyntheticConfig(), generator)[0], camera, generator) for one in two]
                if overlap(*each).max() < SAME_BOX:
                    same, other = keeps_ids(torch.stack(each, 1), rate_hz)
                    seen, kept, changes = seen + 1, kept + same, changes + other
            told[f"{kind}, {rate_hz} Hz"] = {"people": 2 * pairs, "kept": kept, "other changes": changes}
    return told


def reduce(estimator: PoseEstimator, data: MocapSet, poses: int) -> dict[str, dict[str, float]]:
    """Infer single frames with less and less effort; errors in mm and shares inside the intervals."""
    generator = torch.Generator().manual_seed(0)
    chosen = data.joints[torch.randperm(len(data), generator=generator)[:poses]]
    scenes = [synthesize(pose[None], SCENARIOS[DEFAULT_SCENARIOS[0]], generator) for pose in chosen]
    told = {}
    for effort in EFFORTS:
        rows = []
        for number, scene in enumerate(scenes):
            seed = torch.Generator().manual_seed(number)
            post = estimator.with_steps(effort.steps)(scene.heatmaps, scene.camera, effort.hypotheses, seed)
            samples, truth = root_relative(post.joints), root_relative(scene.joints)
            shares = [
                float(covered(samples[:, :, 1:].movedim(1, -1), truth[:, 1:], level).float().mean())
                for level in (0.5, 0.8)
            ]
            rows.append([1000 * float((samples.mean(1) - truth).norm(dim=-1).mean()), *shares])
        means = torch.tensor(rows).mean(0).tolist()
        names = ("MPJPE", "inside 0.5", "inside 0.8")
        told[f"{effort.steps} steps, {effort.hypotheses} hypotheses"] = dict(zip(names, means, strict=True))
    return told


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """One row per kind and rate: frame by frame and carried."""
    keys = ("jitter", "jitter of the pose", "lag", "wrist error", "MPJPE", "absolute error")
    shares = [f"{part}{axis}" for part in ("", "root ") for axis in ("xy", "z")]
    lines = ["| | " + " | ".join((*keys, *(f"{s} 50/90" for s in shares))) + " |", "|---" * 11 + "|"]
    for name, ways in results.items():
        a, c = ways["alone"], ways["carried"]
        cells = [f"{a[k]:.{1 + (k == 'lag')}f} → {c[k]:.{1 + (k == 'lag')}f}" if k in a else "" for k in keys]
        for share in shares:
            before, after = (" ".join(f"{100 * way[f'{share} {level:g}']:.0f}" for level in LEVELS) for way in (a, c))
            cells.append(f"{before} → {after}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(still: Track, fast: Track, path: Path) -> None:
    """Draw a wrist's place over time, of somebody standing and of a fast arm: truth, frame by frame, carried."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(13, 6.5), sharex=True)
    ways = {"frame by frame": ("alone", "tab:orange"), "carried": ("carried", "tab:blue")}
    for row, (name, track) in enumerate({"standing": still, "fast arm": fast}.items()):
        speed = track.truth.diff(dim=0).norm(dim=-1).mean(0)
        wrist = max(WRISTS, key=lambda j: float(speed[j]))
        at = torch.arange(len(track.truth)) / RATE_HZ
        for axis, (where, part) in zip(axes[row], {"across the view": 0, "distance": 2}.items(), strict=True):
            for label, (how, colour) in ways.items():
                values = getattr(track, how)[:, :, wrist, part]
                low, high = values.quantile(0.05, 1), values.quantile(0.95, 1)
                axis.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
                axis.plot(at, values.mean(1), color=colour, lw=1.4, label=label)
            axis.plot(at, track.truth[:, wrist, part], "k--", lw=1.2, label="truth")
            axis.set_title(f"{name}: wrist, {where}")
            axis.set_ylabel("m")
            axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("s")
    axes[0, 0].legend(frameon=False, ncols=3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def measure(
    prior: PosePrior, data: MocapSet, config: SyntheticConfig, count: int, settings: argparse.Namespace
) -> dict[str, list[Track]]:
    """Infer all windows of all seeds at the full rate, as so many cameras see them."""
    estimator = PoseEstimator(prior, sampler=replace(FUSED if count > 1 else SamplerConfig(), steps=STEPS))
    found: dict[str, list[Track]] = {kind: [] for kind in KINDS}
    for seed in range(settings.seeds):
        generator = torch.Generator().manual_seed(seed)
        chosen = choose(data, settings.windows, round(settings.seconds * RATE_HZ), generator)
        for kind, window in tqdm([(kind, w) for kind, each in chosen.items() for w in each], unit="window"):
            truth, camera = place(window, config, generator)
            cameras = [(camera, None), *(second(truth, config, generator) for _ in range(count - 1))]
            alone = infer(estimator, truth, cameras, config, settings.hypotheses, generator)
            found[kind].append(Track(truth, alone, carry(alone, RATE_HZ)))
    return found


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = report_parser(__doc__)
    parser.add_argument("--scenarios", nargs="+", default=DEFAULT_SCENARIOS, choices=list(SCENARIOS), metavar="NAME")
    parser.add_argument(
        "--cameras", nargs="+", type=int, default=CAMERAS, choices=CAMERAS, help="two: of the first scenario alone"
    )
    parser.add_argument("--windows", type=int, default=6, help="of every kind, per seed")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window")
    parser.add_argument("--pairs", type=int, default=50, help="of people whose ids are followed")
    parser.add_argument("--poses", type=int, default=150, help="single frames inferred with less effort")
    parser.add_argument("--figure", type=Path, help="draw a wrist over time here (.png)")
    args = parser.parse_args()
    if args.seconds < 1:
        parser.error(f"--seconds must be at least 1, got {args.seconds}")
    data = load_mocap(args.data, args.split)
    if not windows(data, round(args.seconds * RATE_HZ)):
        parser.error(f"{args.data}: no recording of split {args.split!r} lasts {args.seconds} s")
    prior = PosePrior.from_pretrained(args.prior)
    estimator = PoseEstimator(prior, sampler=SamplerConfig(steps=STEPS))
    started = time.perf_counter()
    scenarios: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    jobs = [(scenario, 1) for scenario in args.scenarios if 1 in args.cameras]
    jobs += [(args.scenarios[0], 2)] if 2 in args.cameras else []
    for number, (scenario, count) in enumerate(jobs):
        tracks = measure(prior, data, SCENARIOS[scenario], count, args)
        name = scenario if count == 1 else f"{scenario}, two cameras"
        scenarios[name] = {}
        for kind, each in tracks.items():
            for rate_hz in RATES_HZ:
                step = RATE_HZ // rate_hz
                seen = [Track(t.truth[::step], t.alone[::step], carry(t.alone[::step], rate_hz)) for t in each]
                scenarios[name][f"{kind}, {rate_hz} Hz"] = {
                    how: figures(seen, rate_hz, how) for how in ("alone", "carried")
                }
        if args.figure and number == 0:
            draw(tracks["standing"][0], tracks["fast arm"][0], args.figure)
        print(f"{name}: {args.windows} windows of {args.split} subjects x {args.seeds} seeds; mm, lag in frames\n")
        print(table(scenarios[name]) + "\n")
    ids = count_ids(data, args.pairs, round(args.seconds * RATE_HZ))
    print(f"| both gone for {GAP_S} s | people | ids kept | other changes of ids |\n|---|---|---|---|")
    for name, told in ids.items():
        print(f"| {name} | {told['people']} | {told['kept']} | {told['other changes']} |")
    efforts = reduce(estimator, data, args.poses)
    print("\n| a single frame | MPJPE | inside 50/80 |\n|---|---|---|")
    for name, row in efforts.items():
        print(f"| {name} | {row['MPJPE']:.1f} | {100 * row['inside 0.5']:.0f} {100 * row['inside 0.8']:.0f} |")
    minutes = (time.perf_counter() - started) / 60
    if args.json:
        report = {
            "split": args.split, "windows": args.windows, "seeds": args.seeds, "seconds": args.seconds,
            "hypotheses": args.hypotheses, "steps": STEPS, "temporal": asdict(TemporalConfig()),
            "prior_sha256": prior.sha256, "torch": torch.__version__, "minutes": minutes,
            "scenarios": scenarios, "ids": ids, "efforts": efforts,
        }  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
