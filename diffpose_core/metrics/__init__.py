# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Metrics of probabilistic pose estimation."""

from diffpose_core.metrics.accuracy import (
    auc,
    best_of,
    cps,
    energy_distance,
    energy_score,
    joint_errors,
    mpjpe,
    pa_mpjpe,
    pck,
    pose_energy_score,
    procrustes,
    residual_in_sigma,
    root_relative,
    weighted_mode,
)
from diffpose_core.metrics.body import bone_asymmetry, bone_length_error, bone_lengths
from diffpose_core.metrics.calibration import (
    chi_square_from_uniform,
    coverage,
    covered,
    expected_calibration_error,
    inside_by_distance,
    rank_deviation,
    rank_histogram,
    ranks,
)
from diffpose_core.metrics.discrimination import roc_auc
from diffpose_core.metrics.generation import frechet_distance, precision_recall_density_coverage
from diffpose_core.metrics.uncertainty import bootstrap_interval

__all__ = [
    "auc",
    "best_of",
    "bone_asymmetry",
    "bone_length_error",
    "bone_lengths",
    "bootstrap_interval",
    "chi_square_from_uniform",
    "coverage",
    "covered",
    "cps",
    "energy_distance",
    "energy_score",
    "expected_calibration_error",
    "frechet_distance",
    "inside_by_distance",
    "joint_errors",
    "mpjpe",
    "pa_mpjpe",
    "pck",
    "pose_energy_score",
    "precision_recall_density_coverage",
    "procrustes",
    "rank_deviation",
    "rank_histogram",
    "ranks",
    "residual_in_sigma",
    "roc_auc",
    "root_relative",
    "weighted_mode",
]
