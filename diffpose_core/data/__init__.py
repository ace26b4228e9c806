# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Motion capture, its augmentation, and synthetic scenes made of it."""

from diffpose_core.data.augment import AugmentConfig, augment, camera_rotation
from diffpose_core.data.depth import DepthNoise, measure_depth, render_depth
from diffpose_core.data.mixture import PoseMixture
from diffpose_core.data.mocap import MocapSet, load_mocap, load_splits
from diffpose_core.data.synthetic import SCENARIOS, SyntheticConfig, SyntheticScene, synthesize
from diffpose_core.data.views import SyntheticView, see_from

__all__ = [
    "SCENARIOS",
    "AugmentConfig",
    "DepthNoise",
    "MocapSet",
    "PoseMixture",
    "SyntheticConfig",
    "SyntheticScene",
    "SyntheticView",
    "augment",
    "camera_rotation",
    "load_mocap",
    "load_splits",
    "measure_depth",
    "render_depth",
    "see_from",
    "synthesize",
]
