"""Likelihoods p(y | x): anything that was observed, in one interface."""

from diffpose_core.likelihood.base import Likelihood, Linearised, RootGuess
from diffpose_core.likelihood.depth import DepthImage, JointDepth
from diffpose_core.likelihood.heatmap import HeatmapLikelihood
from diffpose_core.likelihood.joints import KnownJoints
from diffpose_core.likelihood.lengths import KnownLengths

__all__ = [
    "DepthImage",
    "HeatmapLikelihood",
    "JointDepth",
    "KnownJoints",
    "KnownLengths",
    "Likelihood",
    "Linearised",
    "RootGuess",
]
