# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Weighted 3D human pose hypotheses from 2D heatmaps with an unconditional diffusion prior."""

from diffpose_core.camera import Camera
from diffpose_core.estimator import PoseEstimator
from diffpose_core.heatmap import Heatmaps
from diffpose_core.posterior import PosePosterior
from diffpose_core.prior import PosePrior
from diffpose_core.sampler import SamplerConfig
from diffpose_core.skeleton import COCO17, H36M17

__all__ = ["COCO17", "H36M17", "Camera", "Heatmaps", "PoseEstimator", "PosePosterior", "PosePrior", "SamplerConfig"]
