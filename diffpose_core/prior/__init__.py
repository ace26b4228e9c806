# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The unconditional prior p(x) over 3D poses: network, noise schedule, checkpoint."""

from diffpose_core.prior.checkpoint import load_checkpoint, save_checkpoint
from diffpose_core.prior.network import Denoiser, DenoiserConfig
from diffpose_core.prior.prior import PosePrior
from diffpose_core.prior.schedule import karras_sigmas

__all__ = ["Denoiser", "DenoiserConfig", "PosePrior", "karras_sigmas", "load_checkpoint", "save_checkpoint"]
