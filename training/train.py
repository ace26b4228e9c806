"""Train the prior: one command, resumable after a kill, EMA weights out.

    python training/train.py --data mocap_free.safetensors --out runs/prior

Killed at any moment, the same command goes on from the last saved state and
ends with the same weights, bit for bit, on the same machine and thread count.

Loss and noise distribution: Karras et al. (2206.00364), eq. 2 and table 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffpose_core.data import AugmentConfig, MocapSet, augment, load_mocap
from diffpose_core.prior import Denoiser, DenoiserConfig, save_checkpoint
from diffpose_core.prior.calibrate import posterior_covariances

# In mocap_free, among the "unknown people" of cmu-expmap-generic-skeleton: the limbs move frame for frame as in
# 35_30, 16_31, 16_32, 38_02, 39_08, 39_12 and 55_04 of the validation and test subjects; 43 lies between the 39s.
CLIPS_OF_HELD_OUT_PEOPLE = (
    "eval_test_walking_19", "eval_train_walking_31", "eval_train_walking_32", "eval_train_walking_36",
    "eval_train_walking_41", "eval_train_walking_43", "eval_train_walking_44", "eval_train_walking_52",
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a run besides the data, the augmentation and the network.

    Attributes:
        steps: optimiser steps.
        batch: poses per step.
        learning_rate: peak; cosine decay to zero after a linear warm-up.
        ema: decay of the averaged weights per step.
        log_sigma_mean: mean of ln sigma in training.
        log_sigma_sd: standard deviation of ln sigma in training.
        grad_clip: largest gradient norm.
        weight_decay: AdamW's, against over-fitting of few subjects.
        subject_temper: poses of a subject are drawn in proportion to count ** this.
        exclude_motions: clips left out of the training poses.
        save_every: steps between resumable states and validations.
        seed: seed of everything random.
    """

    steps: int = 8_000
    batch: int = 2048
    learning_rate: float = 1e-3
    ema: float = 0.9995
    log_sigma_mean: float = -0.7
    log_sigma_sd: float = 1.4
    grad_clip: float = 1.0
    weight_decay: float = 0.01
    subject_temper: float = 0.5
    exclude_motions: tuple[str, ...] = CLIPS_OF_HELD_OUT_PEOPLE
    save_every: int = 500
    seed: int = 0


VALIDATION_SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def pose_weights(data: MocapSet, config: TrainConfig) -> Tensor:
    """Return each pose's probability of being drawn (tempered by subject)."""
    _, inverse, count = torch.unique(data.subject, return_inverse=True, return_counts=True)
    weight = (count.double() ** (config.subject_temper - 1))[inverse]
    return weight / weight.sum()


def load_splits(path: Path, config: TrainConfig) -> tuple[MocapSet, MocapSet]:
    """Read the training poses, less the excluded clips, and the validation poses.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is unusable, a split is empty, or a subject is in both.
    """
    sets = load_mocap(path, "train").without(config.exclude_motions), load_mocap(path, "validation")
    for name, data in zip(("train", "validation"), sets, strict=True):
        if len(data) == 0:
            raise ValueError(f"{path}: split {name!r} holds no poses")
    shared = [name for name in sets[0].people if name in sets[1].people]
    if shared:
        raise ValueError(f"{path}: subjects {shared} are in split 'train' and in split 'validation'")
    return sets


def describe(
    train_set: MocapSet,
    validation_set: MocapSet,
    config: TrainConfig,
    shape: DenoiserConfig,
) -> str:
    """Say what would be trained, on how much."""
    lines = [
        f"{name}: {len(data):,} poses of subjects {' '.join(data.people)}"
        for name, data in (("train", train_set), ("validation", validation_set))
    ]
    parameters = sum(p.numel() for p in Denoiser(shape).parameters())
    lines.append(f"held-out error over {len(held_out(validation_set)):,} of them")
    share: dict[str, float] = {}
    for recording, weight in zip(train_set.recording.tolist(), pose_weights(train_set, config).tolist(), strict=True):
        source = train_set.recordings[recording].source or "unnamed"
        share[source] = share.get(source, 0.0) + weight
    lines.append("drawn by source: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in sorted(share.items())))
    return "\n".join([*lines, f"network: {parameters:,} parameters"])


def held_out(validation_set: MocapSet) -> Tensor:
    """Return every n-th validation pose, about 2000 of them."""
    return validation_set.joints[:: max(1, len(validation_set) // 2000)]


def replace_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(text)
    os.replace(temporary, path)


@torch.no_grad()
def validation_errors(model: Denoiser, poses: Tensor, seed: int) -> dict[str, float]:
    """Root mean square error per coordinate (mm) of the denoiser at fixed noise levels and fixed noise."""
    generator = torch.Generator(poses.device).manual_seed(seed)
    unit = model.config.unit_m
    x0 = poses.flatten(1) / unit
    result = {}
    for s in VALIDATION_SIGMAS:
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        d = model(x0 + s * noise, torch.full((len(x0),), s, device=x0.device))
        result[f"{s:g}"] = 1000 * unit * float(((d - x0)[:, 3:] ** 2).mean().sqrt())
    return result


def save_state(
    path: Path,
    model: Denoiser,
    ema: Denoiser,
    optimizer: torch.optim.Optimizer,
    generators: dict[str, torch.Generator],
    step: int,
    log: list[dict[str, float]],
) -> None:
    """Write the resumable state as safetensors, atomically."""
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors |= {f"generator.{k}": g.get_state() for k, g in generators.items()}
    temporary = path.with_suffix(".partial")
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()},
        temporary,
        {"step": str(step), "log": json.dumps(log)},
    )
    os.replace(temporary, path)


def load_state(
    path: Path,
    model: Denoiser,
    ema: Denoiser,
    optimizer: torch.optim.Optimizer,
    generators: dict[str, torch.Generator],
) -> tuple[int, list[dict[str, float]]]:
    """Restore what :func:`save_state` wrote; return the step and the log so far."""
    with safe_open(path, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
        meta = file.metadata()

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(part("model."))
    ema.load_state_dict(part("ema."))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for name, generator in generators.items():
        generator.set_state(tensors[f"generator.{name}"])
    return int(meta["step"]), json.loads(meta["log"])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up over 500 steps, then cosine to zero."""
    warm = min(1.0, (step + 1) / 500)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))


def train(
    data_path: Path,
    out: Path,
    config: TrainConfig,
    augmentation: AugmentConfig,
    shape: DenoiserConfig,
    device: torch.device,
) -> Path:
    """Train (or go on training) in ``out`` and return the path of the exported checkpoint.

    Raises:
        FileNotFoundError: no data file.
        ValueError: unusable data, or ``out`` holds a run with other settings.
    """
    train_set, validation_set = load_splits(data_path, config)  # before anything is written
    settings = {
        "train": json.loads(json.dumps(asdict(config))),
        "augment": asdict(augmentation),
        "denoiser": asdict(shape),
        "data": data_path.name,
    }
    settings_path = out / "config.json"
    if settings_path.exists() and json.loads(settings_path.read_text()) != settings:
        raise ValueError(f"{out} holds a run with other settings; choose another --out or the same settings")
    out.mkdir(parents=True, exist_ok=True)
    replace_text(settings_path, json.dumps(settings, indent=2) + "\n")

    torch.manual_seed(config.seed)
    world = train_set.joints.to(device)
    weights = pose_weights(train_set, config).to(device)
    held = augment(held_out(validation_set).to(device), augmentation, torch.Generator(device).manual_seed(1))

    model, ema = Denoiser(shape).to(device), Denoiser(shape).to(device)
    ema.load_state_dict(model.state_dict())
    ema.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    generators = {
        "data": torch.Generator(device).manual_seed(config.seed + 1),
        "noise": torch.Generator(device).manual_seed(config.seed + 2),
    }
    state_path = out / "state.safetensors"
    step = 0
    log: list[dict[str, float]] = []
    if state_path.exists():
        step, log = load_state(state_path, model, ema, optimizer, generators)
        print(f"resumed at step {step}", flush=True)

    started, first = time.monotonic(), step
    before_s = log[-1].get("elapsed_s", 0.0) if log else 0.0
    running = 0.0
    while step < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        index = torch.multinomial(weights, config.batch, replacement=True, generator=generators["data"])
        x0 = augment(world[index], augmentation, generators["data"]).flatten(1) / shape.unit_m
        sigma = torch.exp(
            torch.randn(config.batch, generator=generators["noise"], device=device) * config.log_sigma_sd
            + config.log_sigma_mean
        )
        noisy = x0 + sigma[:, None] * torch.randn(x0.shape, generator=generators["noise"], device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            denoised = model(noisy, sigma)
        weight = (sigma**2 + shape.sigma_data**2) / (sigma * shape.sigma_data) ** 2
        loss = (weight[:, None] * (denoised.float() - x0)[:, 3:] ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        with torch.no_grad():
            decay = min(config.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
        step += 1
        running += float(loss.detach())
        if step % config.save_every == 0 or step == config.steps:
            elapsed_s = time.monotonic() - started
            rate = (step - first) * config.batch / elapsed_s
            errors = validation_errors(ema, held, 2)
            since = step - (int(log[-1]["step"]) if log else 0)
            entry = {"step": step, "loss": running / since, "elapsed_s": before_s + elapsed_s}
            log.append(entry | {f"rmse_mm@{k}": v for k, v in errors.items()})
            running = 0.0
            eta_min = (config.steps - step) * config.batch / rate / 60
            progress = f"step {step}/{config.steps}  loss {entry['loss']:.4f}  {rate:,.0f} poses/s"
            millimetres = "  ".join(f"{k}: {v:.1f}" for k, v in errors.items())
            print(f"{progress}  left {eta_min:.1f} min  held-out rmse mm {millimetres}", flush=True)
            save_state(state_path, model, ema, optimizer, generators, step, log)
    replace_text(out / "log.json", json.dumps(log, indent=1) + "\n")

    covariance_sigmas, covariances = posterior_covariances(ema.cpu(), validation_set.joints, augmentation, seed=3)
    note = (
        "Trained on CMU Graphics Lab Motion Capture Database poses (mocap.cs.cmu.edu; funding NSF EIA-0196217) and "
        "FAIR AnimatedDrawings motions (MIT). Posterior covariances C(sigma) from the validation subjects."
    )
    checkpoint = out / "prior.safetensors"
    partial = checkpoint.with_suffix(".partial")
    save_checkpoint(partial, ema.cpu(), covariance_sigmas, covariances, note, settings)
    os.replace(partial, checkpoint)
    print(f"wrote {checkpoint} ({checkpoint.stat().st_size / 1e6:.1f} MB)")
    return checkpoint


def main() -> None:
    """Parse the command line and train."""
    summary = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=summary)
    parser.add_argument("--data", type=Path, required=True, help="prepared motion data (training/prepare.py)")
    parser.add_argument("--out", type=Path, default=Path("runs/prior"), help="run folder; goes on if cut off")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--batch", type=int, default=TrainConfig.batch)
    parser.add_argument("--save-every", type=int, default=TrainConfig.save_every)
    parser.add_argument("--seed", type=int, default=TrainConfig.seed)
    parser.add_argument("--width", type=int, default=DenoiserConfig.width)
    parser.add_argument("--mix-prob", type=float, default=AugmentConfig.mix_prob)
    parser.add_argument("--definition-prob", type=float, default=AugmentConfig.definition_prob)
    parser.add_argument("--dry-run", action="store_true", help="check the data, say what it holds, stop")
    args = parser.parse_args()
    config = TrainConfig(steps=args.steps, batch=args.batch, save_every=args.save_every, seed=args.seed)
    augmentation = AugmentConfig(definition_prob=args.definition_prob, mix_prob=args.mix_prob)
    shape = DenoiserConfig(width=args.width)
    try:
        if args.dry_run:
            print(describe(*load_splits(args.data, config), config, shape))
        else:
            train(args.data, args.out, config, augmentation, shape, torch.device(args.device))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
