"""Starts the estimator: detector, diffusion and marker nodes, and on request a camera node and RViz."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from diffpose_ros.graph import ARGUMENTS, PACKAGE, environment, nodes
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

# Turns the optical frame (z forward) into the frame of a camera's body (x forward, z up), REP 103.
OPTICAL = ["--roll", "-1.5707963", "--pitch", "0", "--yaw", "-1.5707963"]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes for the arguments of this launch."""
    values = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
    share = Path(get_package_share_directory(PACKAGE))
    actions: list[LaunchDescriptionEntity] = [
        SetEnvironmentVariable(name, value) for name, value in environment(share, os.environ).items()
    ]
    entries = nodes(values, share)
    if values["rviz"] == "true":  # first, so that nothing runs yet if RViz is not installed
        frame = ["-f", values["fixed_frame"]] if values["fixed_frame"] else []
        actions.append(
            Node(
                package="rviz2", executable="rviz2", namespace=values["namespace"],
                arguments=["-d", str(share / "rviz" / "estimator.rviz"), *frame],
                parameters=[{"use_sim_time": values["use_sim_time"] == "true"}],
                remappings=[("image_raw", values["image_topic"])],
            )
        )  # fmt: skip
        if values["source"]:  # nobody else says where our own camera is
            frames = ["--frame-id", "camera_link", "--child-frame-id", "camera_optical_frame"]
            actions.append(
                Node(package="tf2_ros", executable="static_transform_publisher", arguments=[*OPTICAL, *frames])
            )
    for entry in entries:
        actions.append(
            Node(
                package=PACKAGE, executable=entry.executable, namespace=entry.namespace, output="screen",
                parameters=[entry.params_file, entry.parameters], remappings=entry.remaps,
                arguments=["--ros-args", "--log-level", entry.log_level],
            )
        )  # fmt: skip
    return actions


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments of the graph's table."""
    declared = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.doc, choices=list(a.choices) or None)
        for a in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
