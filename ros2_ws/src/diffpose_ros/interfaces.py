# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Topics and services of every node: one table, from which docs/nodes.md and the SROS2 policy are generated.

``python -m diffpose_ros.interfaces`` prints ``config/sros2_policy.xml``; with ``--docs`` it prints ``docs/nodes.md``.
A test compares the table with the running nodes. This module imports no ROS.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

CAMERAS = ("left", "right")
"""Of the fusion graph, as its parameters have them."""
CAMERA, BODY = "<camera>", "<id>"
"""Parts of names: every camera's namespace; a body's id."""


@dataclass(frozen=True)
class Endpoint:
    """One topic or service.

    Attributes:
        name: relative to the namespace of the node; from / absolute; from ~/ below the node.
        kind: its type.
        doc: what it is, for the document.
        when: what a parameter must be for it; a name alone: true; empty: always.
    """

    name: str
    kind: str
    doc: str
    when: str = ""


@dataclass(frozen=True)
class Interface:
    """What a node has beside what all have."""

    node: str
    doc: str
    subscribed: tuple[Endpoint, ...] = ()
    published: tuple[Endpoint, ...] = ()
    services: tuple[Endpoint, ...] = ()


USE_SIM_TIME, USE_DEPTH, TF_EXTRINSICS = "use_sim_time", "use_depth", "extrinsics_file empty"
TARGET_FRAME = "target_frame set"
TF, HUMANS, DETECTIONS = "publish_tf", "publish_humans", "publish_detections"
RAW, COMPRESSED = "image_transport raw", "image_transport compressed"
ESTIMATED = (
    Endpoint("human_pose3d/hypotheses", "diffpose/msg/Hypotheses", "Weighted skeletons of all persons."),
    Endpoint(
        "human_pose3d/skeleton", "diffpose/msg/SkeletonDefinition", "Names, parents, sides of the joints; latched."
    ),
)
COMPLETE = Endpoint("human_pose3d/complete", "diffpose/srv/Complete", "Completes partly known poses; while active.")
HYPOTHESES = Endpoint("human_pose3d/hypotheses", "diffpose/msg/Hypotheses", "What is converted.")

COMMON = Interface(
    "", "",
    subscribed=(Endpoint("/clock", "rosgraph_msgs/msg/Clock", "Time.", USE_SIM_TIME),),
    published=(
        Endpoint("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "State, counters, latency; every second."),
        Endpoint("~/transition_event", "lifecycle_msgs/msg/TransitionEvent", "Changes of the node's state."),
        Endpoint("/parameter_events", "rcl_interfaces/msg/ParameterEvent", "Changes of parameters."),
        Endpoint("/rosout", "rcl_interfaces/msg/Log", "The log."),
    ),
    services=(
        Endpoint("~/change_state", "lifecycle_msgs/srv/ChangeState", "Configure, activate, deactivate, clean up."),
        Endpoint("~/get_state", "lifecycle_msgs/srv/GetState", "The state."),
        Endpoint("~/get_available_states", "lifecycle_msgs/srv/GetAvailableStates", "All states."),
        Endpoint("~/get_available_transitions", "lifecycle_msgs/srv/GetAvailableTransitions", "Those of this state."),
        Endpoint("~/get_transition_graph", "lifecycle_msgs/srv/GetAvailableTransitions", "All transitions."),
        Endpoint("~/describe_parameters", "rcl_interfaces/srv/DescribeParameters", "Ranges and meanings."),
        Endpoint("~/get_parameter_types", "rcl_interfaces/srv/GetParameterTypes", "Types."),
        Endpoint("~/get_parameters", "rcl_interfaces/srv/GetParameters", "Values."),
        Endpoint("~/list_parameters", "rcl_interfaces/srv/ListParameters", "Names."),
        Endpoint("~/set_parameters", "rcl_interfaces/srv/SetParameters", "Changes; refused with the reason."),
        Endpoint("~/set_parameters_atomically", "rcl_interfaces/srv/SetParametersAtomically", "All or none."),
        Endpoint(
            "~/get_type_description", "type_description_interfaces/srv/GetTypeDescription",
            "Definitions of messages; not in Humble.",
        ),
    ),
)  # fmt: skip
"""What every node has."""

ALL = (
    Interface(
        "camera_node", "Publishes image files, a video or a webcam; silent while nobody listens.",
        published=(
            Endpoint("image_raw", "sensor_msgs/msg/Image", "Frames, bgr8."),
            Endpoint("camera_info", "sensor_msgs/msg/CameraInfo", "Their calibration, with the same stamps."),
        ),
    ),
    Interface(
        "detector_node", "Finds persons in images and says where their joints may be.",
        subscribed=(
            Endpoint("image_raw", "sensor_msgs/msg/Image", "Images.", RAW),
            Endpoint("image_raw/compressed", "sensor_msgs/msg/CompressedImage", "JPEG or PNG.", COMPRESSED),
            Endpoint("camera_info", "sensor_msgs/msg/CameraInfo", "[Their calibration](input.md#calibrations)."),
            Endpoint("human_pose2d/done", "std_msgs/msg/Header", "Of heatmaps that are [done with](input.md#pace)."),
        ),
        published=(
            Endpoint("human_pose2d/heatmaps", "diffpose/msg/Heatmaps", "One heatmap per person and joint."),
        ),
    ),
    Interface(
        "diffusion_node", "Infers 3D skeletons from the heatmaps of one camera.",
        subscribed=(
            Endpoint("human_pose2d/heatmaps", "diffpose/msg/Heatmaps", "What is seen."),
            Endpoint("depth/image", "sensor_msgs/msg/Image", "Depth aligned to the image: 16UC1, 32FC1.", USE_DEPTH),
            Endpoint("/tf", "tf2_msgs/msg/TFMessage", "Where the camera is.", TARGET_FRAME),
            Endpoint("/tf_static", "tf2_msgs/msg/TFMessage", "The same, of what does not move.", TARGET_FRAME),
        ),
        published=(
            *ESTIMATED, Endpoint("human_pose2d/done", "std_msgs/msg/Header", "Tells the detector it may go on."),
        ),
        services=(COMPLETE,),
    ),
    Interface(
        "fusion_node", "Infers 3D skeletons from the heatmaps of several cameras.",
        subscribed=(
            Endpoint(f"{CAMERA}/human_pose2d/heatmaps", "diffpose/msg/Heatmaps", "What each camera sees."),
            Endpoint(f"{CAMERA}/depth/image", "sensor_msgs/msg/Image", "Depth aligned to its image.", USE_DEPTH),
            Endpoint("/tf", "tf2_msgs/msg/TFMessage", "Where the cameras are.", TF_EXTRINSICS),
            Endpoint("/tf_static", "tf2_msgs/msg/TFMessage", "The same, of what does not move.", TF_EXTRINSICS),
        ),
        published=(
            *ESTIMATED,
            Endpoint(f"{CAMERA}/human_pose2d/done", "std_msgs/msg/Header", "Tells the detectors they may go on."),
        ),
        services=(COMPLETE,),
    ),
    Interface(
        "marker_node", "Draws skeletons and ellipsoids for RViz.",
        subscribed=(HYPOTHESES,),
        published=(Endpoint("human_pose3d/markers", "visualization_msgs/msg/MarkerArray", "What RViz shows."),),
    ),
    Interface(
        "bridge_node", "Speaks to packages that know no hypotheses ([outputs.md](outputs.md)).",
        subscribed=(
            HYPOTHESES,
            Endpoint(
                "human_pose2d/heatmaps", "diffpose/msg/Heatmaps", "What is of the image; with `use_heatmaps` only.",
                f"{HUMANS} or {DETECTIONS}",
            ),
        ),
        published=(
            Endpoint("/tf", "tf2_msgs/msg/TFMessage", "Mean skeletons.", TF),
            Endpoint("/humans/bodies/tracked", "hri_msgs/msg/IdsList", "Ids of the bodies.", HUMANS),
            Endpoint(f"/humans/bodies/{BODY}/joint_states", "sensor_msgs/msg/JointState", "Angles.", HUMANS),
            Endpoint(f"/humans/bodies/{BODY}/roi", "hri_msgs/msg/NormalizedRegionOfInterest2D", "The box.", HUMANS),
            Endpoint(f"/humans/bodies/{BODY}/skeleton2d", "hri_msgs/msg/Skeleton2D", "Keypoints.", HUMANS),
            Endpoint("human_pose2d/detections", "vision_msgs/msg/Detection2DArray", "Boxes.", DETECTIONS),
            Endpoint("human_pose3d/detections", "vision_msgs/msg/Detection3DArray", "Boxes in space.", DETECTIONS),
        ),
    ),
)  # fmt: skip
BY_NODE = {interface.node: interface for interface in ALL}
PLACES = (
    *(("", interface.node) for interface in ALL),
    *((camera, "detector_node") for camera in CAMERAS),
)
"""Namespace and node of everything that the two graphs start, in the namespace / and with their default cameras."""
SIDES = ("subscribed", "published", "services")


def endpoints(node: str, side: str) -> tuple[Endpoint, ...]:
    """Return what a node has on one of :data:`SIDES`, with what all nodes have."""
    own: tuple[Endpoint, ...] = getattr(BY_NODE[node], side)
    common: tuple[Endpoint, ...] = getattr(COMMON, side)
    return own + common


def names(endpoint: Endpoint) -> Iterator[str]:
    """Yield the names of an endpoint: one for every camera, ``*`` for the ids of bodies."""
    for camera in CAMERAS if CAMERA in endpoint.name else ("",):
        yield endpoint.name.replace(CAMERA, camera).replace(BODY, "*")


def enclave(namespace: str, node: str) -> str:
    """Return the SROS2 enclave of a process."""
    return "/".join(("/diffpose", *filter(None, namespace.split("/")), node))


def to_policy() -> str:
    """Return the SROS2 policy: every node may do what the table says, and nothing else.

    The format is ``policy.xsd`` 0.2.0 of ros2/sros2.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<!-- All that each node may do. Generated by `python -m diffpose_ros.interfaces`; see SECURITY.md. -->",
        '<policy version="0.2.0">', "  <enclaves>",
    ]  # fmt: skip
    for namespace, node in PLACES:
        lines += [
            f'    <enclave path="{enclave(namespace, node)}">', "      <profiles>",
            f'        <profile ns="/{namespace}" node="{node}">',
        ]  # fmt: skip
        for side, group, single, right in (
            ("subscribed", "topics", "topic", "subscribe"), ("published", "topics", "topic", "publish"),
            ("services", "services", "service", "reply"),
        ):  # fmt: skip
            lines.append(f'          <{group} {right}="ALLOW">')
            for endpoint in endpoints(node, side):
                lines += [f"            <{single}>{name}</{single}>" for name in names(endpoint)]
            lines.append(f"          </{group}>")
        lines += ["        </profile>", "      </profiles>", "    </enclave>"]
    return "\n".join([*lines, "  </enclaves>", "</policy>", ""])


HEAD = """# Nodes

Generated by `python -m diffpose_ros.interfaces --docs`; a test compares it with the running nodes. Names are relative
to the node's namespace unless they begin with `/`; the image topics are launch arguments. Messages: [msg](../msg),
[srv](../srv). Lives of nodes: [lifecycle.md](lifecycle.md). What is published when input stops or makes no sense:
[fail_safe.md](fail_safe.md).

No node calls a service or an action. Inputs are subscribed, and the completion is served, while a node is active; in
every other state it does what [all nodes](#all-nodes) do, and no more, but for TF: that is listened to from configuring
on, so that transforms are known when the first image comes.
"""


def to_markdown() -> str:
    """Return the document."""
    lines = [HEAD]
    for interface in ALL:
        lines += [f"## {interface.node}", "", interface.doc, ""]
        lines += _tables(interface)
        lines += [f"**Parameters**: [parameters.md](parameters.md#{interface.node}).", ""]
    lines += ["## All nodes", "", *_tables(COMMON)]
    return "\n".join(lines).rstrip() + "\n"


def _tables(interface: Interface) -> list[str]:
    lines = []
    for side in SIDES:
        if rows := getattr(interface, side):
            lines += [f"**{side.capitalize()}**", "", "| name | type | what | when |", "|---|---|---|---|"]
            for e in rows:
                package, _, kind = e.kind.split("/")
                when = f"`{e.when}`" if e.when else ""
                lines.append(f"| `{e.name}` | `{package}/{kind}` | {e.doc} | {when} |")
            lines.append("")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the SROS2 policy or the document of the nodes.")
    parser.add_argument("--docs", action="store_true", help="print the document")
    print(to_markdown() if parser.parse_args().docs else to_policy(), end="")
