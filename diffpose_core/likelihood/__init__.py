# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Likelihoods p(y | x): anything that was observed, in one interface."""

from diffpose_core.likelihood.base import Likelihood, Linearised, RootGuess
from diffpose_core.likelihood.constraints import GroundPlane, LinearConstraint
from diffpose_core.likelihood.depth import DepthImage, JointDepth
from diffpose_core.likelihood.heatmap import HeatmapLikelihood
from diffpose_core.likelihood.hidden import HiddenJoints
from diffpose_core.likelihood.joints import KnownJoints
from diffpose_core.likelihood.lengths import KnownLengths
from diffpose_core.likelihood.previous import PreviousPosterior

__all__ = [
    "DepthImage",
    "GroundPlane",
    "HeatmapLikelihood",
    "HiddenJoints",
    "JointDepth",
    "KnownJoints",
    "KnownLengths",
    "Likelihood",
    "LinearConstraint",
    "Linearised",
    "PreviousPosterior",
    "RootGuess",
]
