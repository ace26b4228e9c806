# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Starts the estimator of several cameras: a detector for each, fusion and marker node; on request bridge, RViz."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffpose_ros.launching import description, rviz
from launch import LaunchDescription, LaunchDescriptionEntity


def display(values: Mapping[str, str], share: Path) -> list[LaunchDescriptionEntity]:
    """Return RViz with the image of the first camera."""
    image_topic = values["image_topic"]
    if not image_topic.startswith("/"):
        image_topic = f"{values['cameras'].split(',')[0].strip()}/{image_topic}"
    return [rviz(values, share, "fusion", values["target_frame"], image_topic)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments of the graph's table."""
    return description("fusion", display)
