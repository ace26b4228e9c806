# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The model of a training run: its loss, its steps, its figures on held-out people."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from torch import Tensor

from diffpose_core.data import PoseMixture, augment
from diffpose_core.prior import Denoiser
from diffpose_core.training.data import Batch, draw_batch
from diffpose_core.training.settings import Settings, TrainConfig

VALIDATION_SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
CHUNK = 8192
"""Poses that are validated at once."""


def edm_loss(denoised: Tensor, batch: Batch, sigma_data: float) -> Tensor:
    """Squared error weighted by noise level, mean over poses and coordinates but the root's."""
    weight = (batch.sigma**2 + sigma_data**2) / (batch.sigma * sigma_data) ** 2
    return (weight[:, None] * (denoised.float() - batch.x0)[:, 3:] ** 2).mean()


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, times a cosine to zero."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))


class HeldOut:
    """The held-out figures: always of the same poses under the same noise."""

    def __init__(self, world: Tensor, settings: Settings, device: torch.device) -> None:
        config, generator = settings.train, torch.Generator().manual_seed(1)
        x0 = augment(world, settings.augment, generator).flatten(1) / settings.denoiser.unit_m
        # Noise levels at equal steps of probability: all are there however few the poses.
        at = (torch.randperm(len(x0), generator=generator) + 0.5) / len(x0)
        sigma = torch.exp(math.sqrt(2) * torch.erfinv(2 * at - 1) * config.log_sigma_sd + config.log_sigma_mean)
        noisy = x0 + sigma[:, None] * torch.randn(x0.shape, generator=generator)
        self.batch = Batch(*(v.to(device) for v in (x0, sigma, noisy)))

    @torch.no_grad()
    def figures(self, model: Denoiser) -> dict[str, float]:
        """Return the loss, and the root mean square error per coordinate (mm) at fixed noise levels."""
        x0, generator, config = self.batch.x0, torch.Generator().manual_seed(2), model.config

        def denoised(noisy: Tensor, sigma: Tensor) -> Tensor:
            return torch.cat([model(n, s) for n, s in zip(noisy.split(CHUNK), sigma.split(CHUNK), strict=True)])

        loss = edm_loss(denoised(self.batch.noisy, self.batch.sigma), self.batch, config.sigma_data)
        result = {"held_out_loss": float(loss)}
        for s in VALIDATION_SIGMAS:
            noise = torch.randn(x0.shape, generator=generator).to(x0.device)
            error = denoised(x0 + s * noise, torch.full((len(x0),), s, device=x0.device)) - x0
            result[f"rmse_mm@{s:g}"] = 1000 * config.unit_m * float((error[:, 3:] ** 2).mean().sqrt())
        return result


def shards_of(config: TrainConfig, process: int, processes: int) -> range:
    """Return the shards of every batch that a process draws; ``ValueError`` if there are not equally many for each."""
    shards = config.batch // config.shard
    if shards % processes:
        raise ValueError(
            f"batch {config.batch} is {shards} shards of {config.shard}, which {processes} processes cannot share "
            f"alike: choose a batch that is a multiple of {config.shard * processes}, or a smaller shard"
        )
    return range(process, shards, processes)


class Trainer:
    """The model, its average and its optimiser, and one step of them.

    Raises:
        ValueError: see :func:`shards_of`.
    """

    def __init__(self, settings: Settings, poses: PoseMixture, accelerator: Accelerator) -> None:
        config = settings.train
        self.settings, self.poses, self.accelerator = settings, poses, accelerator
        self.shards = shards_of(config, accelerator.process_index, accelerator.num_processes)
        torch.manual_seed(config.seed)
        self.model = Denoiser(settings.denoiser).to(accelerator.device)
        self.ema, self.best = (Denoiser(settings.denoiser).to(accelerator.device) for _ in range(2))
        self.ema.load_state_dict(self.model.state_dict())
        self.ema.requires_grad_(False)
        self.best.requires_grad_(False)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), config.learning_rate, (0.9, 0.99), weight_decay=config.weight_decay, fused=True
        )
        self.wrapped, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.trained: list[Tensor] = list(self.model.parameters())
        self.averaged: list[Tensor] = list(self.ema.parameters())

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """What the saved state holds besides the optimiser."""
        return {"model": self.model, "ema": self.ema, "best": self.best}

    def batch(self, step: int) -> Batch:
        """Draw this process's part of the batch."""
        return draw_batch(self.poses, self.settings, step, self.shards, self.accelerator.device)

    def update(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make one optimiser step; return this process's loss and the gradient norm."""
        loss = edm_loss(self.wrapped(batch.noisy, batch.sigma), batch, self.settings.denoiser.sigma_data)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.trained, self.settings.train.grad_clip)
        self.optimizer.step()
        return loss.detach(), norm

    def step(self, step: int) -> tuple[Tensor, Tensor]:
        """Make training step ``step``, counted from 0; return this process's loss and the gradient norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.settings.train)
        result = self.update(self.batch(step))
        self.average(step)
        return result

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Move the averaged weights towards those of the model, further in the first steps."""
        decay = min(self.settings.train.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averaged, self.trained, 1 - decay)
