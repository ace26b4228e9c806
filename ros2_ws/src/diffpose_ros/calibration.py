# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Camera calibration files, as camera_calibration and camera_info_manager write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffpose_core import Camera
from diffpose_ros.yaml_files import entry, read_mapping


def load_calibration(path: str | Path) -> Camera:
    """Read a calibration YAML: the camera of the raw image, of any model that :class:`Camera` knows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the entry that is missing or wrong.
    """
    data = read_mapping(path, "calibration")
    try:
        matrix = _numbers(data, "camera_matrix", 9)
        distortion = _numbers(data, "distortion_coefficients", None)
        size = [_pixels(data, name) for name in ("image_width", "image_height")]
        model = str(data.get("distortion_model", "plumb_bob"))
        return Camera.from_matrix([matrix[:3], matrix[3:6], matrix[6:]], size[0], size[1], distortion, model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"calibration file {path}: {error}") from error


def _pixels(data: dict[str, Any], name: str) -> int:
    value = entry(data, name, object)
    if type(value) is not int:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return value


def _numbers(data: dict[str, Any], name: str, count: int | None) -> list[float]:
    values = [float(v) for v in entry(entry(data, name, dict), "data", list, f"{name}.")]
    if count is not None and len(values) != count:
        raise ValueError(f"{name} must hold {count} numbers, got {len(values)}")
    return values
