# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What others published, with what each was allowed to know.

Conditions are those of the authors' released code where there is any. A figure counts as quoted unless it was read in
its authors' own abstract, table, repository or result file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of somebody's table.

    Attributes:
        method: its name.
        hypotheses: how many were drawn; the best by the truth is scored if more than one.
        figures: MPJPE, PA-MPJPE, CPS in mm; PCK, AUC from 0 to 1.
        quoted: names of the figures that were read in later publications only.
        input_2d: where keypoints came from.
        root: ``known``, ``unknown``, ``-`` where poses are relative to it, ``?`` if not found out.
        intrinsics: ``known``, ``unknown``, ``-`` where no camera is used, ``?`` if not found out.
        learnt_from: what it was trained on.
        source: arXiv number or repository, and how it scores where that is not as the table's first protocol does.
    """

    method: str
    hypotheses: int
    figures: Mapping[str, float]
    quoted: tuple[str, ...]
    input_2d: str
    root: str
    intrinsics: str
    learnt_from: str
    source: str


_ALL = ("MPJPE", "PA-MPJPE", "PCK", "AUC", "CPS")
_HRNET = "HRNet, tuned"
_HOURGLASS = "hourglass, tuned"
_PAIRS = "2D-3D pairs"
POSES = "3D poses"


def _lifter(
    method: str, hypotheses: int, figures: Mapping[str, float], source: str, quoted: tuple[str, ...] = _ALL,
    input_2d: str = _HRNET,
) -> Published:  # fmt: skip
    """Return a row of a method that learns root-relative poses from pairs and knows no camera."""
    return Published(method, hypotheses, figures, quoted, input_2d, "-", "-", _PAIRS, source)


def _zedo(
    hypotheses: int, figures: Mapping[str, float], quoted: tuple[str, ...], source: str, method: str = "ZeDO",
    input_2d: str = "true",
) -> Published:  # fmt: skip
    return Published(method, hypotheses, figures, quoted, input_2d, "unknown", "known", POSES, source)


_CGNF = "2210.11179, README of sinzlab/cGNF; mean over frames"
_BY_SEQUENCE = "{}; mean over the six sequences, number of hypotheses not found out"
_ZEDO_README = "2307.03833, README of ipl-uw/ZeDO-Release"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "h36m": (
        _zedo(
            50, {"MPJPE": 51.4, "PA-MPJPE": 42.1}, ("PA-MPJPE",), "2307.03833, abstract; every 640th frame",
            input_2d="true or hourglass",
        ),
        Published(
            "GFPose", 200, {"MPJPE": 35.6, "PA-MPJPE": 30.5}, _ALL, _HOURGLASS, "known", "known", _PAIRS,
            "2212.08641; every 640th frame",
        ),
        Published(
            "GFPose", 200, {"MPJPE": 16.9}, _ALL, "true", "known", "known", _PAIRS, "2212.08641; every 640th frame"
        ),
        _lifter("Wehrbein et al.", 200, {"MPJPE": 44.3, "PA-MPJPE": 32.4}, "2107.13788"),
        _lifter("DiffPose (Holmquist & Wandt)", 200, {"MPJPE": 43.3, "PA-MPJPE": 32.0}, "2211.16487"),
        _lifter(
            "DiffPose, released weights, mean of 5", 200, {"PA-MPJPE": 30.8}, "README of bastianwandt/DiffPose", ()
        ),
        _lifter("Li & Lee", 5, {"MPJPE": 52.7, "PA-MPJPE": 42.6}, "1904.05547; every frame", input_2d="hourglass"),
        _lifter("Sharma et al.", 200, {"MPJPE": 46.8}, "1904.01324", input_2d=_HOURGLASS),
        _lifter("cGNF", 200, {"MPJPE": 53.0}, _CGNF, (), "HRNet"),
        _lifter("cGNF xlarge", 200, {"MPJPE": 48.5}, _CGNF, (), "HRNet"),
        _lifter("FMPose", 200, {"MPJPE": 41.7, "PA-MPJPE": 30.6}, "2601.16763"),
    ),
    "h36ma": (
        _lifter(
            "Li & Lee", 5, {"MPJPE": 81.1, "PA-MPJPE": 66.0, "PCK": 0.857, "CPS": 119.9}, "1904.05547",
            input_2d="hourglass",
        ),
        _lifter(
            "Sharma et al.", 200, {"MPJPE": 78.3, "PA-MPJPE": 61.1, "PCK": 0.885, "CPS": 136.4}, "1904.01324",
            input_2d=_HOURGLASS,
        ),
        _lifter("Wehrbein et al.", 200, {"MPJPE": 71.0, "PA-MPJPE": 54.2, "PCK": 0.934, "CPS": 171.0}, "2107.13788"),
        _lifter(
            "DiffPose (Holmquist & Wandt)", 200, {"MPJPE": 66.5, "PA-MPJPE": 48.5, "PCK": 0.943, "CPS": 194.2},
            "2211.16487",
        ),
        _lifter(
            "DiffPose, released weights, mean of 5", 200, {"PA-MPJPE": 46.7}, "README of bastianwandt/DiffPose", ()
        ),
        _lifter("FMPose", 200, {"MPJPE": 60.0, "PA-MPJPE": 47.5, "PCK": 0.960, "CPS": 187.6}, "2601.16763"),
    ),
    "3dhp": (
        _zedo(
            50, {"MPJPE": 55.2, "AUC": 0.656}, _ALL,
            "2307.03833; AUC of 17 joints and of the hypothesis of least MPJPE, mean over activities",
        ),
        Published("GFPose", 200, {"PCK": 0.869}, _ALL, "?", "?", "?", _PAIRS, "2212.08641"),
        _lifter("Wehrbein et al.", 200, {"PCK": 0.843}, _BY_SEQUENCE.format("2107.13788")),
        _lifter("DiffPose (Holmquist & Wandt)", 200, {"PCK": 0.846}, _BY_SEQUENCE.format("2211.16487")),
        Published(
            "D3DP, P-Best", 20, {"MPJPE": 29.6, "PCK": 0.979, "AUC": 0.783}, (), "true", "-", "-", _PAIRS,
            "2303.11579, result files of paTRICK-swk/D3DP; best of a batch of clips, mean over the six sequences",
        ),
    ),
    "3dpw-17": (
        _zedo(1, {"MPJPE": 69.7, "PA-MPJPE": 40.3}, (), _ZEDO_README),
        _zedo(1, {"MPJPE": 68.3, "PA-MPJPE": 38.4}, (), _ZEDO_README, "ZeDO, more training data"),
        _zedo(50, {"MPJPE": 54.7, "PA-MPJPE": 30.6}, (), _ZEDO_README, "ZeDO, more training data"),
    ),
    "3dpw-14": (
        _zedo(1, {"MPJPE": 76.6, "PA-MPJPE": 43.1}, (), _ZEDO_README),
        Published(
            "ProHMR", 100, {"MPJPE": 81.5, "PA-MPJPE": 48.2}, _ALL, "image", "-", "-", "image-3D pairs",
            "2108.11944; 14 joints of another regressor"
        ),
    ),
}  # fmt: skip
"""By table: ``Protocol.table`` says which one a protocol belongs beside."""
