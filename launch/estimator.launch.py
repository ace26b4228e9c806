# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Starts the estimator: detector, diffusion and marker node; on request camera node, bridge node and RViz."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launch_ros.actions import Node

from diffpose_ros.graph import camera_frame, frame_prefix
from diffpose_ros.launching import description, rviz
from launch import LaunchDescription, LaunchDescriptionEntity

# Turns the optical frame (z forward) into the frame of a camera's body (x forward, z up), REP 103.
OPTICAL = ["--roll", "-1.5707963", "--pitch", "0", "--yaw", "-1.5707963"]


def display(values: Mapping[str, str], share: Path) -> list[LaunchDescriptionEntity]:
    """Return RViz, and the position of our own camera."""
    if not values["source"]:
        return [rviz(values, share, "estimator", values["fixed_frame"], values["image_topic"])]
    link = f"{frame_prefix(values['namespace'])}camera_link"
    # Nobody else says where the package's own camera is.
    frames = ["--frame-id", link, "--child-frame-id", camera_frame(values)]
    return [
        rviz(values, share, "estimator", values["fixed_frame"] or link, values["image_topic"]),
        Node(
            package="tf2_ros", executable="static_transform_publisher", namespace=values["namespace"],
            arguments=[*OPTICAL, *frames],
        ),
    ]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments of the graph's table."""
    return description("estimator", display)
