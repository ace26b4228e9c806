"""Likelihoods p(y | x): anything that was observed, in one interface."""

from diffpose_core.likelihood.base import Likelihood, Linearised
from diffpose_core.likelihood.heatmap import HeatmapLikelihood
from diffpose_core.likelihood.joints import KnownJoints

__all__ = ["HeatmapLikelihood", "KnownJoints", "Likelihood", "Linearised"]
