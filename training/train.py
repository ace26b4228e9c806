"""Train the prior: one command, on one processor or many, resumable after a kill, averaged weights out.

    python training/train.py --data mocap_free.safetensors --out runs/prior
    python training/train.py --config runs/prior/config.yaml --out runs/again --seed 1
    accelerate launch --multi_gpu --num_processes 4 training/train.py --config my.yaml --out runs/mine

Killed at any moment, the same command goes on from the last saved state and ends with the same weights, bit for bit,
on the same machine and thread count. The number of processes changes the order of sums and nothing else.

Loss and noise distribution: Karras et al. (2206.00364), eq. 2 and table 1. See docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from textwrap import shorten
from typing import Literal, NamedTuple

import torch
import tyro
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast
from torch import Tensor
from train_report import Board, open_log
from train_run import begin_run, check_run, data_note, model_card, portable
from train_settings import MixtureConfig, Settings, TrainConfig, read_settings
from train_state import Log, load_state, replace_text, save_state

from diffpose_core.data import PoseMixture, augment
from diffpose_core.data.prepared import open_prepared
from diffpose_core.prior import Denoiser, save_checkpoint
from diffpose_core.prior.calibrate import posterior_covariances

VALIDATION_SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
TIMEOUT = timedelta(minutes=20)
"""A process that waits longer for another gives up; it must cover checksums and validation."""
CHUNK = 8192
NAMES = 500
"""Characters of subjects' names that are shown."""
say = logging.getLogger("train").info


class Batch(NamedTuple):
    """Clean poses [N, 51], their noise levels [N] and noisy poses [N, 51], in units of the scaled pose."""

    x0: Tensor
    sigma: Tensor
    noisy: Tensor


def open_data(config: MixtureConfig, verify: bool = True) -> tuple[PoseMixture, PoseMixture]:
    """Map the files; return the training poses and the validation poses.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is unusable or holds no training poses, none holds validation poses, or a subject is in both.
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
    held = [
        (f, s) for f, s in zip(files, training.shares, strict=True) if any(r.length for r in f.of_split("validation"))
    ]
    if not held:
        raise ValueError(f"{', '.join(str(f.path) for f in files)}: split 'validation' holds no poses")
    return training, PoseMixture([f for f, _ in held], "validation", [s for _, s in held], config.subject_temper)


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


class Trainer:
    """The model, its average and its optimiser, and one step of them.

    Raises:
        ValueError: the shards of a batch cannot be shared alike by the processes.
    """

    def __init__(self, settings: Settings, poses: PoseMixture, accelerator: Accelerator) -> None:
        config, processes = settings.train, accelerator.num_processes
        shards = config.batch // config.shard
        if shards % processes:
            raise ValueError(
                f"batch {config.batch} is {shards} shards of {config.shard}, which {processes} processes cannot share "
                f"alike: choose a batch that is a multiple of {config.shard * processes}, or a smaller shard"
            )
        self.settings, self.poses, self.accelerator = settings, poses, accelerator
        self.shards = range(accelerator.process_index, shards, processes)
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


def best_entry(log: Log) -> int:
    """Return the first entry of lowest held-out loss."""
    return min(range(len(log)), key=lambda i: log[i]["held_out_loss"])


def stopped(log: Log, patience: int) -> bool:
    """Say whether the last ``patience`` validations were no better than one before them."""
    return bool(log) and 0 < patience <= len(log) - 1 - best_entry(log)


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


def validate(trainer: Trainer, held_out: HeldOut | None) -> dict[str, float]:
    """Return the held-out figures of the averaged weights, computed by the main process for all."""
    keys = ["held_out_loss", *(f"rmse_mm@{s:g}" for s in VALIDATION_SIGMAS)]
    found = held_out.figures(trainer.ema) if held_out else dict.fromkeys(keys, 0.0)
    values = torch.tensor([found[k] for k in keys], dtype=torch.float64, device=trainer.accelerator.device)
    return dict(zip(keys, broadcast(values).tolist(), strict=True))


def export(trainer: Trainer, validation: PoseMixture, out: Path, log: Log) -> None:
    """Write the best averaged weights with C(sigma), and their card."""
    settings, files, chosen = trainer.settings, trainer.poses.files, log[best_entry(log)]
    world, best = validation.sample(settings.mixture.covariance_poses), trainer.best.cpu()
    sigmas, covariances = posterior_covariances(best, world, settings.augment, seed=3)
    checkpoint = out / "prior.safetensors"
    partial = checkpoint.with_name(checkpoint.name + ".partial")
    save_checkpoint(partial, best, sigmas, covariances, data_note(files), portable(settings))
    os.replace(partial, checkpoint)
    summary = describe(trainer.poses, validation, settings)
    replace_text(out / "MODEL_CARD.md", model_card(checkpoint, settings, files, log, chosen, summary))
    say(f"wrote {checkpoint} ({checkpoint.stat().st_size / 1e6:.1f} MB), the weights of step {chosen['step']:.0f}")


def train(settings: Settings, out: Path, accelerator: Accelerator) -> None:
    """Train, or go on training, in ``out``; every process calls it, the main one alone writes.

    Raises:
        FileNotFoundError: no data file.
        ValueError: unusable data, ``out`` holds another run or not every process sees it, or the loss is not finite.
    """
    config, main = settings.train, accelerator.is_main_process
    training, validation = open_data(settings.mixture, verify=accelerator.is_local_main_process)
    check_run(out, settings, training.files)
    trainer = Trainer(settings, training, accelerator)
    state_path, step, log = out / "state.safetensors", 0, Log()
    if state_path.exists():
        step, log = load_state(state_path, trainer.modules, trainer.optimizer)
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device))
    if len(steps.unique()) > 1:
        raise ValueError(f"the processes see different states in {out}, of steps {steps.tolist()}: it must be shared")
    held_out = board = None
    if main:
        out.mkdir(parents=True, exist_ok=True)
        open_log(out / "train.log")
        begin_run(out, settings, training.files, str(accelerator.device), accelerator.num_processes, step)
        say(f"resumed at step {step}" if step else describe(training, validation, settings))
        held_out = HeldOut(validation.sample(settings.mixture.validation_poses), settings, accelerator.device)
        board = Board(out / "tensorboard", step)

    started, first = time.monotonic(), step
    before_s = log[-1]["elapsed_s"] if log else 0.0
    running = torch.zeros(2, device=accelerator.device)
    while step < config.steps and not stopped(log, config.patience):
        running += torch.stack(trainer.step(step))
        step += 1
        if step % config.save_every and step < config.steps:
            continue
        since = step - (int(log[-1]["step"]) if log else 0)
        loss, norm = (accelerator.reduce(running, "mean") / since).tolist()
        if not math.isfinite(loss):
            raise ValueError(f"the loss is not finite before step {step}; try a lower learning_rate")
        running.zero_()
        entry = {"step": step, "loss": loss, "gradient_norm": norm} | validate(trainer, held_out)
        log.append(entry | {"elapsed_s": before_s + time.monotonic() - started})
        if best_entry(log) == len(log) - 1:
            trainer.best.load_state_dict(trainer.ema.state_dict())
        if board:
            poses_per_s = (step - first) * config.batch / (time.monotonic() - started)
            report(log, config, poses_per_s)
            board.add(log[-1], learning_rate(step - 1, config), poses_per_s, trainer.ema)
            save_state(state_path, trainer.modules, trainer.optimizer, step, log)
            replace_text(out / "log.json", json.dumps(log, indent=1) + "\n")
    if board:
        board.close()
        if step < config.steps:
            say(f"stopped at step {step}: no lower held-out loss in {config.patience} validations")
        export(trainer, validation, out, log)


def report(log: Log, config: TrainConfig, poses_per_s: float) -> None:
    """Say how far training is."""
    entry = log[-1]
    left_min = (config.steps - entry["step"]) * config.batch / poses_per_s / 60
    millimetres = "  ".join(f"{k[8:]}: {v:.1f}" for k, v in entry.items() if k.startswith("rmse_mm@"))
    say(
        f"step {entry['step']}/{config.steps}  loss {entry['loss']:.4f}  {poses_per_s:,.0f} poses/s  "
        f"left {left_min:.1f} min  held-out loss {entry['held_out_loss']:.4f} "
        f"(best at {log[best_entry(log)]['step']})  rmse mm {millimetres}"
    )


@dataclass(frozen=True)
class Command:
    """What to do.

    Attributes:
        settings: of the run.
        config: YAML file of settings; the command line overrides it.
        out: run folder; the same command goes on where a killed one was.
        device: auto takes GPUs where there are any.
        dry_run: check the data, say what they hold, stop.
    """

    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    config: Path | None = None
    out: Path = Path("runs/prior")
    device: Literal["auto", "cpu"] = "auto"
    dry_run: bool = False


def parse(arguments: Sequence[str]) -> Command:
    """Read the command line and the file that it names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is unusable, or a value is out of its range.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    path = first.parse_known_args(arguments)[0].config
    default = Command(read_settings(path) if path else Settings())
    return tyro.cli(tyro.conf.OmitArgPrefixes[Command], args=arguments, default=default, description=__doc__)


def make_accelerator(precision: str, device: str) -> Accelerator:
    """Join the other processes, if ``accelerate launch`` or ``torchrun`` started several."""
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=TIMEOUT),
        ],
    )


def main() -> None:
    """Train, or say what would be trained."""
    try:
        command = parse(sys.argv[1:])
        if command.dry_run:
            print(describe(*open_data(command.settings.mixture), command.settings))
            return
        accelerator = make_accelerator(command.settings.train.precision, command.device)
        train(command.settings, command.out, accelerator)
        accelerator.end_training()
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
