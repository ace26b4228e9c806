# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The poses of a training run: which files, what is drawn of them, what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import NamedTuple

import torch
from torch import Tensor

from diffpose_core.data import PoseMixture, augment
from diffpose_core.data.prepared import open_prepared
from diffpose_core.prior import Denoiser
from diffpose_core.training.settings import CLIPS_OF_HELD_OUT_PEOPLE, MixtureConfig, Settings

NAMES = 500
"""Characters of subjects' names that are shown."""


class Batch(NamedTuple):
    """Clean poses [N, 51], their noise levels [N] and noisy poses [N, 51], in units of the scaled pose."""

    x0: Tensor
    sigma: Tensor
    noisy: Tensor


def open_data(config: MixtureConfig, verify: bool = True) -> tuple[PoseMixture, PoseMixture]:
    """Map the files; return the training poses and the validation poses.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is unusable or holds no training poses, none holds validation poses, a subject is in both,
            or no file holds an excluded recording.
    """
    if not config.data:
        raise ValueError("data must name at least one prepared file (training/prepare.py makes them)")
    files = [open_prepared(path, verify) for path in config.data]
    for file in files:
        people = [{r.subject for r in file.of_split(split)} for split in ("train", "validation")]
        shared = [name for name in file.subjects if name in people[0] & people[1]]
        if shared:
            raise ValueError(f"{file.path}: subjects {shared} are in split 'train' and in split 'validation'")
    training = PoseMixture(files, "train", config.weights, config.subject_temper, config.exclude_recordings)
    known = {*CLIPS_OF_HELD_OUT_PEOPLE, *(r.name for file in files for r in file.recordings)}
    if unknown := [name for name in config.exclude_recordings if name not in known]:
        raise ValueError(f"exclude_recordings names {unknown}, which no file holds: {', '.join(map(str, config.data))}")
    held = [
        (f, s) for f, s in zip(files, training.shares, strict=True) if any(r.length for r in f.of_split("validation"))
    ]
    if not held:
        raise ValueError(f"{', '.join(str(f.path) for f in files)}: split 'validation' holds no poses")
    return training, PoseMixture([f for f, _ in held], "validation", [s for _, s in held], config.subject_temper)


def describe(training: PoseMixture, validation: PoseMixture, settings: Settings) -> str:
    """Say what is trained, on how much."""
    lines = [
        f"{name}: {len(poses):,} poses of {len(poses.people)} subjects: {shorten(' '.join(poses.people), NAMES)}"
        for name, poses in (("train", training), ("validation", validation))
    ]
    lines.append(f"held-out error over {len(validation.sample(settings.mixture.validation_poses)):,} of them")
    share: dict[str, float] = {}
    for recording, probability in zip(training.recordings, training.probability.tolist(), strict=True):
        source = recording.source or "unnamed"
        share[source] = share.get(source, 0.0) + probability
    parts = zip(training.files, training.shares, strict=True)
    lines.append("drawn by file: " + ", ".join(f"{f.path.name} {100 * s:.1f} %" for f, s in parts))
    lines.append("drawn by source: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in sorted(share.items())))
    parameters = sum(p.numel() for p in Denoiser(settings.denoiser).parameters())
    return "\n".join([*lines, f"network: {parameters:,} parameters"])


def draw_batch(poses: PoseMixture, settings: Settings, step: int, shards: Sequence[int], device: torch.device) -> Batch:
    """Draw shards of a step's batch: each depends on seed, step and its number alone."""
    config, unit_m = settings.train, settings.denoiser.unit_m
    parts = []
    for shard in shards:
        # torch takes 32 bits of it on a CPU: counting on from a place of the seed's own, no two shards are alike.
        seed = (0x9E3779B1 * config.seed + step * (config.batch // config.shard) + shard) % 2**32
        generator = torch.Generator().manual_seed(seed)
        world = poses.draw(config.shard, generator).to(device)
        if device.type != "cpu":
            generator = torch.Generator(device).manual_seed(seed)
        x0 = augment(world, settings.augment, generator).flatten(1) / unit_m
        normal = torch.randn(config.shard, generator=generator, device=device)
        sigma = torch.exp(normal * config.log_sigma_sd + config.log_sigma_mean)
        noise = torch.randn(x0.shape, generator=generator, device=device)
        parts.append((x0, sigma, x0 + sigma[:, None] * noise))
    return Batch(*(torch.cat(p) for p in zip(*parts, strict=True)))
