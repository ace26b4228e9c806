# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one checkpoint format: safetensors with configuration, normalisation, provenance and digest inside."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from diffpose_core.files import read_regular
from diffpose_core.prior.network import POSE_DIM, Denoiser, DenoiserConfig
from diffpose_core.skeleton import H36M17

FORMAT = "diffpose-prior-1"
PACKAGED_SHA256 = "21326d8ee51218e10d464d3f6bfd221d3f6ba686d42a160f4682052e749dfaa5"
"""Of ``prior_cmu.safetensors``, which is older than the digest."""
MAX_FILE_BYTES = 2**30
MAX_HEADER_BYTES = 2**22
MAX_LEVELS = 1000
DIGEST = "sha256_with_this_zeroed"
"""Metadata: sha256 of the whole file, its own 64 digits taken as zeros. It finds damage, not malice: who can write the
file can write the digest."""
UNSET = "0" * 64


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        model: the network.
        sigmas: noise levels of C(sigma), falling.
        covariances: C(sigma), square units of the scaled pose.
        metadata: provenance.
        sha256: of the file.
    """

    model: Denoiser
    sigmas: Float[Tensor, "levels"]
    covariances: Float[Tensor, "levels 51 51"]
    metadata: dict[str, str]
    sha256: str


def save_checkpoint(
    path: str | Path, model: Denoiser, sigmas: Float[Tensor, "levels"], covariances: Float[Tensor, "levels 51 51"],
    training_data: str, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Write the network, C(sigma), the configuration, a note on the training data, and the digest of all."""
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
    Path(path).write_bytes(seal(tensors, metadata))


def seal(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with its digest in the metadata."""
    data = safetensors.torch.save(tensors, metadata | {DIGEST: UNSET})
    return data.replace(_entry(UNSET), _entry(_digest(data, UNSET, "the new checkpoint")), 1)


def load_checkpoint(path: str | Path, sha256: str | None = None) -> Checkpoint:
    """Read and check a checkpoint; nothing in the file is executed.

    Args:
        path: the file.
        sha256: what the file's digest must be; None: the file's own digest is trusted. A file without one (the
            packaged one apart) is not taken then.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, too large, another sha256, not safetensors, damaged, another format or
            skeleton, or a tensor that is missing, superfluous, of another shape or type, or not finite.
    """
    data = read_regular(path, MAX_FILE_BYTES, "prior checkpoint")
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(f"{path}: sha256 is {found}, expected {sha256}")
    meta, names = _read_header(path, data)
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {meta.get('format')!r}, expected {FORMAT!r}")
    if sha256 is None and found != PACKAGED_SHA256:
        _check_digest(path, data, meta)
    if meta.get("skeleton") != H36M17.name:
        raise ValueError(f"{path}: skeleton is {meta.get('skeleton')!r}, expected {H36M17.name!r}")
    config = _read_config(path, meta)
    # Shapes alone at first: a configuration can announce more memory than the file fills.
    with torch.device("meta"):
        shapes = {f"denoiser.{k}": v.shape for k, v in Denoiser(config).state_dict().items()}
    if differing := names ^ {*shapes, "covariance.sigmas", "covariance.matrices"}:
        raise ValueError(f"{path}: tensor names differ: {sorted(differing)[:5]}")
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    levels = tensors["covariance.sigmas"].shape[:1]
    shapes |= {"covariance.sigmas": levels, "covariance.matrices": torch.Size((*levels, POSE_DIM, POSE_DIM))}
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.numel() == 0:
            raise ValueError(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
    sigmas, covariances = tensors["covariance.sigmas"], tensors["covariance.matrices"]
    _check_covariances(path, sigmas, covariances)
    model = Denoiser(config)
    model.load_state_dict({k[len("denoiser.") :]: v for k, v in tensors.items() if k.startswith("denoiser.")})
    return Checkpoint(model, sigmas, covariances, meta, found)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _read_header(path: str | Path, data: bytes) -> tuple[dict[str, str], set[str]]:
    """Return the metadata and the tensors' names; safetensors itself compares places and sizes with the file.

    The format: 8 bytes, little endian, the length of what follows: JSON with, by name, type, shape and place of
    every tensor, and texts by name under ``__metadata__`` (huggingface/safetensors, README).
    """
    wrong = f"{path} is not a readable safetensors file"
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"{wrong}: the header announces {length:,} bytes, the file holds {len(data):,}")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{wrong}: its header: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{wrong}: its header is a {type(header).__name__}")
    meta = header.pop("__metadata__", {})
    if not isinstance(meta, dict) or not all(isinstance(v, str) for v in meta.values()):
        raise ValueError(f"{wrong}: its metadata must be texts by name")
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{wrong}: the header's entry {name[:80]!r} must hold dtype, shape and data_offsets")
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name[:80]} has type {str(entry['dtype'])[:80]}, expected F32")
    return meta, set(header)


def _entry(digest: str) -> bytes:
    """Return the digest's place in the header, as safetensors writes it."""
    return f'"{DIGEST}":"{digest}"'.encode()


def _digest(data: bytes, stored: str, path: str | Path) -> str:
    """Return the sha256 of a file in which the stored digest is taken as zeros."""
    end = 8 + int.from_bytes(data[:8], "little")
    head = data[:end]
    if (count := head.count(_entry(stored))) != 1:
        raise ValueError(f"{path}: the header holds {_entry(stored).decode()} {count} times, expected once")
    digest = hashlib.sha256(head.replace(_entry(stored), _entry(UNSET)))
    digest.update(memoryview(data)[end:])
    return digest.hexdigest()


def _check_digest(path: str | Path, data: bytes, meta: dict[str, str]) -> None:
    stored = meta.get(DIGEST)
    if stored is None:
        raise ValueError(f"{path} holds no digest ({DIGEST}): state the sha256 that it must have")
    if not re.fullmatch("[0-9a-f]{64}", stored, re.ASCII):
        raise ValueError(f"{path}: {DIGEST} must be 64 hexadecimal digits, got {stored[:80]!r}")
    if (found := _digest(data, stored, path)) != stored:
        raise ValueError(f"{path} is damaged: its digest is {found}, it claims {stored}")


def _read_config(path: str | Path, meta: dict[str, str]) -> DenoiserConfig:
    try:
        values = json.loads(meta["denoiser"], object_pairs_hook=_no_duplicates)
        if isinstance(values, dict) and {type(values.get(n, 0)) for n in ("width", "blocks", "noise_channels")} != {
            int
        }:
            raise ValueError("width, blocks and noise_channels must be whole numbers")
        return DenoiserConfig(**values)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: denoiser configuration is unusable: {error!r}") from error


def _check_covariances(path: str | Path, sigmas: Tensor, covariances: Tensor) -> None:
    if not 2 <= len(sigmas) <= MAX_LEVELS:
        raise ValueError(f"{path}: covariance.sigmas must hold 2..{MAX_LEVELS} levels, got {len(sigmas)}")
    if not (sigmas > 0).all() or not (sigmas.diff() < 0).all():
        raise ValueError(f"{path}: covariance.sigmas must be positive and falling")
    scale = covariances.abs().amax((1, 2))
    if ((covariances - covariances.mT).abs().amax((1, 2)) > 1e-5 * scale).any():
        raise ValueError(f"{path}: covariance.matrices must be symmetric")
    if (torch.linalg.eigvalsh(covariances.double())[:, 0] < -1e-5 * scale).any():
        raise ValueError(f"{path}: covariance.matrices must have no negative eigenvalue")
