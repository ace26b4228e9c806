# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one check of a device's name."""

from __future__ import annotations

import torch


def checked_device(device: str | torch.device) -> torch.device:
    """Return the device asked for; there is no fall-back.

    Raises:
        ValueError: it is no CPU or CUDA device, or this machine lacks it.
    """
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be a torch device, got {device!r}") from error
    if checked.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {str(device)!r} was asked for, but there is no CUDA here; ask for 'cpu'")
    if checked.type == "cuda" and (checked.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {str(device)!r} was asked for, of {torch.cuda.device_count()} CUDA devices")
    if checked.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {str(device)!r}")
    return checked
