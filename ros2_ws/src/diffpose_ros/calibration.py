# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Camera calibration files, as camera_calibration and camera_info_manager write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from diffpose_core import Camera


def load_calibration(path: str | Path) -> Camera:
    """Read a calibration YAML: the camera of the raw image, of any model that :class:`Camera` knows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the entry that is missing or wrong.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"calibration file {path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"calibration file {path} must hold a mapping, got {type(data).__name__}")
    try:
        matrix = _numbers(data, "camera_matrix", 9)
        distortion = _numbers(data, "distortion_coefficients", None)
        size = [_pixels(data, name) for name in ("image_width", "image_height")]
        model = str(data.get("distortion_model", "plumb_bob"))
        return Camera.from_matrix([matrix[:3], matrix[3:6], matrix[6:]], size[0], size[1], distortion, model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"calibration file {path}: {error}") from error


def _entry(data: dict[str, Any], name: str) -> Any:
    if name not in data:
        raise ValueError(f"{name} is missing")
    return data[name]


def _pixels(data: dict[str, Any], name: str) -> int:
    value = _entry(data, name)
    if type(value) is not int:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return value


def _numbers(data: dict[str, Any], name: str, count: int | None) -> list[float]:
    entry = _entry(data, name)
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), list):
        raise ValueError(f"{name} must hold a list `data`, got {entry!r}")
    values = [float(v) for v in entry["data"]]
    if count is not None and len(values) != count:
        raise ValueError(f"{name} must hold {count} numbers, got {len(values)}")
    return values
