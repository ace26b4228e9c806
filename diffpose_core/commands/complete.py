# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Completes partly known 3D poses: hypotheses for the joints that are not known, with their uncertainty.

    diffpose complete seen.json --out completed.json --picture completed.png
    python -m diffpose_core complete seen.csv --out completed.npz --hypotheses 200

Formats of the files: docs/commands.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.commands.options import (
    add_common,
    check,
    check_kept,
    make_estimator,
    make_generator,
    output,
    viz_grid,
)
from diffpose_core.commands.pose_files import SUFFIXES, read_poses, replace_bytes
from diffpose_core.commands.results import result_bytes
from diffpose_core.estimator import PoseEstimator
from diffpose_core.posterior import PosePosterior
from diffpose_core.sampler import COMPLETING

CAMERA_FROM_FILE = {
    "camera": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "y-up": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "z-up": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
}
"""Rotations of right-handed frames into the optical one (x right, y down, z forward); x is kept."""
AT_ONCE = 4000
"""Hypotheses drawn together, which bounds memory."""
MAX_HYPOTHESES = 500_000
"""Of all persons."""


def complete(
    estimator: PoseEstimator, joints: Float[Tensor, "P 17 3"], std_m: float, hypotheses: int,
    generator: torch.Generator, root_relative: bool = False,
) -> PosePosterior:  # fmt: skip
    """Complete persons, no more at once than memory bears.

    Args:
        estimator: what completes.
        joints: metres, axes of a level camera (x right, y down, z forward), NaN where not known.
        std_m: standard deviation of the known joints.
        hypotheses: per person.
        generator: on the estimator's device.
        root_relative: whether positions, given and returned, are relative to the person's pelvis.

    Returns:
        The posterior, on the CPU.
    """
    known = torch.isfinite(joints).all(-1)
    size = max(1, AT_ONCE // hypotheses)
    parts = [
        estimator.complete(
            joints[i : i + size], known[i : i + size], std_m, hypotheses, generator, root_relative=root_relative
        ).to("cpu")
        for i in range(0, len(joints), size)
    ]
    return PosePosterior.concatenate(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("poses", type=Path, help="partly known poses: .json, .csv or .npz")
    parser.add_argument("--out", type=Path, required=True, help="hypotheses, mean, covariance: .json, .csv or .npz")
    parser.add_argument("--picture", type=Path, help="of the first persons, .png")
    parser.add_argument("--std", type=float, default=0.01, help="standard deviation of the known joints, m")
    parser.add_argument("--hypotheses", type=int, default=50, help="per person")
    parser.add_argument("--axes", choices=list(CAMERA_FROM_FILE), default="camera", help="of both files")
    parser.add_argument("--root-relative", action="store_true", help="positions are relative to the pelvis")
    add_common(parser)


def run(args: argparse.Namespace) -> None:
    """Complete a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file or an option makes no sense.
    """
    suffix = output(args.out, SUFFIXES)
    check_kept(args.out, args.poses)
    check("--hypotheses", args.hypotheses, 1, 10_000)
    check("--std", args.std, 1e-4, 1.0)
    draw = viz_grid(args.picture)
    joints, turn = read_poses(args.poses), torch.tensor(CAMERA_FROM_FILE[args.axes])
    if len(joints) * args.hypotheses > MAX_HYPOTHESES:
        raise ValueError(f"{len(joints):,} persons times {args.hypotheses:,} --hypotheses exceed {MAX_HYPOTHESES:,}")
    estimator = make_estimator(args, COMPLETING)
    posterior = complete(
        estimator, joints @ turn.mT, args.std, args.hypotheses, make_generator(args), args.root_relative
    )
    made = {
        "axes": args.axes, "root_relative": args.root_relative, "std_m": args.std, "seed": args.seed,
        "prior_sha256": estimator.prior.sha256,
    }  # fmt: skip
    back = torch.cat([turn.mT, torch.zeros(3, 1)], 1)
    replace_bytes(args.out, result_bytes(posterior.transformed(back), made, suffix))
    if draw:
        draw.draw_completions(posterior, args.picture)
    known = int(torch.isfinite(joints[..., 0]).sum())
    print(f"{len(joints)} persons, {known} joints known, {17 * len(joints) - known} completed: {args.out}")
