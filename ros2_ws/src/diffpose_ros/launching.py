# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the launch files share. Needs ``launch`` and ``launch_ros``, which come with a ROS distribution."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from diffpose_ros.graph import GRAPHS, PACKAGE, RESPAWN_DELAY_S, environment, nodes
from diffpose_ros.interfaces import enclave
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

Display = Callable[[Mapping[str, str], Path], list[LaunchDescriptionEntity]]
"""Arguments of the launch and the package's share folder to what shows the results."""


def rviz(values: Mapping[str, str], share: Path, graph: str, fixed_frame: str, image_topic: str) -> Node:
    """Return RViz with the file of the graph; an empty frame is that of the file."""
    frame = ["-f", fixed_frame] if fixed_frame else []
    return Node(
        package="rviz2", executable="rviz2", namespace=values["namespace"],
        arguments=["-d", str(share / "rviz" / f"{graph}.rviz"), *frame],
        parameters=[{"use_sim_time": values["use_sim_time"] == "true"}] if values["use_sim_time"] else [],
        remappings=[("image_raw", image_topic)],
    )  # fmt: skip


def description(graph: str, display: Display) -> LaunchDescription:
    """Declare the arguments of a graph's table and start its processes; ``display`` is asked if RViz is wanted."""

    def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in GRAPHS[graph]}
        share = Path(get_package_share_directory(PACKAGE))
        actions: list[LaunchDescriptionEntity] = [
            SetEnvironmentVariable(name, value) for name, value in environment(share, os.environ).items()
        ]
        entries = nodes(values, share, graph)
        if values["rviz"] == "true":  # first, so that nothing runs yet if RViz is not installed
            actions += display(values, share)
        for entry in entries:
            actions.append(
                Node(
                    package=PACKAGE, executable=entry.executable, namespace=entry.namespace, output="screen",
                    parameters=[entry.params_file, entry.parameters], remappings=entry.remaps,
                    respawn=values["respawn"] == "true", respawn_delay=RESPAWN_DELAY_S,
                    arguments=[
                        "--ros-args", "--log-level", entry.log_level,
                        "--enclave", enclave(entry.namespace, entry.executable),
                    ],
                )
            )  # fmt: skip
        return actions

    declared = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.doc, choices=list(a.choices) or None)
        for a in GRAPHS[graph]
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
