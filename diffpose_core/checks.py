# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Checks of what users pass: one clear error that names the field."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_STD = 1e9
"""The squares of larger ones leave the range of float32."""


def checked(name: str, value: Tensor, shape: tuple[int | None, ...], allow_nan: bool = False) -> Tensor:
    """Return ``value`` as float32, its shape and finiteness checked.

    Raises:
        ValueError: naming the field with its shape or its first value that is not finite.
    """
    value = torch.as_tensor(value, dtype=torch.float32)
    if value.ndim != len(shape) or any(s is not None and s != v for s, v in zip(shape, value.shape, strict=True)):
        wanted = "x".join("*" if s is None else str(s) for s in shape)
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(value.shape)}")
    bad = torch.isinf(value) if allow_nan else ~torch.isfinite(value)
    if bad.any():
        index = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(f"{name} holds a value that is not finite at index {index}: {float(value[index])}")
    return value


def checked_std(name: str, std: float | Tensor, shape: tuple[int, ...], known: Tensor | None = None) -> Tensor:
    """Return a standard deviation expanded to ``shape``; 1 where it is of something that is not ``known``.

    Raises:
        ValueError: naming the field, if it is not positive, more than 1e9, or cannot have that shape.
    """
    value = torch.as_tensor(std, dtype=torch.float32)
    try:
        expanded = value.expand(shape)
    except RuntimeError:
        raise ValueError(f"{name} must be one number or have shape {shape}, got {tuple(value.shape)}") from None
    if known is not None and value.shape == shape:
        value = expanded = torch.where(known.to(value.device), value, 1.0)
    bad = ~(torch.isfinite(value) & (value > 0))
    if bad.any():
        raise ValueError(f"{name} must be positive and finite, got {float(value[bad][0])}")
    if (value > LARGEST_STD).any():
        raise ValueError(f"{name} must be at most {LARGEST_STD:g}, got {float(value.max()):g}")
    return expanded


def checked_transform(name: str, transform: Tensor) -> Float[Tensor, "3 4"]:
    """Return a rigid transform [R | t], metres.

    Raises:
        ValueError: naming the field, if it is not 3x4 and finite or R is no rotation.
    """
    value = checked(name, transform, (3, 4))
    rotation = value[:, :3].double()
    error = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64, device=value.device)).abs().max())
    if error > 1e-3 or torch.linalg.det(rotation) < 0:
        raise ValueError(f"{name} must hold a rotation in its first three columns, got {value[:, :3].tolist()}")
    return value
