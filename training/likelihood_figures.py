# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Draw what each likelihood does to one person: hypotheses without it grey, with it blue, the truth dashed.

    python training/likelihood_figures.py --out docs/figures/likelihoods

The person is drawn from the prior, so no data set is needed, and the observations are made without errors: the pictures
show what an observation says, not how good it is (training/sensors.py measures that). The figures above each
picture are of its hypotheses: root mean square distance to the truth, and standard deviation, centimetres.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from torch import Tensor

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.body import ANKLE_M
from diffpose_core.data import render_depth
from diffpose_core.likelihood import (
    DepthImage,
    GroundPlane,
    HeatmapLikelihood,
    HiddenJoints,
    JointDepth,
    KnownJoints,
    KnownLengths,
    Likelihood,
    LinearConstraint,
    PreviousPosterior,
)
from diffpose_core.metrics import bone_lengths
from diffpose_core.sampler import COMPLETING, FUSED

WITHOUT, WITH, TRUTH, OBSERVATION = "#9a9a9a", "#0072b2", "#000000", "#d55e00"
HYPOTHESES = 50
SEED = 4
"""Of the prior: a person who faces the camera, arms raised."""
ROOT_M = (0.0, 0.0, 3.0)
CAMERA = Camera.from_field_of_view(640, 480, 60.0)
SIGMA_PX = 6.0
DPI = 80
COLOURS = 48
"""Of the palette: a picture stays small."""
J = H36M17.index
ARMS = [J(side + joint) for side in "LR" for joint in ("Elbow", "Wrist")]
WRISTS = [J("LWrist"), J("RWrist")]
ENDS = [J(joint) for joint in ("Pelvis", "LWrist", "RWrist", "LAnkle", "RAnkle")]

Axis = tuple[int, float, str]
"""Coordinate, sign, label."""
RIGHT, UP, AWAY = (0, 1.0, "right (m)"), (1, -1.0, "up (m)"), (2, 1.0, "away from the camera (m)")
LEFT = (0, -1.0, "left (m)")


class View(NamedTuple):
    """A panel: what its axes show and from where to where."""

    horizontal: Axis
    vertical: Axis
    from_to: tuple[float, float]
    low_high: tuple[float, float]


FRONT, SIDE = View(RIGHT, UP, (-1.1, 1.1), (-1.1, 1.1)), View(AWAY, UP, (1.9, 4.1), (-1.1, 1.1))
TOP = View(AWAY, LEFT, (1.9, 4.1), (-1.1, 1.1))
SIDE_AND_CAMERA = View(AWAY, UP, (-0.2, 3.9), (-1.1, 1.1))
TOP_AND_CAMERAS = View(AWAY, LEFT, (-0.2, 3.9), (-3.2, 0.9))

Draw = Callable[[Any, View], None]
"""Draws the observation into a panel."""


@dataclass(frozen=True)
class Picture:
    """One observation and how to show it.

    Attributes:
        title: of the picture.
        before: observations without it; empty for none, which is the prior at the person's place.
        added: the observation.
        draw: draws it.
        views: of the two panels.
        joints: of which the figures above the picture are.
        of: their name there.
        share: of what hypotheses [S, 17, 3] obey, and its name: shown in place of the standard deviation.
        sampler: settings of both runs, the default ones unless given.
    """

    title: str
    before: list[Likelihood]
    added: list[Likelihood]
    draw: Draw
    views: tuple[View, View] = (FRONT, SIDE)
    joints: tuple[int, ...] = tuple(range(17))
    of: str = "all joints"
    share: tuple[str, Callable[[Tensor], Tensor]] | None = None
    sampler: SamplerConfig | None = None


def turned(degrees: float) -> Float[Tensor, "3 4"]:
    """Return [R | t] to a camera that looks at the person from another side, as far away as the first."""
    a = math.radians(degrees)
    rotation = torch.tensor([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    where = torch.tensor(ROOT_M)
    return torch.cat([rotation, (where - rotation @ where)[:, None]], 1)


def heatmaps(person: Tensor, pose: Tensor | None = None, unseen: tuple[int, ...] = ()) -> HeatmapLikelihood:
    """Return the person as a camera sees it, some joints unseen."""
    points = person if pose is None else person @ pose[:, :3].T + pose[:, 3]
    visibility = torch.ones(1, 17)
    visibility[0, list(unseen)] = 0
    covariance = SIGMA_PX**2 * torch.eye(2).expand(1, 17, 2, 2)
    return HeatmapLikelihood(
        Heatmaps.from_keypoints(CAMERA.project(points), covariance, visibility, H36M17), CAMERA, pose
    )


def at(points: Tensor, view: View) -> Any:
    """Coordinates [..., 2] in a panel."""
    return torch.stack([sign * points[..., axis] for axis, sign, _ in view[:2]], -1).numpy()


def dots(points: Float[Tensor, "n 3"], size: float = 26.0) -> Draw:
    """Draw points."""
    return lambda axes, view: axes.scatter(*at(points, view).T, s=size, color=OBSERVATION, zorder=6, linewidths=0)


def segments(lines: Float[Tensor, "n 2 3"], **style: Any) -> Draw:
    """Draw segments."""
    style = {"linewidths": 1.0, "zorder": 5} | style
    return lambda axes, view: axes.add_collection(LineCollection(at(lines, view), colors=OBSERVATION, **style))


def together(*parts: Draw) -> Draw:
    """Draw several things."""

    def draw(axes: Any, view: View) -> None:
        for part in parts:
            part(axes, view)

    return draw


def rays(person: Float[Tensor, "17 3"], pose: Tensor | None = None) -> Draw:
    """Draw a camera and its rays through joints, a little beyond them."""
    centre = torch.zeros(3) if pose is None else -pose[:, :3].T @ pose[:, 3]
    beyond = centre + 1.25 * (person - centre)
    lines = segments(torch.stack([centre.expand(len(person), 3), beyond], 1), linewidths=0.6, alpha=0.6)
    return together(lines, dots(centre[None], 70.0))


def only(which: View, draw: Draw) -> Draw:
    """Draw in one kind of panel."""
    return lambda axes, view: draw(axes, view) if view is which else None


def pictures(prior: PosePrior, person: Float[Tensor, "1 17 3"]) -> dict[str, Picture]:
    """Return all pictures by name."""
    one, joints = heatmaps(person), person[0]
    estimator = PoseEstimator(prior)
    known = torch.zeros(1, 17, dtype=torch.bool)
    known[0, ENDS] = True
    measured = torch.full((1, 17), torch.nan)
    measured[0, ENDS] = joints[ENDS, 2]
    coarse = replace(CAMERA, fx=CAMERA.fx / 4, fy=CAMERA.fy / 4, cx=79.5, cy=59.5, width=160, height=120)
    image = render_depth(person, coarse, 5.0)
    height_m = float(bone_lengths(person)[0] @ KnownLengths.of_height(torch.ones(1)).weights[0]) + ANKLE_M
    feet_m = float(joints[:, 1].max()) + ANKLE_M
    arms = heatmaps(person, unseen=tuple(ARMS))
    left = (J("LElbow"), J("LWrist"))
    pillar = (int(CAMERA.project(joints)[left, 0].min()) - 12, int(CAMERA.project(joints)[left, 0].max()) + 12)
    mask = torch.zeros(CAMERA.height, CAMERA.width, dtype=torch.bool)
    mask[:, pillar[0] : pillar[1]] = True
    hidden = torch.zeros(1, 17, dtype=torch.bool)
    hidden[0, left] = True
    before = estimator.infer([one], HYPOTHESES, torch.Generator().manual_seed(1))
    return {
        "heatmaps": Picture(
            "2D heatmaps of one camera: sure across the view, less so along it", [], [one], rays(joints),
            (FRONT, SIDE_AND_CAMERA),
        ),
        "second_camera": Picture(
            "A second camera, turned by 90 degrees: depth too", [one], [heatmaps(person, turned(90.0))],
            together(rays(joints), rays(joints, turned(90.0))), (TOP_AND_CAMERAS, SIDE), sampler=FUSED,
        ),
        "known_joints": Picture(
            "Known joints: pelvis, wrists, ankles; the rest is completed", [], [KnownJoints(person, known, 0.01)],
            dots(joints[ENDS]), sampler=COMPLETING,
        ),
        "known_height": Picture(
            "Known height of the body, beside one camera: how far away", [one],
            [KnownLengths.of_height(torch.tensor([height_m]))],
            segments(torch.tensor([[[0.75, feet_m, 2.3], [0.75, feet_m - height_m, 2.3]]]), linewidths=3.0),
            joints=(J("Pelvis"),), of="pelvis",
        ),
        "joint_depth": Picture(
            "Measured depth of five joints, beside one camera", [one], [JointDepth(measured, 0.03)],
            together(dots(joints[ENDS]), only(SIDE, depth_lines(joints[ENDS, 2]))), sampler=FUSED,
        ),
        "depth_image": Picture(
            "An aligned depth image, beside one camera", [one], [DepthImage(image, coarse, 1)],
            cloud(image, coarse), sampler=FUSED,
        ),
        "linear_constraint": Picture(
            "Both wrists above the thorax; arms not seen", [arms],
            [LinearConstraint.above(wrist, "Thorax") for wrist in ("LWrist", "RWrist")],
            level(float(joints[J("Thorax"), 1])), joints=tuple(ARMS), of="elbows and wrists",
            share=("wrists above the thorax", lambda x: x[:, WRISTS, 1] < x[:, J("Thorax"), None, 1]),
        ),
        "ground_plane": Picture(
            "The ground, 3 cm sure, beside one camera", [one], [GroundPlane.below_camera(feet_m, 1)], level(feet_m),
            joints=(J("Pelvis"),), of="pelvis",
        ),
        "previous": Picture(
            "The posterior of 0.1 s ago; now the arms are not seen", [arms], [PreviousPosterior(before, 0.1)],
            poses(before), joints=tuple(ARMS), of="elbows and wrists",
        ),
        "hidden": Picture(
            "The left forearm is hidden by a pillar (in front view drawn 3 m away)", [heatmaps(person, unseen=left)],
            [HiddenJoints(hidden, CAMERA, mask, missed=0.01)], wedge(pillar), (FRONT, TOP), left,
            "left elbow and wrist", ("behind the pillar", lambda x: behind(x[:, left], pillar)),
        ),
    }  # fmt: skip


def depth_lines(depth_m: Tensor) -> Draw:
    """Draw depths, across the side view."""

    def draw(axes: Any, view: View) -> None:
        for z in depth_m.tolist():
            axes.axvline(z, color=OBSERVATION, lw=1.0, zorder=1)

    return draw


def level(y_m: float) -> Draw:
    """Draw a horizontal plane."""
    return lambda axes, view: axes.axhline(-y_m, color=OBSERVATION, lw=2.5, zorder=1)


def cloud(image: Tensor, camera: Camera) -> Draw:
    """Draw the points that a depth image measures before the wall."""
    v, u = torch.nonzero(image < 4.9, as_tuple=True)
    pick = torch.arange(0, len(u), 2)
    pixels, depth = torch.stack([u, v], -1)[pick].float(), image[v, u][pick]
    points = torch.cat([camera.unproject(pixels), torch.ones(len(pick), 1)], -1) * depth[:, None]
    return dots(points, 3.0)


def poses(post: PosePosterior) -> Draw:
    """Draw hypotheses."""
    lines = torch.stack([post.joints[0][:, list(edge)] for edge in H36M17.edges], 1).flatten(0, 1)
    return segments(lines, linewidths=0.8, alpha=0.6, zorder=2.5)


def wedge(columns_px: tuple[int, int]) -> Draw:
    """Draw what lies behind a mask between two columns, from a metre before the camera."""
    edges = CAMERA.unproject(torch.tensor([[float(c), CAMERA.cy] for c in columns_px]))[:, 0].tolist()

    corners = torch.tensor([[x * z, 0.0, z] for z, side in ((1.0, 1), (5.0, -1)) for x in edges[::side]])

    def draw(axes: Any, view: View) -> None:
        if view is FRONT:
            axes.axvspan(*(ROOT_M[2] * x for x in edges), color=OBSERVATION, alpha=0.3, lw=0, zorder=1)
        else:
            axes.fill(*at(corners, view).T, color=OBSERVATION, alpha=0.3, lw=0, zorder=1)

    return draw


def behind(joints: Float[Tensor, "S n 3"], columns_px: tuple[int, int]) -> Bool[Tensor, "S n"]:
    """Whether joints are seen between two columns."""
    column = CAMERA.project(joints)[..., 0]
    return (column >= columns_px[0]) & (column < columns_px[1])


def figures_cm(post: Float[Tensor, "S 17 3"], truth: Float[Tensor, "17 3"], picture: Picture) -> tuple[float, float]:
    """Root mean square distance to the truth and standard deviation of the joints that count, cm."""
    joints = list(picture.joints)
    error = (post - truth)[:, joints].square().sum(-1).mean().sqrt()
    spread = (post - post.mean(0))[:, joints].square().sum(-1).mean().sqrt()
    return 100 * float(error), 100 * float(spread)


def infer(estimator: PoseEstimator, likelihoods: list[Likelihood]) -> Float[Tensor, "S 17 3"]:
    """Draw hypotheses; of no observation, poses of the prior where the person is."""
    generator = torch.Generator().manual_seed(0)
    if not likelihoods:
        return estimator.generate(HYPOTHESES, generator=generator) + torch.tensor(ROOT_M)
    return estimator.infer(likelihoods, HYPOTHESES, generator).joints[0]


def skeletons(axes: Any, joints: Float[Tensor, "S 17 3"], view: View, **style: Any) -> None:
    """Draw poses into a panel."""
    lines = torch.stack([joints[:, list(edge)] for edge in H36M17.edges], 1).flatten(0, 1)
    axes.add_collection(LineCollection(at(lines, view), **style))


def draw(picture: Picture, without: Tensor, with_it: Tensor, truth: Float[Tensor, "17 3"], path: Path) -> None:
    """Draw both results in two panels and save them with few colours."""
    shapes = [(v.from_to[1] - v.from_to[0]) / (v.low_high[1] - v.low_high[0]) for v in picture.views]
    figure = Figure(figsize=(8.8, 1.2 + 7.6 / sum(shapes)), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=shapes)
    for axes, view in zip(panels, picture.views, strict=True):
        picture.draw(axes, view)
        skeletons(axes, without, view, colors=WITHOUT, linewidths=0.7, alpha=0.45, zorder=2)
        skeletons(axes, with_it, view, colors=WITH, linewidths=0.7, alpha=0.5, zorder=3)
        skeletons(axes, truth[None], view, colors=TRUTH, linewidths=1.5, linestyles=(0, (2.5, 1.2)), zorder=4)
        axes.set(xlim=view.from_to, ylim=view.low_high, aspect="equal")
        axes.set(xlabel=view.horizontal[2], ylabel=view.vertical[2])
        axes.spines[["top", "right"]].set_visible(False)
    (e0, s0), (e1, s1) = (figures_cm(each, truth, picture) for each in (without, with_it))
    line = f"{picture.of}: error {e0:.0f} → {e1:.0f} cm, "
    if picture.share is None:
        line += f"standard deviation {s0:.0f} → {s1:.0f} cm"
    else:
        name, obeyed = picture.share
        shares = [100 * float(obeyed(each).float().mean()) for each in (without, with_it)]
        line += f"{name} in {shares[0]:.0f} → {shares[1]:.0f} %"
    figure.suptitle(f"{picture.title}\n{line}", fontsize=12)
    handles = [
        Line2D([], [], color=WITHOUT, lw=2, label="without"),
        Line2D([], [], color=WITH, lw=2, label="with"),
        Line2D([], [], color=TRUTH, lw=1.5, ls=(0, (2.5, 1.2)), label="truth"),
        Line2D([], [], color=OBSERVATION, lw=3, label="observation"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path.name}: {line}")


def main() -> None:
    """Parse the command line, infer, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    args = parser.parse_args()
    prior = PosePrior.from_pretrained(args.prior)
    person = prior.sample(1, torch.Generator().manual_seed(SEED)) + torch.tensor(ROOT_M)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(prior, person).items():
        estimator = PoseEstimator(prior, sampler=picture.sampler)
        without, with_it = (infer(estimator, each) for each in (picture.before, picture.before + picture.added))
        draw(picture, without, with_it, person[0], args.out / f"{name}.png")


if __name__ == "__main__":
    main()
