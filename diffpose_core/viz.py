# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a result: the photograph with what was seen and inferred, and the hypotheses in metres.

Needs the ``viz`` extra (matplotlib). Figures are made through matplotlib's
object interface, so neither a display nor global state is involved. The
person's left is blue and the right orange in every picture; what the camera
did not see is dashed or hollow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Stroke, withStroke
from matplotlib.ticker import MultipleLocator
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.heatmap import Heatmaps
from diffpose_core.observation import MISSING, OBSERVED, VISIBLE
from diffpose_core.posterior import PosePosterior
from diffpose_core.skeleton import Skeleton

COLORS = {"left": "#0072b2", "right": "#d55e00", "center": "#3d3d3d"}
MAX_DRAWN = 20
"""Hypotheses drawn per person, those of greatest weight."""

NEAR_M = 0.1
"""Bones nearer to the camera than this are not drawn on the photograph."""

DPI = 110


def draw_overlay(
    image_bgr: np.ndarray,  # [H, W, 3] uint8
    boxes: Tensor | np.ndarray,  # [P, 4] px
    keypoints: Tensor | np.ndarray,  # [P, J, 2] px
    visibility: Tensor | np.ndarray,  # [P, J]
    heatmaps: Heatmaps,
    posterior: PosePosterior,
    camera: Camera,
    path: str | Path | None = None,
) -> Figure:
    """Draw what the detector saw beside what was inferred from it, both on the photograph.

    Args:
        image_bgr: [H, W, 3] uint8, blue green red.
        boxes: [P, 4] px, x_min, y_min, x_max, y_max.
        keypoints: [P, J, 2] px, in the order of ``heatmaps.skeleton``.
        visibility: [P, J] in 0..1.
        heatmaps: of the same P persons; contours at one and two standard deviations.
        posterior: of the same P persons.
        camera: that took the photograph.
        path: where to save the picture too, if given.

    Raises:
        ValueError: the image is not [H, W, 3] uint8, or the arguments differ in their number of persons.
    """
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8:
        raise ValueError(f"image_bgr must be uint8 [H, W, 3], got {image_bgr.dtype} {image_bgr.shape}")
    boxes, keypoints, visibility = (
        torch.as_tensor(v, dtype=torch.float32).cpu() for v in (boxes, keypoints, visibility)
    )
    counts = [len(v) for v in (boxes, keypoints, visibility, heatmaps, posterior)]
    if len(set(counts)) != 1:
        raise ValueError(f"boxes, keypoints, visibility, heatmaps, posterior have {counts} persons; want equal")
    height, width = image_bgr.shape[:2]
    left, top, right, bottom = _crop(boxes, width, height)
    wide = right - left > 1.3 * (bottom - top)
    rows, columns = (2, 1) if wide else (1, 2)
    panel_w = 9.0 if wide else 6.5
    panel_h = panel_w * (bottom - top) / (right - left)
    figure = Figure(figsize=(columns * panel_w, rows * (panel_h + 0.35) + 0.5), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns)
    pale = (image_bgr[..., ::-1] * 0.6 + 255 * 0.4).astype(np.uint8)
    for axes in panels:
        axes.imshow(pale, interpolation="bilinear")
        axes.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5))
        axes.set_axis_off()
    _draw_detections(panels[0], boxes, keypoints, visibility, heatmaps)
    _draw_reprojection(panels[1], boxes, posterior, camera)
    panels[0].set_title("Seen: keypoints and heatmaps (1σ, 2σ)", fontsize=11)
    shown = min(MAX_DRAWN, posterior.joints.shape[1])
    panels[1].set_title(f"Inferred: mean and {shown} hypotheses, reprojected", fontsize=11)
    figure.legend(handles=legend("not seen"), loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    if path is not None:
        figure.savefig(path)
    return figure


def draw_hypotheses_3d(
    posterior: PosePosterior,
    path: str | Path | None = None,
    title: str | None = None,
    ellipsoid_joints: Sequence[str] = ("HeadTop", "LWrist", "RWrist", "LAnkle", "RAnkle"),
) -> Figure:
    """Draw all persons in one scene in metres, from behind the camera and from its right.

    Args:
        posterior: P persons; those of whom nothing is known are left out.
        path: where to save the picture too, if given.
        title: of the figure.
        ellipsoid_joints: joints whose covariance is drawn, at two standard deviations.
    """
    known = [p for p in range(len(posterior)) if (posterior.status[p] != MISSING).any()]
    joints = _upright(posterior.joints.detach().cpu())
    mean = _upright(posterior.mean.detach().cpu())
    turn = _upright(torch.eye(3)).numpy()
    covariance = turn.T @ posterior.covariance.detach().cpu().double().numpy() @ turn
    skeleton = posterior.skeleton
    low, high = _limits(joints[known], mean[known])
    figure = Figure(figsize=(14, 6.8), dpi=DPI)
    figure.subplots_adjust(left=0.01, right=0.98, top=0.93, bottom=0.06, wspace=0.02)
    views = (("From the camera", 4, -90), ("From the right and above", 28, -42))
    for i, (name, elevation, azimuth) in enumerate(views):
        axes: Any = figure.add_subplot(1, 2, i + 1, projection="3d", computed_zorder=False)
        axes.view_init(elev=elevation, azim=azimuth)
        axes.set_proj_type("ortho")
        axes.set_box_aspect(high - low, zoom=_zoom(high - low, elevation, azimuth))
        _dress(axes, low, high, front=azimuth == -90)
        for p in known:
            status = posterior.status[p].tolist()
            best = posterior.log_weights[p].topk(min(MAX_DRAWN, joints.shape[1])).indices.tolist()
            drawn = joints[p, best].numpy()
            colors = [bone_color(skeleton, edge) for edge in skeleton.edges]
            lines = [pose[list(edge)] for pose in drawn for edge in skeleton.edges]
            axes.add_collection3d(
                Line3DCollection(lines, colors=colors * len(drawn), linewidths=0.7, alpha=0.22, zorder=2)
            )
            for joint in ellipsoid_joints:
                j = skeleton.index(joint)
                surface = _ellipsoid(mean[p, j].numpy(), covariance[p, j])
                color = COLORS[skeleton.side(j)]
                axes.plot_surface(*surface, color=color, alpha=0.1, linewidth=0, shade=False, zorder=3)
            _draw_skeleton_3d(axes, mean[p].numpy(), status, skeleton)
            top = mean[p, :, 2].argmax()
            label = (mean[p, top] + torch.tensor([0.0, 0.0, 0.18])).tolist()
            axes.text(*label, str(p), ha="center", va="center", fontsize=10, fontweight="bold", zorder=9)
        figure.text(0.26 + 0.48 * i, 0.93, name, ha="center", fontsize=11)
    shown = min(MAX_DRAWN, joints.shape[1])
    figure.suptitle(title or f"Mean, {shown} hypotheses per person, and 2σ ellipsoids", fontsize=13, y=0.985)
    figure.legend(handles=legend(), loc="lower center", ncols=4, frameon=False, fontsize=10)
    if path is not None:
        figure.savefig(path)
    return figure


def bone_color(skeleton: Skeleton, edge: tuple[int, int]) -> str:
    """Return the color of the side that a bone is on."""
    sides = {skeleton.side(j) for j in edge} - {"center"}
    return COLORS[sides.pop()] if len(sides) == 1 else COLORS["center"]


def legend(unseen: str = "inferred", seen: str = "seen") -> list[Line2D]:
    """Return the entries of left, right, and of joints that were seen and that were not."""
    grey = COLORS["center"]
    return [
        Line2D([], [], color=COLORS["left"], lw=3, label="person's left"),
        Line2D([], [], color=COLORS["right"], lw=3, label="person's right"),
        Line2D([], [], color=grey, marker="o", lw=2, label=seen),
        Line2D([], [], color=grey, marker="o", mfc="white", lw=2, ls=(0, (2, 1.2)), label=unseen),
    ]


def _crop(boxes: Tensor, width: int, height: int) -> tuple[float, float, float, float]:
    """Part of the photograph to show: the persons and a margin; all of it when there are none."""
    if not len(boxes):
        return 0.0, 0.0, float(width), float(height)
    low, high = boxes[:, :2].amin(0), boxes[:, 2:].amax(0)
    margin = 0.12 * float((high - low).max())
    left, top = (max(0.0, float(v) - margin) for v in low)
    right, bottom = (min(float(s), float(v) + margin) for s, v in zip((width, height), high, strict=True))
    return (left, top, right, bottom) if right - left > 8 and bottom - top > 8 else (0.0, 0.0, width, height)


def _draw_detections(axes: Any, boxes: Tensor, keypoints: Tensor, visibility: Tensor, heatmaps: Heatmaps) -> None:
    skeleton = heatmaps.skeleton
    for p in range(len(boxes)):
        (x, y), size = boxes[p, :2].tolist(), (boxes[p, 2:] - boxes[p, :2]).tolist()
        axes.add_patch(Rectangle((x, y), *size, fill=False, ec="white", lw=1.4, alpha=0.9))
    columns, rows, relative = _heatmap_grids(heatmaps)
    for p in range(len(boxes)):
        for j in range(len(skeleton)):
            if visibility[p, j] < 0.05:
                continue
            seen = bool(visibility[p, j] >= VISIBLE)
            color = COLORS[skeleton.side(j)]
            axes.contour(
                columns[p, j], rows[p, j], relative[p, j], levels=[-2.0, -0.5], colors=color,
                linewidths=[0.7, 1.3], linestyles="solid" if seen else "dashed", alpha=0.9 if seen else 0.5,
            )  # fmt: skip
            face, edge = (color, "white") if seen else ("white", color)
            axes.plot(*keypoints[p, j].tolist(), "o", ms=4.5, mfc=face, mec=edge, mew=0.8)


def _heatmap_grids(heatmaps: Heatmaps, cells: int = 61) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grids over the modes: columns and rows [P, J, n] px, log density less that of the peak [P, J, n, n]."""
    keep = (heatmaps.weights > 0.05)[..., None]
    means, variances = heatmaps.means, heatmaps.covariances.diagonal(dim1=-2, dim2=-1)
    low = (means - 3 * variances.sqrt()).masked_fill(~keep, torch.inf).amin(2)
    high = (means + 3 * variances.sqrt()).masked_fill(~keep, -torch.inf).amax(2)
    part = torch.linspace(0, 1, cells, device=means.device)
    xs, ys = (low[..., a, None] + part * (high - low)[..., a, None] for a in range(2))  # [P, J, n]
    persons, joints = heatmaps.visibility.shape
    grid = torch.stack(torch.broadcast_tensors(xs[:, :, None, :], ys[:, :, :, None]), -1)
    if persons == 0:
        return xs.numpy(), ys.numpy(), grid[..., 0].numpy()
    values = heatmaps.log_density(grid.reshape(persons, joints, -1, 2).transpose(1, 2)).transpose(1, 2)
    relative = (values - values.amax(-1, keepdim=True)).reshape(persons, joints, cells, cells)
    return xs.cpu().numpy(), ys.cpu().numpy(), relative.detach().cpu().numpy()


def _draw_reprojection(axes: Any, boxes: Tensor, posterior: PosePosterior, camera: Camera) -> None:
    skeleton = posterior.skeleton
    edges = [list(edge) for edge in skeleton.edges]
    colors = [bone_color(skeleton, edge) for edge in skeleton.edges]
    for p in range(len(posterior)):
        if (posterior.status[p] == MISSING).all():
            continue
        best = posterior.log_weights[p].topk(min(MAX_DRAWN, posterior.joints.shape[1])).indices
        lines, line_colors = [], []
        for pose in posterior.joints[p, best].detach().cpu():
            pixels = camera.project(pose).numpy()
            for edge, color in zip(edges, colors, strict=True):
                if pose[edge, 2].min() > NEAR_M:
                    lines.append(pixels[edge])
                    line_colors.append(color)
        axes.add_collection(LineCollection(lines, colors=line_colors, linewidths=0.8, alpha=0.35, zorder=2))
        mean = posterior.mean[p].detach().cpu()
        pixels, status = camera.project(mean).numpy(), posterior.status[p].tolist()
        casing = [withStroke(linewidth=4.2, foreground="white")]
        for edge, color in zip(edges, colors, strict=True):
            if mean[edge, 2].min() <= NEAR_M:
                continue
            seen = all(status[j] == OBSERVED for j in edge)
            axes.plot(
                *pixels[edge].T, color=color, lw=2.4, zorder=4, path_effects=casing if seen else [Stroke()],
                ls="solid" if seen else (0, (2, 1.2)), solid_capstyle="round",
            )  # fmt: skip
        for j in range(len(skeleton)):
            color, seen = COLORS[skeleton.side(j)], status[j] == OBSERVED
            axes.plot(
                *pixels[j],
                "o",
                ms=4.5,
                mfc=color if seen else "white",
                mec="white" if seen else color,
                zorder=5,
            )
        axes.text(
            float(boxes[p, [0, 2]].mean().clamp(12, camera.width - 12)), float(boxes[p, 1]) - 8, str(p),
            ha="center", va="bottom", fontsize=10, fontweight="bold",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip


def _upright(points: Tensor) -> Tensor:
    """Optical frame (x right, y down, z forward) to axes for drawing (x right, y forward, z up)."""
    return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def _limits(joints: Tensor, mean: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the scene: all mean poses and most hypotheses, however far the odd one strays.

    The lower corner lies on the floor that is drawn.
    """
    if not len(mean):
        return np.array([-1.0, 0.0, -1.0]), np.array([1.0, 2.0, 1.0])
    flat = mean.reshape(-1, 3)
    spread = torch.quantile(joints.flatten(1, 2), torch.tensor([0.02, 0.98]), dim=1)  # [2, P, 3]
    low = torch.minimum(flat.amin(0) - 0.1, spread[0].amin(0))
    high = torch.maximum(flat.amax(0) + 0.1, spread[1].amax(0))
    low[2] = torch.minimum(low[2], flat[:, 2].min() - 0.08)
    short = (1.2 - (high - low)).clamp_min(0) / 2
    short[2] = 0
    return (low - short).numpy(), (high + short).numpy()


def _zoom(size: np.ndarray, elevation: float, azimuth: float) -> float:
    """Zoom at which a box of this size fills a square panel up to the labels."""
    e, a = np.radians(elevation), np.radians(azimuth)
    across = np.abs([np.sin(a), np.cos(a), 0]) @ size
    upward = np.abs([np.cos(a) * np.sin(e), np.sin(a) * np.sin(e), np.cos(e)]) @ size
    return float(0.85 * np.linalg.norm(size) / max(across, 1.1 * upward))


def _dress(axes: Any, low: np.ndarray, high: np.ndarray, front: bool) -> None:
    """Metres on the axes, and a floor in place of the panes; from the front no depth."""
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set(xlabel="right (m)", ylabel="" if front else "depth (m)", zlabel="up (m)")
    axes.grid(False)
    step = 0.5 if (high - low).max() < 6 else 2.0
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.line.set_color("#999999")
        axis.set_major_locator(MultipleLocator(step))
    axes.tick_params(labelsize=9)
    axes.zaxis.labelpad = 8
    if front:
        axes.set_yticks([])
    for a in (0, 1):
        b = 1 - a
        for at in np.arange(np.ceil(low[a] / step), high[a] / step) * step:
            line = np.full((2, 3), low[2])
            line[:, a], line[:, b] = at, (low[b], high[b])
            axes.plot(*line.T, color="#d0d0d0", lw=0.6, zorder=1)


def _draw_skeleton_3d(axes: Any, mean: np.ndarray, status: list[int], skeleton: Skeleton) -> None:
    for edge in skeleton.edges:
        seen = all(status[j] == OBSERVED for j in edge)
        axes.plot(
            *mean[list(edge)].T, color=bone_color(skeleton, edge), lw=2.6, zorder=5,
            ls="solid" if seen else (0, (1.6, 1)), solid_capstyle="round",
        )  # fmt: skip
    for j in range(len(skeleton)):
        color = COLORS[skeleton.side(j)]
        face = color if status[j] == OBSERVED else "white"
        axes.plot(*mean[j][:, None], "o", ms=4, mfc=face, mec=color, zorder=6)


def _ellipsoid(centre: np.ndarray, covariance: np.ndarray, sigmas: float = 2.0) -> np.ndarray:
    """Surface of an ellipsoid, [3, n, m]."""
    values, vectors = np.linalg.eigh(covariance)
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    ball = np.stack([np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)])
    half = sigmas * np.sqrt(np.clip(values, 0, None))
    return centre[:, None, None] + np.einsum("ab,bnm->anm", vectors * half, ball)
