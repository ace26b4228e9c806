# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Generates 3D poses from the prior: any, or those that meet conditions.

    diffpose generate --count 24 --picture poses.png
    diffpose generate --count 1000 --out poses.npz
    diffpose generate --above LWrist:HeadTop --above RWrist:HeadTop --picture hands_up.png --out hands_up.glb
    python -m diffpose_core generate --know legs.json --out sitting.json

Formats of the files: docs/commands.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
    optional,
    output,
    viz_grid,
)
from diffpose_core.commands.pose_files import SUFFIXES, pose_bytes, read_poses, replace_bytes
from diffpose_core.estimator import PoseEstimator
from diffpose_core.likelihood import KnownJoints, Likelihood, LinearConstraint
from diffpose_core.sampler import SamplerConfig
from diffpose_core.skeleton import H36M17

AT_ONCE = 4000
"""Poses drawn together, which bounds memory."""
SOFT_M = 0.01
"""Of the bounds of --above."""
UNDER_CONDITIONS = SamplerConfig(repeats=3)
"""Nearer to the exact distribution than one visit of each noise level, for three times the time."""
MAX_DRAWN = 48
MAX_SCENE = 1000
"""Poses in a scene."""


def generate(
    estimator: PoseEstimator, count: int, generator: torch.Generator, conditions: Sequence[Likelihood] = ()
) -> Float[Tensor, "n 17 3"]:
    """Draw poses that meet conditions: root-relative, metres, camera axes, on the CPU."""
    sizes = [min(AT_ONCE, count - i) for i in range(0, count, AT_ONCE)]
    return torch.cat([estimator.generate(n, conditions, generator).cpu() for n in sizes])


def joint_above(text: str, margin_m: float) -> tuple[str, str, LinearConstraint]:
    """Read UPPER:LOWER.

    Raises:
        ValueError: it is not two different joints.
    """
    upper, _, lower = text.partition(":")
    try:
        return upper, lower, LinearConstraint.above(upper, lower, margin_m, SOFT_M)
    except ValueError as error:
        raise ValueError(f"--above takes two joints, UPPER:LOWER, got {text!r}: {error}") from error


def share_above(poses: Float[Tensor, "n 17 3"], upper: str, lower: str, margin_m: float) -> float:
    """Return the share of poses in which a joint lies above another by a margin."""
    height = poses[:, H36M17.index(lower), 1] - poses[:, H36M17.index(upper), 1]
    return float((height >= margin_m).float().mean())


def read_known(path: Path, std_m: float) -> KnownJoints:
    """Read the joints of one person, relative to the pelvis.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as :func:`read_poses`, or several persons.
    """
    joints = read_poses(path)
    if len(joints) != 1:
        raise ValueError(f"{path}: one person is needed, got {len(joints)}")
    pelvis = joints[:, :1]
    if torch.isfinite(pelvis).all() and pelvis.abs().amax() > std_m:
        raise ValueError(f"{path}: Pelvis must lie at 0, positions are relative to it, got {pelvis.flatten().tolist()}")
    return KnownJoints(joints, torch.isfinite(joints).all(-1), std_m, root_relative=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--count", type=int, default=24, help="poses")
    parser.add_argument("--out", type=Path, help="poses: .json, .csv, .npz, or a scene: .glb")
    parser.add_argument("--picture", type=Path, help="of the first poses, .png")
    parser.add_argument("--above", metavar="UPPER:LOWER", action="append", default=[], help="a joint above another")
    parser.add_argument("--margin", type=float, default=0.0, help="of --above: by so many metres or more")
    parser.add_argument("--know", type=Path, help="some joints of one person, pelvis at 0: .json, .csv or .npz")
    parser.add_argument("--std", type=float, default=0.02, help="standard deviation of the joints of --know, m")
    add_common(parser)


def run(args: argparse.Namespace) -> None:
    """Generate, write, draw.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file or an option makes no sense.
    """
    if args.out is None and args.picture is None:
        raise ValueError("--out or --picture must be given")
    suffix = output(args.out, (*SUFFIXES, ".glb")) if args.out else ""
    if args.out and args.know:
        check_kept(args.out, args.know)
    check("--count", args.count, 1, MAX_SCENE if suffix == ".glb" else 100_000)
    check("--margin", args.margin, 0, 1)
    check("--std", args.std, 1e-4, 1.0)
    draw = viz_grid(args.picture)
    scene = optional("diffpose_core.commands.scene", "export", "--out .glb") if suffix == ".glb" else None
    above = [joint_above(text, args.margin) for text in args.above]
    conditions: list[Likelihood] = [condition for _, _, condition in above]
    if args.know:
        conditions.append(read_known(args.know, args.std))
    poses = generate(make_estimator(args, UNDER_CONDITIONS), args.count, make_generator(args), conditions)
    if args.out:
        replace_bytes(args.out, scene.glb_bytes(poses) if scene else pose_bytes(poses, suffix))
    if draw:
        shown = "" if args.count <= MAX_DRAWN else f"{MAX_DRAWN} of "
        title = f"{shown}{args.count:,} generated poses, from the front and from the left"
        draw.draw_poses({title: poses[:MAX_DRAWN]}, args.picture)
    print(f"{args.count} poses: {', '.join(str(path) for path in (args.out, args.picture) if path)}")
    for upper, lower, _ in above:
        print(f"{upper} above {lower}: {share_above(poses, upper, lower, args.margin):.1%}")
