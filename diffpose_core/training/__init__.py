# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Training of the prior: settings, data, loop, run folder. Needs the ``train`` extra."""

from diffpose_core.training.data import describe, open_data
from diffpose_core.training.loop import make_accelerator, train
from diffpose_core.training.settings import MixtureConfig, Settings, TrainConfig, read_settings

__all__ = [
    "MixtureConfig",
    "Settings",
    "TrainConfig",
    "describe",
    "make_accelerator",
    "open_data",
    "read_settings",
    "train",
]
