"""Grids of poses, each seen from the person's front and left: generated ones, real ones, completed ones.

Needs the ``viz`` extra (matplotlib). Every person is turned to face the reader and stands on a line, in one scale for
all: pictures of several sets can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from diffpose_core.observation import OBSERVED
from diffpose_core.posterior import PosePosterior
from diffpose_core.skeleton import H36M17, Skeleton
from diffpose_core.viz import COLORS, DPI, MAX_DRAWN, bone_color, legend

LEAST_HALF_M = 0.7
"""Least half width of a view."""


def facing(poses: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation about the vertical of the optical frame after which a person faces the camera."""
    right, left = ([H36M17.index(f"{side}{joint}") for joint in ("Hip", "Shoulder")] for side in "RL")
    across = (poses[..., left, :] - poses[..., right, :]).sum(-2)
    yaw = torch.atan2(across[..., 2], across[..., 0])
    cos, sin, zero = torch.cos(yaw), torch.sin(yaw), torch.zeros_like(yaw)
    rows = [cos, zero, sin, zero, torch.ones_like(yaw), zero, -sin, zero, cos]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def draw_poses(
    sets: Mapping[str, Float[Tensor, "n 17 3"]], path: str | Path | None = None, columns: int = 6, title: str = ""
) -> Figure:
    """Draw sets of poses side by side, each pose from the front and from its left.

    Args:
        sets: name of each set, and its poses, metres, optical frame (x right, y down, z forward).
        path: where to save the picture too, if given.
        columns: poses in a row of each set.
        title: of the figure.
    """
    centred = {name: (poses - poses[:, :1]).cpu() for name, poses in sets.items()}
    turned = {name: poses @ facing(poses).mT for name, poses in centred.items()}
    box = _box(torch.cat(list(turned.values())))
    columns = min(columns, max(map(len, sets.values())))
    rows = max(math.ceil(len(poses) / columns) for poses in sets.values())
    figure = _figure(box, columns * len(sets), rows, 0.8)
    for part, (name, poses) in zip(np.atleast_1d(figure.subfigures(1, len(sets))), turned.items(), strict=True):
        part.suptitle(name, fontsize=11)
        grid = part.subplots(rows, columns, squeeze=False).flatten()
        for axes, pose in zip(grid, poses, strict=False):
            _draw_cell(axes, pose[None], pose, box, [OBSERVED] * len(H36M17), H36M17)
        for axes in grid:
            axes.set_axis_off()
    figure.suptitle(title, fontsize=13)
    figure.legend(handles=legend()[:2], loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    if path is not None:
        figure.savefig(path)
    return figure


def draw_completions(posterior: PosePosterior, path: str | Path | None = None, most: int = 12) -> Figure:
    """Draw completed persons, each from the front and from its left: the mean and some hypotheses.

    Args:
        posterior: what was completed, optical frame.
        path: where to save the picture too, if given.
        most: persons drawn at most, the first ones.
    """
    shown = min(most, len(posterior))
    mean = posterior.mean[:shown].detach().cpu()
    turn = facing(mean)
    best = posterior.log_weights[:shown].topk(min(MAX_DRAWN, posterior.joints.shape[1])).indices.cpu()
    joints = torch.stack([person[i] for person, i in zip(posterior.joints.detach().cpu(), best, strict=False)])
    mean, joints = mean @ turn.mT, joints @ turn[:, None].mT
    joints, mean = joints - mean[:, None, :1], mean - mean[:, :1]
    usual = joints.quantile(torch.tensor([0.02, 0.98]), dim=1)  # the odd one that strays does not shrink the rest
    box = _box(torch.cat([mean, *usual]))
    columns = min(4, shown)
    figure = _figure(box, columns, math.ceil(shown / columns), 1.3)
    grid = figure.subplots(math.ceil(shown / columns), columns, squeeze=False).flatten()
    for p, axes in enumerate(grid):
        if p < shown:
            _draw_cell(axes, joints[p], mean[p], box, posterior.status[p].tolist(), posterior.skeleton)
            axes.set_title(f"person {p}", fontsize=10)
        axes.set_axis_off()
    of_all = f", the first {shown} of {len(posterior)} persons" if shown < len(posterior) else ""
    figure.suptitle(f"Mean and {joints.shape[1]} hypotheses, from the front and from the left{of_all}", fontsize=12)
    figure.legend(handles=legend("inferred", "known"), loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    if path is not None:
        figure.savefig(path)
    return figure


def _box(turned: Tensor) -> tuple[float, float, float]:
    """Half the width, the top and the bottom of a view that holds all poses about their pelvis: metres, y down."""
    margin = 0.1
    half = float(turned[..., [0, 2]].abs().amax()) + margin
    return max(LEAST_HALF_M, half), float(turned[..., 1].amin()) - margin, float(turned[..., 1].amax()) + margin


def _figure(box: tuple[float, float, float], columns: int, rows: int, inches_per_m: float) -> Figure:
    half, top, bottom = box
    wide, high = 4 * half * columns * inches_per_m, (bottom - top) * rows * inches_per_m
    return Figure(figsize=(max(wide, 6.4), high + 1.0), dpi=DPI, layout="constrained")


def _draw_cell(
    axes: Any, hypotheses: Tensor, mean: Tensor, box: tuple[float, float, float], status: list[int], skeleton: Skeleton
) -> None:
    """Draw a person who faces the reader, from the front and from the left, on a line through the lowest joint."""
    half, top, bottom = box
    axes.set(xlim=(-half, 3 * half), ylim=(bottom, top), aspect="equal")
    axes.plot([-0.9 * half, 2.9 * half], [float(mean[:, 1].amax())] * 2, color="#c8c8c8", lw=1, zorder=0)
    for view, (across, away) in enumerate(((0, 2), (2, 0))):
        nearness = -1.0 if away == 2 else 1.0  # the left view looks along -x
        edges = sorted(skeleton.edges, key=lambda edge: nearness * float(mean[list(edge), away].sum()))

        def flat(pose: Tensor, across: int = across, view: int = view) -> np.ndarray:
            return torch.stack([pose[:, across] + 2 * half * view, pose[:, 1]], -1).numpy()

        if len(hypotheses) > 1:
            lines = [flat(pose)[list(edge)] for pose in hypotheses for edge in edges]
            colors = [bone_color(skeleton, edge) for edge in edges] * len(hypotheses)
            axes.add_collection(LineCollection(lines, colors=colors, linewidths=0.7, alpha=0.25, zorder=1))
        points = flat(mean)
        for order, edge in enumerate(edges):
            seen = all(status[j] == OBSERVED for j in edge)
            axes.plot(
                *points[list(edge)].T, color="white", lw=4.0 if seen else 0, zorder=2 + order, solid_capstyle="butt"
            )
            axes.plot(
                *points[list(edge)].T, color=bone_color(skeleton, edge), lw=2.2, zorder=2.5 + order,
                ls="solid" if seen else (0, (1.6, 1)), solid_capstyle="round",
            )  # fmt: skip
        for j, point in enumerate(points):
            color = COLORS[skeleton.side(j)]
            axes.plot(*point, "o", ms=3.2, mfc=color if status[j] == OBSERVED else "white", mec=color, zorder=40)
        head = skeleton.index("HeadTop")
        face = COLORS["center"] if status[head] == OBSERVED else "white"
        axes.plot(*points[head], "o", ms=6, mfc=face, mec=COLORS["center"], zorder=41)
