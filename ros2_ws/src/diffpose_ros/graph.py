"""The one table of the estimator's graph: arguments, executables, parameters, remaps.

``launch/estimator.launch.py`` and the ``diffpose`` command both read it. It imports neither ROS nor launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "diffpose"
Value = str | int | float | bool


@dataclass(frozen=True)
class Argument:
    """One ``name:=value`` of the command line."""

    name: str
    default: str
    doc: str
    choices: tuple[str, ...] = ()


ARGUMENTS = (
    Argument("namespace", "", "Namespace of all nodes and topics."),
    Argument("params_file", "", "Parameter file; empty: the package's config/estimator.yaml."),
    Argument("image_topic", "image_raw", "Topic of the images."),
    Argument("camera_info_topic", "camera_info", "Topic of their calibration, with the same stamps."),
    Argument("num_hypotheses", "", "Skeletons per person; empty: as in the parameter file."),
    Argument("device", "", "auto, cpu, cuda or cuda:N for both networks; empty: as in the parameter file."),
    Argument("source", "", "Image, folder, video or webcam to run the camera node on; empty: no camera node."),
    Argument("rviz", "false", "Start RViz on the results.", ("true", "false")),
    Argument("fixed_frame", "", "Fixed frame of RViz; empty: as in rviz/estimator.rviz."),
    Argument("use_sim_time", "false", "Take the time from /clock.", ("true", "false")),
    Argument("log_level", "info", "Log level of the nodes.", ("debug", "info", "warn", "error", "fatal")),
)


@dataclass(frozen=True)
class NodeEntry:
    """One process of the graph."""

    executable: str
    namespace: str
    params_file: str
    parameters: dict[str, Value] = field(default_factory=dict)
    remaps: tuple[tuple[str, str], ...] = ()
    log_level: str = "info"

    def ros_arguments(self) -> list[str]:
        """Return the arguments of ``--ros-args`` for this process."""
        args = ["--ros-args", "--log-level", self.log_level, "--params-file", self.params_file]
        if self.namespace:
            args += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for name, value in self.parameters.items():
            text = (
                str(value).lower()
                if isinstance(value, bool)
                else f"'{value}'"
                if isinstance(value, str)
                else str(value)
            )
            args += ["-p", f"{name}:={text}"]
        for old, new in self.remaps:
            args += ["-r", f"{old}:={new}"]
        return args


def check_arguments(values: Mapping[str, str]) -> dict[str, str]:
    """Return all arguments, with the defaults where none is given.

    Raises:
        ValueError: naming an argument that does not exist or has a value it cannot have.
    """
    known = {a.name: a for a in ARGUMENTS}
    for name in values:
        if name not in known:
            raise ValueError(f"there is no argument {name!r}; there are {', '.join(known)}")
    result = {a.name: values.get(a.name, a.default) for a in ARGUMENTS}
    for argument in ARGUMENTS:
        value = result[argument.name]
        if argument.choices and value not in argument.choices:
            raise ValueError(f"argument {argument.name} must be one of {', '.join(argument.choices)}, got {value!r}")
    hypotheses = result["num_hypotheses"]
    if hypotheses and not (hypotheses.isdecimal() and int(hypotheses) > 0):
        raise ValueError(f"argument num_hypotheses must be a positive number, got {hypotheses!r}")
    return result


def nodes(values: Mapping[str, str], share: Path) -> list[NodeEntry]:
    """Return the processes for these arguments; ``share`` is the package's share folder.

    Raises:
        ValueError: as :func:`check_arguments`.
    """
    args = check_arguments(values)
    params_file = args["params_file"] or str(share / "config" / "estimator.yaml")
    if not Path(params_file).is_file():
        raise ValueError(f"argument params_file: there is no file {params_file}")
    clock: dict[str, Value] = {"use_sim_time": args["use_sim_time"] == "true"}
    device: dict[str, Value] = {"device": args["device"]} if args["device"] else {}
    samples: dict[str, Value] = {}
    if args["num_hypotheses"]:
        samples = {"num_hypotheses": int(args["num_hypotheses"])}
    remaps = (("image_raw", args["image_topic"]), ("camera_info", args["camera_info_topic"]))
    table: list[tuple[str, dict[str, Value], tuple[tuple[str, str], ...]]] = [
        ("detector_node", device, remaps),
        ("diffusion_node", device | samples, ()),
        ("marker_node", {}, ()),
    ]
    if args["source"]:
        source = args["source"]
        if "://" not in source and Path(source).exists():
            source = str(Path(source).resolve())
        table.append(("camera_node", {"source": source}, remaps))
    return [
        NodeEntry(name, args["namespace"], params_file, clock | parameters, remap, args["log_level"])
        for name, parameters, remap in table
    ]


def environment(share: Path, current: Mapping[str, str]) -> dict[str, str]:
    """Return the variables the processes need beside the current ones; what the user has set is left alone."""
    wanted = {
        # A segment of shared memory that holds images; without it most best-effort images are lost.
        "FASTDDS_DEFAULT_PROFILES_FILE": str(share / "config" / "fastdds_shm.xml"),
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(share / "config" / "fastdds_shm.xml"),
        # Idle threads of one network must not spin on the cores of the other.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
    return {name: value for name, value in wanted.items() if name not in current}
