"""Metrics of probabilistic pose estimation."""

from diffpose_core.metrics.accuracy import (
    best_of,
    energy_score,
    mpjpe,
    pa_mpjpe,
    pose_energy_score,
    procrustes,
    residual_in_sigma,
    root_relative,
    weighted_mode,
)
from diffpose_core.metrics.body import bone_asymmetry, bone_length_error, bone_lengths
from diffpose_core.metrics.calibration import (
    covered,
    expected_calibration_error,
    inside_by_distance,
    rank_deviation,
    ranks,
)

__all__ = [
    "best_of",
    "bone_asymmetry",
    "bone_length_error",
    "bone_lengths",
    "covered",
    "energy_score",
    "expected_calibration_error",
    "inside_by_distance",
    "mpjpe",
    "pa_mpjpe",
    "pose_energy_score",
    "procrustes",
    "rank_deviation",
    "ranks",
    "residual_in_sigma",
    "root_relative",
    "weighted_mode",
]
