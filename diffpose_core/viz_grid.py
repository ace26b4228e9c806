# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Grids of poses, each seen from the person's front and left: generated ones, real ones, completed ones.

Needs the ``viz`` extra (matplotlib). Every person is turned to face the reader and stands on a line, in one scale for
all: pictures of several sets can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke, withStroke
from torch import Tensor

from diffpose_core.observation import OBSERVED
from diffpose_core.posterior import PosePosterior
from diffpose_core.skeleton import H36M17, Skeleton
from diffpose_core.viz import COLORS, DPI, MAX_DRAWN, bone_color, legend

MAX_PERSONS = 12
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


def draw_poses(sets: Mapping[str, Float[Tensor, "n 17 3"]], path: str | Path | None = None, columns: int = 6) -> Figure:
    """Draw sets of poses side by side, each pose from the front and from its left.

    Args:
        sets: name of each set, and its poses, metres, optical frame (x right, y down, z forward).
        path: where to save the picture too, if given.
        columns: poses in a row of each set.
    """
    centred = {name: (poses - poses[:, :1]).cpu() for name, poses in sets.items()}
    turned = {name: poses @ facing(poses).mT for name, poses in centred.items()}
    box = _box(torch.cat(list(turned.values())))
    columns = min(columns, max(map(len, sets.values())))
    rows = max(math.ceil(len(poses) / columns) for poses in sets.values())
    figure = _figure(box, columns * len(sets), rows, 0.8)
    parts = figure.subfigures(1, len(sets), squeeze=False, wspace=0.06).flatten()
    for part, (name, poses) in zip(parts, turned.items(), strict=True):
        part.suptitle(name, fontsize=13)
        grid = part.subplots(rows, columns, squeeze=False).flatten()
        for axes, pose in zip(grid, poses, strict=False):
            _draw_cell(axes, pose[None], pose, box, [OBSERVED] * len(H36M17), H36M17)
        for axes in grid:
            axes.set_axis_off()
    figure.legend(handles=legend()[:2], loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    if path is not None:
        figure.savefig(path)
    return figure


def draw_completions(posterior: PosePosterior, path: str | Path | None = None) -> Figure:
    """Draw completed persons, each from the front and from its left: the mean and some hypotheses.

    Args:
        posterior: what was completed, optical frame; the first ``MAX_PERSONS`` are drawn.
        path: where to save the picture too, if given.
    """
    shown = min(MAX_PERSONS, len(posterior))
    mean = posterior.mean[:shown].detach().cpu()
    turn = facing(mean)
    best = posterior.log_weights[:shown].topk(min(MAX_DRAWN, posterior.joints.shape[1])).indices
    joints = posterior.joints[:shown].detach().cpu()[torch.arange(shown)[:, None], best.cpu()]
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
    _draw_view(axes, hypotheses, mean, status, skeleton)
    # From the left one looks along -x: what lies behind is to the right.
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    beside = torch.tensor([2 * half, 0.0, 0.0])
    _draw_view(axes, hypotheses @ turn.mT + beside, mean @ turn.mT + beside, status, skeleton)


def _draw_view(axes: Any, hypotheses: Tensor, mean: Tensor, status: list[int], skeleton: Skeleton) -> None:
    """Draw x and y of a person; what is nearer (z) hides what is behind."""
    edges = [list(edge) for edge in sorted(skeleton.edges, key=lambda edge: -float(mean[list(edge), 2].sum()))]
    colors = [bone_color(skeleton, (a, b)) for a, b in edges]
    if len(hypotheses) > 1:
        lines = [pose[edge, :2].numpy() for pose in hypotheses for edge in edges]
        axes.add_collection(
            LineCollection(lines, colors=colors * len(hypotheses), linewidths=0.7, alpha=0.25, zorder=1)
        )
    casing = [withStroke(linewidth=4.0, foreground="white")]
    for order, (edge, color) in enumerate(zip(edges, colors, strict=True)):
        seen = all(status[j] == OBSERVED for j in edge)
        axes.plot(
            *mean[edge, :2].T, color=color, lw=2.2, zorder=2 + order, path_effects=casing if seen else [Stroke()],
            ls="solid" if seen else (0, (1.6, 1)), solid_capstyle="round",
        )  # fmt: skip
    for j, name in enumerate(skeleton.joints):
        color = COLORS[skeleton.side(j)]
        face, size = color if status[j] == OBSERVED else "white", 6 if name == "HeadTop" else 3.2
        axes.plot(*mean[j, :2], "o", ms=size, mfc=face, mec=color, zorder=40)
