# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What is seen of a training run: the log on the screen and in a file, TensorBoard, a picture of generated poses."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from diffpose_core import H36M17, PosePrior
from diffpose_core.prior import Denoiser, karras_sigmas
from diffpose_core.prior.network import POSE_DIM
from diffpose_core.viz import COLORS

PICTURED = 8
"""Generated poses in the picture."""


def open_log(path: Path) -> logging.Logger:
    """Return a logger that prints and appends to a file."""
    log = logging.getLogger("train")
    log.setLevel(logging.INFO)
    log.handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(path, encoding="utf-8")]
    return log


def generated(model: Denoiser) -> Tensor:
    """Generate the poses of the picture, [PICTURED, 17, 3] metres, always from the same noise."""
    unused = torch.zeros(2, POSE_DIM, POSE_DIM)  # C(sigma) is known at the end of training, and steers only
    prior = PosePrior(model, karras_sigmas(2, 0.02, 8.0), unused)
    generator = torch.Generator(prior.device).manual_seed(4)
    return prior.sample(PICTURED, generator).cpu()


def draw_poses(joints: Tensor) -> np.ndarray:
    """Draw poses [N, 17, 3] as the camera sees them and, below, from its right: an image [H, W, 3] uint8."""
    figure = Figure(figsize=(1.5 * len(joints), 3.2), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(joints), squeeze=False)
    for row, across in zip(panels, (0, 2), strict=True):
        for axes, pose in zip(row, joints.numpy(), strict=True):
            for edge in H36M17.edges:
                sides = {H36M17.side(j) for j in edge} - {"center"}
                color = COLORS[sides.pop() if len(sides) == 1 else "center"]
                axes.plot(*pose[list(edge)][:, [across, 1]].T, color=color, lw=2, solid_capstyle="round")
            axes.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal")
            axes.set_axis_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class Board:
    """TensorBoard's files of a run; what a killed process wrote after ``step`` is not shown."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, entry: dict[str, float], learning_rate: float, poses_per_s: float, model: Denoiser) -> None:
        """Write one validation: an entry of the log, and poses that the model generates."""
        step = int(entry["step"])
        scalars = {
            "train/loss": entry["loss"], "train/gradient_norm": entry["gradient_norm"],
            "train/learning_rate": learning_rate, "train/poses_per_s": poses_per_s,
            "held_out/loss": entry["held_out_loss"],
        }  # fmt: skip
        scalars |= {f"held_out_rmse_mm/sigma_{k[8:]}": v for k, v in entry.items() if k.startswith("rmse_mm@")}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.add_image("generated_poses", draw_poses(generated(model)), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
