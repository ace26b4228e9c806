# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Still images with one and with four people, of a camera's usual sizes, cut from the detector's photograph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from diffpose_core.detector import demo_photographs

CROPS = {1: (slice(380, 900), slice(215, 350)), 4: (slice(370, 930), slice(0, 810))}
"""Rows and columns of bus.jpg by the number of people that they show."""
GREY = 114


def scene(persons: int, width: int, height: int, folder: Path) -> Path:
    """Write an image of so many people, enlarged or reduced to fit, and return its path."""
    photograph = cv2.imread(str(demo_photographs()["bus"]))
    if photograph is None:
        raise ValueError("the detector's photograph bus.jpg cannot be read")
    part = photograph[CROPS[persons]]
    factor = min(width / part.shape[1], height / part.shape[0])
    part = cv2.resize(part, (round(factor * part.shape[1]), round(factor * part.shape[0])))
    image = np.full((height, width, 3), GREY, np.uint8)
    top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
    image[top : top + part.shape[0], left : left + part.shape[1]] = part
    path = folder / f"{persons}_{width}x{height}.png"
    cv2.imwrite(str(path), image)
    return path
