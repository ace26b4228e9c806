# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The training loop: steps, validations, early stopping, export; on one process or many.

Loss and noise distribution: Karras et al. (2206.00364), eq. 2 and table 1.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast

from diffpose_core.data import PoseMixture
from diffpose_core.prior import save_checkpoint
from diffpose_core.prior.calibrate import posterior_covariances
from diffpose_core.training.data import describe, open_data
from diffpose_core.training.report import Board, open_log
from diffpose_core.training.run import begin_run, check_run, data_note, digest, lock_run, model_card, portable
from diffpose_core.training.settings import Settings, TrainConfig
from diffpose_core.training.state import Log, load_state, replace_text, save_state
from diffpose_core.training.trainer import VALIDATION_SIGMAS, HeldOut, Trainer, learning_rate

TIMEOUT = timedelta(minutes=20)
"""A process that waits longer for another gives up; it must cover checksums and validation."""
say = logging.getLogger("train").info


def best_entry(log: Log) -> int:
    """Return the first entry of lowest held-out loss."""
    return min(range(len(log)), key=lambda i: log[i]["held_out_loss"])


def stopped(log: Log, patience: int) -> bool:
    """Say whether the last ``patience`` validations were no better than one before them."""
    return bool(log) and 0 < patience <= len(log) - 1 - best_entry(log)


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
        OSError: ``out`` cannot be written.
        ValueError: unusable data, ``out`` holds another run, one that is going on or not every process sees it, or the
            loss is not finite.
    """
    config, main = settings.train, accelerator.is_main_process
    training, validation = open_data(settings.mixture, verify=accelerator.is_local_main_process)
    lock = lock_run(out) if main else None
    accelerator.wait_for_everyone()
    check_run(out, settings, training.files)
    trainer = Trainer(settings, training, accelerator)
    state_path, step, log = out / "state.safetensors", 0, Log()
    run_digest = digest(settings, training.files)
    if state_path.exists():
        step, log = load_state(state_path, trainer.modules, trainer.optimizer, run_digest)
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device))
    if len(steps.unique()) > 1:
        raise ValueError(f"the processes see different states in {out}, of steps {steps.tolist()}: it must be shared")
    held_out = board = None
    if main:
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
            save_state(state_path, trainer.modules, trainer.optimizer, step, log, run_digest)
            replace_text(out / "log.json", json.dumps(log, indent=1) + "\n")
    if board:
        board.close()
        if step < config.steps:
            say(f"stopped at step {step}: no lower held-out loss in {config.patience} validations")
        export(trainer, validation, out, log)
    if lock:
        lock.close()


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
