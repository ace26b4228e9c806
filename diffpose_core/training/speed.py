# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How fast training is, beside the bare step that it is built around; ``performance.py --training`` prints it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from diffpose_core import H36M17
from diffpose_core.data.prepared import Description, Recording, write_prepared
from diffpose_core.prior import Denoiser
from diffpose_core.training.data import open_data
from diffpose_core.training.loop import make_accelerator
from diffpose_core.training.settings import MixtureConfig, Settings
from diffpose_core.training.trainer import Trainer, edm_loss

RECORDINGS, LENGTH = 400, 250
STEPS = 10
"""Steps of a round."""


def write_noise(path: Path) -> None:
    """Write a prepared file of as many poses as the packaged prior saw; what they look like does not matter here."""
    rng = np.random.default_rng(0)
    write_prepared(
        path,
        Description("noise", "free", "nobody"),
        (
            Recording(
                f"clip {i}", str(i % 20), "validation" if i % 20 == 0 else "train", 30.0, np.arange(LENGTH),
                rng.normal(size=(LENGTH, len(H36M17), 3)).astype(np.float32),
            )
            for i in range(RECORDINGS)
        ),
    )  # fmt: skip


def bare_step(trainer: Trainer, settings: Settings) -> Callable[[], object]:
    """Return forward, loss, backward and optimiser step on one batch that never changes, and nothing else."""
    device, batch = trainer.accelerator.device, trainer.batch(0)
    model = Denoiser(settings.denoiser).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    low = settings.train.precision == "bfloat16"

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            denoised = model(batch.noisy, batch.sigma)
        optimizer.zero_grad(set_to_none=True)
        edm_loss(denoised, batch, settings.denoiser.sigma_data).backward()
        optimizer.step()

    return step


def training_speed(device: str, rounds: int) -> dict[str, Any]:
    """Measure the default settings in turns, so that whatever else the machine does meets all alike.

    Returns:
        Poses per second of training and of the bare step, medians of the rounds; the part that training reaches of the
        bare step, median of the rounds' own; milliseconds of the parts of a step; the load of the machine before.
    """
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        data = Path(folder) / "noise.safetensors"
        write_noise(data)
        settings = Settings(mixture=MixtureConfig(data=(data,)))
        poses, _ = open_data(settings.mixture)
        accelerator = make_accelerator(settings.train.precision, device)
        trainer = Trainer(settings, poses, accelerator)
        batch = trainer.batch(0)
        parts: dict[str, Callable[[], object]] = {
            "training": lambda: trainer.step(1),
            "bare": bare_step(trainer, settings),
            "draw": lambda: trainer.batch(1),
            "update": lambda: trainer.update(batch),
            "average": lambda: trainer.average(1),
        }

        def taken_ms(part: Callable[[], object]) -> float:
            started = time.perf_counter()
            for _ in range(STEPS):
                part()
            if accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            return 1000 * (time.perf_counter() - started) / STEPS

        for part in parts.values():
            taken_ms(part)
        each = {name: np.zeros(rounds) for name in parts}
        for i in range(rounds):
            for name, part in parts.items():
                each[name][i] = taken_ms(part)
    median = {name: float(np.median(values)) for name, values in each.items()}
    return {
        "batch": settings.train.batch,
        "load_before": load,
        "training_poses_per_s": 1000 * settings.train.batch / median["training"],
        "bare_poses_per_s": 1000 * settings.train.batch / median["bare"],
        "part_of_bare": float(np.median(each["bare"] / each["training"])),
        "ms": median,
    }
