# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Draw the curves of a training run, or print its figures.

    python training/plot_log.py runs/prior/log.json --out training_curves.png
    python training/plot_log.py docs/figures/training_curves.png

The picture carries the log that it was drawn from, so the second command
prints the figures behind any picture made by the first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from PIL import Image

from diffpose_core.prior import DenoiserConfig

PREFIX = "rmse_mm@"
KEYWORD = "training log"
COLORS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#7f3b8f")
MARKERS = "osD^vP"
DPI = 110

Log = list[dict[str, float]]


def read_log(path: Path) -> Log:
    """Read a ``log.json``, or the log inside a picture drawn from one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no training log.
    """
    if not path.is_file():
        raise FileNotFoundError(f"training log not found: {path}")
    if path.suffix == ".png":
        with Image.open(path) as image:
            text = image.info.get(KEYWORD, "")
    else:
        text = path.read_text()
    try:
        log: Log = json.loads(text)
        usable = len(log) > 0 and all({"step", "loss"} <= entry.keys() for entry in log)
    except (AttributeError, TypeError, json.JSONDecodeError):
        usable = False
    if not usable:
        raise ValueError(f"{path} holds no training log")
    return log


def noise_levels(log: Log) -> list[str]:
    """Return the noise levels of the held-out errors, as they are written in the log."""
    return [key[len(PREFIX) :] for key in log[0] if key.startswith(PREFIX)]


def label(level: str, unit_m: float) -> str:
    """Name a noise level by sigma and by what it means in millimetres."""
    return f"σ = {level} ({1000 * unit_m * float(level):.0f} mm)"


def draw(log: Log, unit_m: float) -> Figure:
    """Draw the training loss, the held-out errors, and how far each is from its lowest value."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    loss_axes, error_axes, excess_axes = figure.subplots(1, 3)
    steps = [entry["step"] for entry in log]
    loss_axes.plot(steps, [entry["loss"] for entry in log], color="#3d3d3d", marker="o", markersize=4)
    loss_axes.set_title("Training loss")
    loss_axes.set_ylabel("weighted squared error, mean since the last point (no unit)")
    for level, color, marker in zip(noise_levels(log), COLORS, MARKERS, strict=False):
        errors = [entry[PREFIX + level] for entry in log]
        excess = [100 * (error / min(errors) - 1) for error in errors]
        style = {"color": color, "marker": marker, "markersize": 4, "label": label(level, unit_m)}
        error_axes.plot(steps, errors, **style)
        excess_axes.plot(steps, excess, **style)
        end = (steps[-1], errors[-1])
        offset = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        error_axes.annotate(f"{errors[-1]:.1f}", end, color=color, **offset)
    error_axes.set_yscale("log")
    error_axes.set_title("Held-out people: error of the denoised pose")
    error_axes.set_ylabel("root mean square error per coordinate (mm)")
    error_axes.set_ylim(bottom=0.85 * min(min(line.get_ydata()) for line in error_axes.lines))
    error_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    error_axes.yaxis.set_minor_locator(NullLocator())
    error_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    excess_axes.set_title("Held-out people: above the lowest value")
    excess_axes.set_ylabel("error above its lowest value (%)")
    excess_axes.set_ylim(bottom=0)
    for axes in (loss_axes, error_axes, excess_axes):
        axes.set_xlabel("optimiser steps")
        axes.set_xlim(left=0, right=1.12 * steps[-1] if axes is error_axes else None)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = error_axes.get_legend_handles_labels()
    title = "noise added to every coordinate"
    excess_axes.legend(handles[::-1], labels[::-1], title=title, frameon=False)
    return figure


def table(log: Log, unit_m: float) -> str:
    """Write the figures at the end of training, and where each was lowest, as Markdown."""
    last = log[-1]
    rows = ["| noise per coordinate | error at the end, mm | lowest, mm | at step |", "|---|---|---|---|"]
    for level in noise_levels(log):
        best = min(log, key=lambda entry: entry[PREFIX + level])
        end, low = last[PREFIX + level], best[PREFIX + level]
        rows.append(f"| {label(level, unit_m)} | {end:.2f} | {low:.2f} | {best['step']:.0f} |")
    spent = f", {last['elapsed_s'] / 60:.1f} min" if "elapsed_s" in last else ""
    return "\n".join([*rows, "", f"step {last['step']:.0f}, training loss {last['loss']:.4f}{spent}"])


def main() -> None:
    """Parse the command line, print the figures, draw the picture."""
    summary = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=summary)
    parser.add_argument("log", type=Path, help="log.json of a run, or a picture drawn from one")
    parser.add_argument("--out", type=Path, help="draw the curves into this .png")
    parser.add_argument("--unit-m", type=float, default=DenoiserConfig.unit_m, help="metres per unit of σ")
    args = parser.parse_args()
    try:
        log = read_log(args.log)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"plot_log.py: {error}")
    print(table(log, args.unit_m))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure = draw(log, args.unit_m)
        figure.savefig(args.out, format="png", dpi=DPI, metadata={KEYWORD: json.dumps(log)})
        print(f"wrote {args.out} ({args.out.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
