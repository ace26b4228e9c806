"""What each sensor is worth on held-out people: errors and coverage with it and without, and what evidence tells.

    python training/sensors.py --data mocap_free.safetensors --json docs/sensors.json --figure docs/figures/sensors.png

Every pose is seen by one synthetic camera (``noise 2.5 %`` of the benchmark) and by one sensor more; the sampler's
draws are the same for all sensors, so that the figures differ by what the sensor says alone. Errors of the pose are
root-relative. Every sensor is also given endless noise: then it must say nothing. ``evidence`` is how often
``log_evidence`` of observations that belong together is higher than of ones that contradict each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior
from diffpose_core.body import ANKLE_M
from diffpose_core.data import (
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

CONFIG = SyntheticConfig()
ANGLES_DEG = (60.0, 120.0)
"""Between which the second camera is turned about the person; the third one to the other side."""
DEPTH_SD = 0.02
LENGTH_SD = 0.01
GROUND_SD_M = 0.03
COARSER = 4
"""The depth image has so many times fewer pixels a side."""
WALL_M = 9.0
LEVELS = (0.5, 0.8, 0.9)
ENDLESS = 1e6
"""Factor on a sensor's noise that leaves nothing of it."""
LEGS = [H36M17.index(s + j) for j in ("Hip", "Knee", "Ankle") for s in "LR"]


@dataclass(frozen=True)
class Case:
    """One person, everything that is observed of it, and another person to take its place.

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
        other: [1, 17, 3] another person's joints with this one's root, first camera's optical frame.
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
    other: Float[Tensor, "1 17 3"]


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


def build_case(data: MocapSet, index: int, other: int, generator: torch.Generator) -> Case:
    """Observe pose ``index``, pose ``other`` being that of somebody else."""
    scene = synthesize(data.joints[index, None], CONFIG, generator)
    angle = ANGLES_DEG[0] + (ANGLES_DEG[1] - ANGLES_DEG[0]) * float(torch.rand(1, generator=generator))
    side = 1 if torch.rand(1, generator=generator) < 0.5 else -1
    views = tuple(see_from(a, scene.joints, CONFIG, generator) for a in (side * angle, -side * angle))
    depth_camera = coarser(scene.camera, COARSER)
    image = render_depth(scene.joints, depth_camera, WALL_M)
    earlier = data.joints[max(index - 1, 0)] if data.recording[max(index - 1, 0)] == data.recording[index] else None
    pose = scene.camera_from_world[0]
    before = scene.joints if earlier is None else (earlier @ pose[:, :3].T + pose[:, 3])[None]
    rate_hz = data.recordings[int(data.recording[index])].frame_rate_hz
    stranger = synthesize(data.joints[other, None], CONFIG, generator).joints
    return Case(
        scene, views,
        measure_depth(image, DepthNoise(DEPTH_SD), generator), depth_camera,
        noisy(scene.joints[..., 2], DEPTH_SD, generator),
        noisy(bone_lengths(scene.joints), LENGTH_SD, generator),
        noisy(body_height(scene.joints), LENGTH_SD, generator),
        observe(before, scene.camera, CONFIG, generator)[0], 1 / rate_hz,
        root_relative(stranger) + scene.joints[:, :1],
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


Sensor = Callable[[Case, float, PosePosterior], list[Likelihood]]
SENSORS: dict[str, Sensor] = {
    "no sensor": lambda case, factor, before: [],
    "second camera": lambda case, factor, before: [through(case.views[0], factor)],
    "third camera": lambda case, factor, before: [through(view, factor) for view in case.views],
    "depth at joints": lambda case, factor, before: [
        JointDepth(case.depth_at_joints_m, factor * DEPTH_SD * case.depth_at_joints_m)
    ],
    "depth image": lambda case, factor, before: [DepthImage(case.depth_m, case.depth_camera, 1, factor * DEPTH_SD)],
    "height": lambda case, factor, before: [KnownLengths.of_height(case.height_m, factor * LENGTH_SD * case.height_m)],
    "bone lengths": lambda case, factor, before: [
        KnownLengths.of_bones(case.lengths_m, factor * LENGTH_SD * case.lengths_m)
    ],
    "ground plane": lambda case, factor, before: [ground(case, factor)],
    "previous posterior": lambda case, factor, before: [PreviousPosterior(before, factor * case.elapsed_s)],
}
"""What is observed beside the first camera's heatmaps, with noise ``factor`` times what it is."""


def halves(case: Case, apart_m: float) -> Heatmaps:
    """The first camera's heatmaps, but of another person's legs, standing ``apart_m`` to the right."""
    joints = case.scene.joints.clone()
    joints[:, LEGS] = case.other[:, LEGS] + torch.tensor([apart_m, 0.0, 0.0])
    return observe(joints, case.scene.camera, CONFIG, torch.Generator().manual_seed(0))[0]


def swapped(case: Case) -> list[Likelihood]:
    """Return the two cameras with each other's place."""
    view = case.views[0]
    first = HeatmapLikelihood(case.scene.heatmaps, case.scene.camera, view.camera_from_reference)
    return [HeatmapLikelihood(view.heatmaps, view.camera), first]


def two_people(case: Case) -> list[Likelihood]:
    """Return the first camera's view of one person and the second one's of another at the same place."""
    view = case.views[0]
    pose = view.camera_from_reference
    joints = case.other @ pose[:, :3].T + pose[:, 3]
    heat = observe(joints, view.camera, CONFIG, torch.Generator().manual_seed(0))[0]
    return [
        HeatmapLikelihood(case.scene.heatmaps, case.scene.camera),
        HeatmapLikelihood(heat, view.camera, pose),
    ]


CONTRADICTIONS: dict[str, tuple[str, Callable[[Case], list[Likelihood]]]] = {
    "two people in two views": ("second camera", two_people),
    "cameras swapped": ("second camera", swapped),
    "legs of another person": ("no sensor", lambda case: [HeatmapLikelihood(halves(case, 0.0), case.scene.camera)]),
    "... half a metre aside": ("no sensor", lambda case: [HeatmapLikelihood(halves(case, 0.5), case.scene.camera)]),
}
"""Observations that contradict each other, and the sensor whose evidence they are compared with."""


def figures(post: PosePosterior, truth: Float[Tensor, "1 17 3"]) -> dict[str, float]:
    """Errors in mm, shares inside the intervals, nats."""
    samples, pose = root_relative(post.joints), root_relative(truth)
    root_error = post.mean[0, 0] - truth[0, 0]
    row = {
        "mean MPJPE": 1000 * float(mpjpe(samples.mean(1), pose)),
        "root depth error": 1000 * float(root_error[2].abs()),
        "root error": 1000 * float(root_error.norm()),
        "energy score": 1000 * float(pose_energy_score(samples, pose)),
    }
    inside = coverage(samples[:, :, 1:], pose[:, 1:], LEVELS)[0]
    for level, share in zip(LEVELS, inside, strict=True):
        of_root = covered(post.joints[0, :, 0].T, truth[0, 0], level).float()
        row |= {
            f"z {level:g}": float(share[2]), f"xy {level:g}": float(share[:2].mean()),
            f"root z {level:g}": float(of_root[2]), f"root xy {level:g}": float(of_root[:2].mean()),
        }  # fmt: skip
    return row | {"log evidence": float(post.log_evidence)}


def infer(estimator: PoseEstimator, likelihoods: list[Likelihood], hypotheses: int, seed: int) -> PosePosterior:
    """Infer with draws that depend on the seed alone."""
    return estimator.infer(likelihoods, hypotheses, torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Result:
    """What one seed gave.

    Attributes:
        figures: sensor -> figure -> mean over the poses.
        auc: contradiction -> area under the curve.
        endless: sensor -> largest distance of any joint of any hypothesis from the one without the sensor, mm.
    """

    figures: dict[str, dict[str, float]]
    auc: dict[str, float]
    endless: dict[str, float]


def draw_pairs(data: MocapSet, poses: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Draw equally many poses of every subject, each with a pose of somebody else."""
    people = data.subject.unique()
    pairs = []
    for person in people:
        own, others = (torch.nonzero(data.subject == person)[:, 0], torch.nonzero(data.subject != person)[:, 0])
        mine = own[torch.randperm(len(own), generator=generator)[: poses // len(people)]]
        theirs = others[torch.randint(len(others), (len(mine),), generator=generator)]
        pairs += list(zip(mine.tolist(), theirs.tolist(), strict=True))
    return pairs


def measure(estimator: PoseEstimator, data: MocapSet, settings: argparse.Namespace, seed: int) -> Result:
    """Measure all sensors on the poses and cameras of one seed."""
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in settings.sensors}
    evidence: dict[str, list[float]] = {name: [] for name in CONTRADICTIONS}
    endless = dict.fromkeys((name for name in settings.sensors if name != "no sensor"), 0.0)
    pairs = draw_pairs(data, settings.poses, generator)
    for number, (index, other) in enumerate(tqdm(pairs, unit="pose", desc=f"seed {seed}")):
        case = build_case(data, index, other, generator)
        draws = 1000 * seed + number
        first = HeatmapLikelihood(case.scene.heatmaps, case.scene.camera)
        before = infer(
            estimator, [HeatmapLikelihood(case.before, case.scene.camera)], settings.hypotheses, draws + 500_000
        )
        alone = infer(estimator, [first], settings.hypotheses, draws)
        for name in settings.sensors:
            post = infer(estimator, [first, *SENSORS[name](case, 1.0, before)], settings.hypotheses, draws)
            rows[name].append(figures(post, case.scene.joints))
        for name in endless if number < settings.endless else ():
            post = infer(estimator, [first, *SENSORS[name](case, ENDLESS, before)], settings.hypotheses, draws)
            endless[name] = max(endless[name], 1000 * float((post.joints - alone.joints).norm(dim=-1).max()))
        for name, (of, contradict) in CONTRADICTIONS.items():
            if of in rows:
                evidence[name].append(float(infer(estimator, contradict(case), 1, draws).log_evidence))
    means = {
        name: {k: float(torch.tensor([r[k] for r in each]).mean()) for k in each[0]} for name, each in rows.items()
    }
    auc = {
        name: roc_auc(torch.tensor([r["log evidence"] for r in rows[of]]), torch.tensor(evidence[name]))
        for name, (of, _) in CONTRADICTIONS.items()
        if of in rows
    }
    return Result(means, auc, endless)


def spread(values: list[float], decimals: int) -> str:
    """Return mean and standard deviation over the seeds."""
    tensor = torch.tensor(values)
    sd = float(tensor.std()) if len(values) > 1 else 0.0
    return f"{float(tensor.mean()):.{decimals}f} ± {sd:.{decimals}f}"


def table(results: list[Result]) -> str:
    """One row per sensor, means over the seeds and their standard deviations."""
    keys = list(results[0].figures["no sensor"])
    lines = ["| sensor beside one camera | " + " | ".join(keys) + " |", "|---" * (1 + len(keys)) + "|"]
    for name in results[0].figures:
        cells = [spread([r.figures[name][k] for r in results], 3 if k[-1].isdigit() else 1) for k in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument(
        "--split", default="test", choices=["validation", "test"], help="tune on validation, report on test"
    )
    parser.add_argument("--sensors", nargs="+", default=list(SENSORS), choices=list(SENSORS), metavar="NAME")
    parser.add_argument("--poses", type=int, default=60, help="per seed; equally many of every subject, rounded down")
    parser.add_argument("--endless", type=int, default=5, help="on so many poses per seed sensors get endless noise")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hypotheses", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--figure", type=Path, help="draw them here (.png)")
    args = parser.parse_args()
    data = load_mocap(args.data, args.split)
    estimator = PoseEstimator(PosePrior.from_pretrained(args.prior))
    results = [measure(estimator, data, args, seed) for seed in range(args.seeds)]
    print(table(results))
    for name in results[0].auc:
        print(name, spread([r.auc[name] for r in results], 3))
    print({name: max(r.endless[name] for r in results) for name in results[0].endless})


if __name__ == "__main__":
    main()
