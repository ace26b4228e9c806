# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one table of every graph: arguments, executables, parameters, remaps.

The launch files and the ``diffpose`` command both read it. It imports neither ROS nor launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from diffpose_ros import middleware
from diffpose_ros.interfaces import enclave
from diffpose_ros.parameters import DiffusionParameters, FusionParameters, Parameters

PACKAGE = "diffpose"
RESPAWN_DELAY_S = 1.0
Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True)
class Argument:
    """One ``name:=value`` of the command line."""

    name: str
    default: str
    doc: str
    choices: tuple[str, ...] = ()


def _as_parameter(kind: type[Parameters], name: str) -> Argument:
    """Return the argument that sets a parameter where it is given."""
    doc = next(item.metadata["doc"] for item in fields(kind) if item.name == name)
    return Argument(name, "", f"{doc} Empty: as in the parameter file.")


_COMMON = (
    Argument("namespace", "", "Namespace of all nodes and topics."),
    Argument("params_file", "", "Parameter file; empty: the package's config/estimator.yaml."),
    _as_parameter(DiffusionParameters, "num_hypotheses"),
    _as_parameter(DiffusionParameters, "device"),
    Argument("rviz", "false", "Start RViz on the results.", ("true", "false")),
    Argument("tf", "false", "Publish the mean skeletons as TF frames (docs/outputs.md).", ("true", "false")),
    Argument("humans", "false", "Publish the persons as bodies of REP 155; needs hri_msgs.", ("true", "false")),
    Argument("detections", "false", "Publish the persons as detections of vision_msgs.", ("true", "false")),
    Argument("use_sim_time", "", "Take the time from /clock. Empty: as in the parameter file.", ("true", "false", "")),
    Argument("respawn", "false", "Start a node again, a second after it ended by itself.", ("true", "false")),
    Argument("log_level", "info", "Log level of the nodes.", ("debug", "info", "warn", "error", "fatal")),
)
_ESTIMATOR = (
    *_COMMON,
    Argument("image_topic", "image_raw", "Topic of the images."),
    Argument("camera_info_topic", "camera_info", "Topic of their calibration, with the same stamps."),
    Argument("depth_topic", "", "Topic of depth images aligned to the images; empty: as in the parameter file."),
    Argument("source", "", "Image, folder, video or webcam to run the camera node on; empty: no camera node."),
    Argument("camera_frame", "", "Frame of the source; empty: as in the parameter file, in a namespace its own."),
    Argument("target_frame", "", "Frame of the results; empty: as in the parameter file, else the camera's."),
    Argument("fixed_frame", "", "Fixed frame of RViz; empty: that of the source's camera, else rviz/estimator.rviz's."),
)
_FUSION = (
    *_COMMON,
    Argument("cameras", "left,right", "Names of the cameras, which are their namespaces."),
    Argument("image_topic", "image_raw", "Topic of the images within the namespace of every camera."),
    Argument("camera_info_topic", "camera_info", "Topic of their calibration, likewise."),
    Argument("depth_topic", "", "Topic of aligned depth images, likewise; empty: as in the parameter file."),
    _as_parameter(FusionParameters, "target_frame"),
    _as_parameter(FusionParameters, "extrinsics_file"),
)
GRAPHS = {"estimator": _ESTIMATOR, "fusion": _FUSION}
"""Arguments by graph: of one camera, of several."""


@dataclass(frozen=True)
class NodeEntry:
    """One process of the graph."""

    executable: str
    namespace: str
    params_file: str
    parameters: dict[str, Value] = field(default_factory=dict)
    remaps: tuple[tuple[str, str], ...] = ()
    log_level: str = "info"

    @property
    def name(self) -> str:
        """Namespace and executable: no other process of the graph has both."""
        return f"{self.namespace.strip('/')}/{self.executable}".lstrip("/")

    def ros_arguments(self) -> list[str]:
        """Return the arguments of ``--ros-args`` for this process."""
        args = ["--ros-args", "--log-level", self.log_level, "--params-file", self.params_file]
        args += ["--enclave", enclave(self.namespace, self.executable)]
        if self.namespace:
            args += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for name, value in self.parameters.items():
            args += ["-p", f"{name}:={_yaml(value)}"]
        for old, new in self.remaps:
            args += ["-r", f"{old}:={new}"]
        return args


def _yaml(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(v) for v in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_arguments(values: Mapping[str, str], graph: str = "estimator") -> dict[str, str]:
    """Return all arguments of a graph, with the defaults where none is given.

    Raises:
        ValueError: naming an argument that does not exist or has a value it cannot have.
    """
    known = {a.name: a for a in GRAPHS[graph]}
    for name in values:
        if name not in known:
            raise ValueError(f"there is no argument {name!r}; there are {', '.join(known)}")
    result = {name: values.get(name, a.default) for name, a in known.items()}
    for name, argument in known.items():
        value = result[name]
        if argument.choices and value not in argument.choices:
            raise ValueError(f"argument {name} must be one of {', '.join(argument.choices)}, got {value!r}")
    hypotheses = result["num_hypotheses"]
    if hypotheses:
        if not hypotheses.isdecimal():
            raise ValueError(f"argument num_hypotheses must be a positive number, got {hypotheses!r}")
        DiffusionParameters(num_hypotheses=int(hypotheses))  # raises where it is out of the parameter's range
    return result


def nodes(values: Mapping[str, str], share: Path, graph: str = "estimator") -> list[NodeEntry]:
    """Return the processes for these arguments; ``share`` is the package's share folder.

    Raises:
        ValueError: as :func:`check_arguments`.
    """
    args = check_arguments(values, graph)
    params_file = args["params_file"] or str(share / "config" / "estimator.yaml")
    if not Path(params_file).is_file():
        raise ValueError(f"argument params_file: there is no file {params_file}")
    clock: dict[str, Value] = {"use_sim_time": args["use_sim_time"] == "true"} if args["use_sim_time"] else {}
    table = _fusion(args) if graph == "fusion" else _estimator(args)
    return [
        NodeEntry(name, namespace, params_file, clock | parameters, remaps, args["log_level"])
        for name, namespace, parameters, remaps in table
    ]


Remaps = tuple[tuple[str, str], ...]
Row = tuple[str, str, dict[str, Value], Remaps]


def _estimator(args: Mapping[str, str]) -> list[Row]:
    namespace, remaps = args["namespace"], _image_topics(args)
    depth: Remaps = (("depth/image", args["depth_topic"]),) if args["depth_topic"] else ()
    table: list[Row] = [
        ("detector_node", namespace, _given(args, "device"), remaps),
        ("diffusion_node", namespace, _inference(args) | _given(args, "target_frame"), depth),
        ("marker_node", namespace, {}, ()),
        *_bridge(args, namespace, use_heatmaps=True),
    ]
    if source := args["source"]:
        if "://" not in source and Path(source).exists():
            source = str(Path(source).resolve())
        frame: dict[str, Value] = {"frame_id": camera_frame(args)} if namespace or args["camera_frame"] else {}
        table.append(("camera_node", namespace, {"source": source} | frame, remaps))
    return table


def _fusion(args: Mapping[str, str]) -> list[Row]:
    namespace = args["namespace"].strip("/")
    cameras = tuple(name.strip() for name in args["cameras"].split(","))
    if not all(cameras):
        raise ValueError(f"argument cameras must be names with commas between them, got {args['cameras']!r}")
    if len(set(cameras)) != len(cameras):
        raise ValueError(f"argument cameras must be different names, got {args['cameras']!r}")
    table: list[Row] = [
        ("detector_node", f"{namespace}/{name}".lstrip("/"), _given(args, "device"), _image_topics(args))
        for name in cameras
    ]
    depth: Remaps = ()
    if topic := args["depth_topic"]:
        depth = tuple((f"{name}/depth/image", topic if topic[0] == "/" else f"{name}/{topic}") for name in cameras)
    where = _given(args, "target_frame", "extrinsics_file")
    if file := args["extrinsics_file"]:
        where["extrinsics_file"] = str(Path(file).resolve())
    table.append(("fusion_node", namespace, _inference(args) | where | {"cameras": cameras}, depth))
    table.append(("marker_node", namespace, {}, ()))
    return [*table, *_bridge(args, namespace, use_heatmaps=False)]


def _bridge(args: Mapping[str, str], namespace: str, use_heatmaps: bool) -> list[Row]:
    """Return the bridge node if any of its outputs is wanted."""
    wanted: dict[str, Value] = {
        f"publish_{name}": True for name in ("tf", "humans", "detections") if args[name] == "true"
    }
    return [("bridge_node", namespace, wanted | {"use_heatmaps": use_heatmaps}, ())] if wanted else []


def frame_prefix(namespace: str) -> str:
    """Return what the frames of the cameras in a namespace begin with, so that those of two cameras differ."""
    return "_".join([*namespace.strip("/").split("/"), ""]).lstrip("_")


def camera_frame(args: Mapping[str, str]) -> str:
    """Return the optical frame of the package's own camera."""
    return args["camera_frame"] or f"{frame_prefix(args['namespace'])}camera_optical_frame"


def _given(args: Mapping[str, str], *names: str) -> dict[str, Value]:
    return {name: args[name] for name in names if args[name]}


def _image_topics(args: Mapping[str, str]) -> Remaps:
    return (("image_raw", args["image_topic"]), ("camera_info", args["camera_info_topic"]))


def _inference(args: Mapping[str, str]) -> dict[str, Value]:
    """Return the parameters of the node that infers."""
    result = _given(args, "device")
    if args["num_hypotheses"]:
        result["num_hypotheses"] = int(args["num_hypotheses"])
    if args["depth_topic"]:
        result["use_depth"] = True
    return result


def environment(share: Path, current: Mapping[str, str]) -> dict[str, str]:
    """Return the variables the processes need beside the current ones; what the user has set is left alone."""
    wanted = {
        # Without them most best-effort images are lost.
        **middleware.settings(share),
        # Idle threads of one network must not spin on the cores of the other.
        "OMP_WAIT_POLICY": "PASSIVE",
        # A network's large arrays are made anew for every frame; memory that goes back to the system each time is
        # fetched again page by page, a fifth of the time.
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        # One heap for all threads: with one each, every thread's own grows to its own largest.
        "MALLOC_ARENA_MAX": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {name: value for name, value in wanted.items() if name not in current}
