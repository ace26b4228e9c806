# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Pictures of an evaluation. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from diffpose_core.evaluation.published import POSES, Published
from diffpose_core.evaluation.scores import Summary

DPI = 110
MARKERS = "sD^v<>PXph*d"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#6b6b6b"


def draw_best_of(summary: Summary, sizes: Sequence[int], published: Sequence[Published]) -> Figure:
    """Error against the number of hypotheses, with what others published as single points."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("MPJPE", "PA-MPJPE"), strict=True):
        there = [m for m in sizes if f"{name} best of {m}" in summary.figures]
        axis.plot(there, [summary.figures[f"{name} best of {m}"] for m in there], "o-", color=BLUE, label="diffpose")
        axis.axhline(summary.figures[f"{name} of the mean"], color=BLUE, ls=":", lw=1, label="diffpose, mean pose")
        marked = [(row, MARKERS[i % len(MARKERS)]) for i, row in enumerate(published) if name in row.figures]
        for row, marker in sorted(marked, key=lambda m: (m[0].hypotheses, m[0].figures[name])):
            axis.plot(
                row.hypotheses, row.figures[name], marker, color=ORANGE if row.learnt_from == POSES else GREY, ms=6,
                ls="", label=f"{row.method}; {row.input_2d}",
            )  # fmt: skip
        axis.set(xscale="log", xlabel="hypotheses", ylabel=f"{name}, mm", ylim=(0, None))
        ticks = sorted({*there, *(row.hypotheses for row, _ in marked)})
        axis.set_xticks(ticks, [str(m) for m in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        title = "orange: learnt from 3D poses alone" if any(r.learnt_from == POSES for r, _ in marked) else None
        axis.legend(
            title=title, title_fontsize=7, fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    return figure


def draw_calibration(summary: Summary) -> Figure:
    """Share of truths as near the median as a share of the hypotheses is."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=GREY, lw=1)
    axis.plot(summary.levels, summary.curve, "o-", ms=4, color=BLUE)
    axis.set(
        xlabel="share of the hypotheses", ylabel="share of the truths as near the median", xlim=(0, 1), ylim=(0, 1)
    )
    axis.set_title(f"ECE {summary.figures['ECE']:.3f}", fontsize=10)
    axis.grid(alpha=0.3)
    return figure


def draw_bars(groups: Mapping[str, tuple[float, float]]) -> Figure:
    """Errors (mm) of the mean pose and of the best hypothesis, by joint or action."""
    figure = Figure(figsize=(max(4.5, 1.8 + 0.5 * len(groups)), 4.2), layout="constrained")
    axis = figure.subplots()
    at = range(len(groups))
    for shift, label, color in ((-0.2, "mean pose", BLUE), (0.2, "best hypothesis", ORANGE)):
        values = [v[shift > 0] for v in groups.values()]
        axis.bar([x + shift for x in at], values, 0.38, color=color, label=label)
    axis.set_xticks(list(at), list(groups), rotation=60, ha="right", rotation_mode="anchor")
    axis.set_ylabel("error, mm")
    axis.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_all(folder: Path, summary: Summary, sizes: Sequence[int], published: Sequence[Published]) -> None:
    """Write the pictures that the report shows."""
    largest = max(m for m in sizes if f"MPJPE best of {m}" in summary.figures)
    joints = {j: (e, summary.best_joints[j]) for j, e in summary.mean_joints.items()}
    actions = {
        name or "not named": (figures["MPJPE of the mean"], figures[f"MPJPE best of {largest}"])
        for name, figures in summary.by_action.items()
    }
    for name, figure in (
        ("best_of", draw_best_of(summary, sizes, published)),
        ("calibration", draw_calibration(summary)),
        ("joints", draw_bars(joints)),
        ("actions", draw_bars(actions)),
    ):
        figure.savefig(folder / f"{name}.png", dpi=DPI)
