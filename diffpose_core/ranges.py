# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Ranges of the fields of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping

Ranges = Mapping[str, tuple[float, float]]


def check_ranges(config: object, ranges: Ranges) -> None:
    """Compare fields with their ranges, both ends included.

    Raises:
        ValueError: naming the first field that lies outside or is not finite, and its value.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {value}")
