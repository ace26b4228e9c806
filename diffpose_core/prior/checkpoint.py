"""The one checkpoint format: safetensors with configuration, normalisation and provenance inside."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffpose_core.prior.network import POSE_DIM, Denoiser, DenoiserConfig
from diffpose_core.skeleton import H36M17

FORMAT = "diffpose-prior-1"


def save_checkpoint(
    path: str | Path, model: Denoiser, sigmas: Float[Tensor, "levels"], covariances: Float[Tensor, "levels 51 51"],
    training_data: str, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Write the network, C(sigma), the configuration and a note on the training data."""
    tensors = {f"denoiser.{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {"covariance.sigmas": sigmas.contiguous(), "covariance.matrices": covariances.contiguous()}
    metadata = {
        "format": FORMAT,
        "denoiser": json.dumps(asdict(model.config)),
        "skeleton": H36M17.name,
        "joints": json.dumps(H36M17.joints),
        "frame": "camera axes (x right, y down, z forward), root-relative, units of denoiser.unit_m metres",
        "training_data": training_data,
        "settings": json.dumps(settings),
    }
    save_file(tensors, path, metadata)


def load_checkpoint(path: str | Path) -> tuple[Denoiser, Tensor, Tensor, dict[str, str]]:
    """Read and check a checkpoint; nothing in the file is executed.

    Returns:
        The network, the noise levels and matrices of C(sigma), and the metadata.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not safetensors, another format or skeleton, or a tensor that is missing, superfluous,
            of another shape or type, or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"prior checkpoint not found: {path}")
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {meta.get('format')!r}, expected {FORMAT!r}")
    if meta.get("skeleton") != H36M17.name:
        raise ValueError(f"{path}: skeleton is {meta.get('skeleton')!r}, expected {H36M17.name!r}")
    try:
        model = Denoiser(DenoiserConfig(**json.loads(meta["denoiser"])))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: denoiser configuration is unusable: {error!r}") from error
    levels = tensors.get("covariance.sigmas", torch.empty(0)).shape[:1]
    expected = {f"denoiser.{k}": v.shape for k, v in model.state_dict().items()}
    expected |= {
        "covariance.sigmas": torch.Size(levels),
        "covariance.matrices": torch.Size((*levels, POSE_DIM, POSE_DIM)),
    }
    if tensors.keys() != expected.keys():
        raise ValueError(f"{path}: tensor names differ: {sorted(tensors.keys() ^ expected.keys())[:5]}")
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.numel() == 0:
            raise ValueError(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        if tensor.dtype != torch.float32:
            raise ValueError(f"{path}: {name} has type {tensor.dtype}, expected torch.float32")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
    model.load_state_dict({k[len("denoiser.") :]: v for k, v in tensors.items() if k.startswith("denoiser.")})
    sigmas = tensors["covariance.sigmas"]
    if not (sigmas > 0).all() or not (sigmas.diff() < 0).all():
        raise ValueError(f"{path}: covariance.sigmas must be positive and falling")
    return model, sigmas, tensors["covariance.matrices"], meta
