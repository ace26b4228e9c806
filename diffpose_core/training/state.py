# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The resumable state of a training run: one safetensors file, written atomically, nothing in it is executed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

Log = list[dict[str, float]]


def replace_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def save_state(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, step: int, log: Log, digest: str
) -> None:
    """Write modules, optimiser, step and log, with the digest of settings and data.

    Draws need no state: they follow from seed, step and shard.
    """
    tensors = {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    temporary = path.with_name(path.name + ".partial")
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        temporary,
        {"step": str(step), "log": json.dumps(log), "digest": digest},
    )
    os.replace(temporary, path)


def load_state(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, digest: str
) -> tuple[int, Log]:
    """Restore what :func:`save_state` wrote; return the step and the log so far.

    Raises:
        ValueError: the file is damaged, or of other settings or data.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
            meta = file.metadata() or {}
        if meta.get("digest") != digest:
            raise ValueError("it belongs to a run with other settings or other data; choose another --out")
        for name, module in modules.items():
            module.load_state_dict(_part(tensors, f"{name}."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            index, field = key.split(".", 1)
            state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(meta["step"]), json.loads(meta["log"])
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the saved state is unusable: {error}") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
