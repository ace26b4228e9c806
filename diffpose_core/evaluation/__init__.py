# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Evaluation by named protocols: which frames, from which 2D input, scored how, reported beside what."""

from diffpose_core.evaluation.frames import FramePlan
from diffpose_core.evaluation.inputs import CocoKeypoints, DetectedKeypoints, Input, PreparedKeypoints, TrueKeypoints
from diffpose_core.evaluation.protocol import PROTOCOLS, Protocol
from diffpose_core.evaluation.published import PUBLISHED
from diffpose_core.evaluation.report import HEAD, Conditions, latex_table, markdown, rows
from diffpose_core.evaluation.run import Knowledge, score_batches
from diffpose_core.evaluation.scores import FrameScores, summarise

__all__ = [
    "HEAD",
    "PROTOCOLS",
    "PUBLISHED",
    "CocoKeypoints",
    "Conditions",
    "DetectedKeypoints",
    "FramePlan",
    "FrameScores",
    "Input",
    "Knowledge",
    "PreparedKeypoints",
    "Protocol",
    "TrueKeypoints",
    "latex_table",
    "markdown",
    "rows",
    "score_batches",
    "summarise",
]
