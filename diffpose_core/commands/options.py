# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Options that the commands share."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import torch

from diffpose_core.commands.pose_files import suffix_of
from diffpose_core.estimator import PoseEstimator
from diffpose_core.prior import PosePrior
from diffpose_core.sampler import SamplerConfig


def add_common(parser: argparse.ArgumentParser) -> None:
    """Declare --seed, --prior and --device."""
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes")
    parser.add_argument("--prior", type=Path, help="checkpoint; the packaged one by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def check(name: str, value: float, low: float, high: float) -> None:
    """Compare an option with its range, both ends included.

    Raises:
        ValueError: it lies outside or is not finite.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must lie in {low:g}..{high:,g}, got {value}")


def make_estimator(args: argparse.Namespace, sampler: SamplerConfig | None = None) -> PoseEstimator:
    """Return the estimator that the options ask for."""
    return PoseEstimator(PosePrior.from_pretrained(args.prior), args.device, sampler)


def make_generator(args: argparse.Namespace) -> torch.Generator:
    """Return a seeded generator on the device that the options ask for."""
    check("--seed", args.seed, 0, 2**63 - 1)
    return torch.Generator(args.device).manual_seed(args.seed)


def output(path: Path, among: Iterable[str]) -> str:
    """Return the suffix of a file to write; found out before any work is done.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the suffix is none of these.
    """
    suffix = suffix_of(path, among)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder not found: {path.parent}")
    return suffix


def check_kept(out: Path, source: Path) -> None:
    """Compare a file to write with one to read.

    Raises:
        ValueError: they are one, so that what was read would be lost.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"--out must be another file than the one that is read, got {out}")


def optional(module: str, extra: str, option: str) -> ModuleType:
    """Import a module of this package that needs an extra.

    Raises:
        ValueError: the extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{option} needs {error.name}: pip install 'diffpose-core[{extra}]'") from error


def viz_grid(picture: Path | None) -> ModuleType | None:
    """Return what draws, if a picture is asked for."""
    if picture is None:
        return None
    output(picture, (".png",))
    return optional("diffpose_core.viz_grid", "viz", "--picture")
