# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Parameters of every node: frozen dataclasses, from which the YAML and the table in the docs are generated.

``python -m diffpose_ros.parameters`` prints ``config/estimator.yaml``; with ``--docs`` it prints the table.
This module imports no ROS; ``ros_parameters`` declares them on a node.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, ClassVar

from diffpose_ros.pairing import MODES, PER_FRAME
from diffpose_ros.topic_health import OUTPUT, Expected

RELIABILITIES = ("best_effort", "reliable")
RAW, COMPRESSED = "raw", "compressed"
GUIDANCES = ("kalman", "gradient")
PRECISIONS = ("float32", "bfloat16")
MAX_PERSONS = 100
"""Of one image: as many as the detector offers to the tracker; memory grows with them."""


ANY_TIME, UNCONFIGURED, START = "any time", "unconfigured", "at start"
"""When a parameter can be set: the next input takes it; when the node is configured next; with the process.

QoS is of the last kind: rclpy declares overrides when a topic is first subscribed, and holds on to them.
"""


def _parameter(
    default: object, doc: str, low: float | None = None, high: float | None = None, unit: str = "",
    live: bool = False, fixed: bool = False,
) -> Any:  # fmt: skip
    when = START if fixed else ANY_TIME if live else UNCONFIGURED
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "unit": unit, "when": when})


def _slowest(what: str, which_is: str) -> Any:
    doc = f"{what} that is slower is {which_is}; 0: any rate will do."
    return _parameter(0.0, doc, 0.0, 1000.0, "Hz", live=True)


def _silence(when: str) -> Any:
    doc = f"It is an error when {when} for longer; 0: it may be silent."
    return _parameter(1.0, doc, 0.0, 3600.0, "s", live=True)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"parameter {name} must be one of {choices}, got {value!r}")


@dataclass(frozen=True)
class Parameters:
    """Common behaviour: every number is checked against its range.

    Raises:
        ValueError: naming the parameter that is out of range.
    """

    node: ClassVar[str]
    autostart: bool = _parameter(
        True, "Configure and activate by itself; false: wait for a lifecycle manager.", fixed=True
    )
    exit_on_error: bool = _parameter(
        False, "End with status 1 where autostart cannot configure; false: stay up, unconfigured, to be mended.",
        fixed=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if low is not None and not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"parameter {item.name} must lie in {low:g}..{high:g}, got {value}")


def _check_rates(prefix: str, warn_rate_hz: float, error_rate_hz: float) -> None:
    if 0 < warn_rate_hz < error_rate_hz:
        limit = f"{prefix}warn_rate_hz {warn_rate_hz:g}"
        raise ValueError(f"parameter {prefix}error_rate_hz must not exceed {limit}, got {error_rate_hz:g}")


@dataclass(frozen=True)
class FlowParameters(Parameters):
    """Parameters of nodes that publish again and again: how that should flow (docs/diagnostics.md)."""

    output_warn_rate_hz: float = _slowest("An output", "a warning")
    output_error_rate_hz: float = _slowest("An output", "an error")
    output_timeout_s: float = _silence("nothing is published")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rates("output_", self.output_warn_rate_hz, self.output_error_rate_hz)

    def expected(self, direction: str) -> Expected:
        """Return what is expected of an ``input`` or ``output``."""
        return Expected(self.output_warn_rate_hz, self.output_error_rate_hz, self.output_timeout_s)


@dataclass(frozen=True)
class InputParameters(FlowParameters):
    """Parameters of nodes that turn inputs into outputs."""

    warn_rate_hz: float = _slowest("An input", "a warning")
    error_rate_hz: float = _slowest("An input", "an error")
    timeout_s: float = _silence("an input has nothing")
    max_age_s: float = _parameter(
        0.0, "Inputs whose stamps are older, before or after the work, are dropped, and counted; 0: any age will do.",
        0.0, 3600.0, "s", live=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rates("", self.warn_rate_hz, self.error_rate_hz)

    def expected(self, direction: str) -> Expected:
        """Return what is expected of an ``input`` or ``output``."""
        if direction == OUTPUT:
            return super().expected(direction)
        return Expected(self.warn_rate_hz, self.error_rate_hz, self.timeout_s)


@dataclass(frozen=True)
class LazyParameters(InputParameters):
    """Parameters of nodes that need not work while nobody wants their results."""

    lazy: bool = _parameter(False, "Subscribe only while somebody listens to the results.")


@dataclass(frozen=True)
class CameraParameters(FlowParameters):
    """Parameters of the camera node."""

    node: ClassVar[str] = "camera_node"
    source: str = _parameter("", "Image file, folder of images, video file, or webcam (/dev/video0 or a number).")
    calibration_file: str = _parameter("", "YAML as camera_calibration writes it; empty: guess from the field of view.")
    horizontal_fov_deg: float = _parameter(60.0, "Field of view the guess assumes.", 1.0, 170.0, "deg")
    frame_id: str = _parameter("camera_optical_frame", "Optical frame of the published images.")
    rate_hz: float = _parameter(
        10.0, "Frames per second published; a webcam may be slower.", 0.01, 1000.0, "Hz", live=True
    )
    frames_per_image: int = _parameter(10, "How many frames a still image is held for.", 1, 1000000)
    loop: bool = _parameter(True, "Begin again at the end of files; otherwise stay up and publish no more.")

    def expected(self, direction: str) -> Expected:
        """Return what is expected; a slow camera by choice is not late before two of its own periods are over."""
        wanted = super().expected(direction)
        return replace(wanted, timeout_s=wanted.timeout_s and max(wanted.timeout_s, 2 / self.rate_hz))


@dataclass(frozen=True)
class DetectorParameters(LazyParameters):
    """Parameters of the detector node."""

    node: ClassVar[str] = "detector_node"
    weights: str = _parameter("", "YOLO-pose .pt or .onnx file; empty: the packaged yolo11n-pose.pt.")
    allow_unsafe_weights: bool = _parameter(False, "A .pt file can run any code when loaded: trust the one given.")
    device: str = _parameter(
        "auto", "cpu, cuda, cuda:N, or auto: cuda where there is one, else cpu; the log says which."
    )
    num_threads: int = _parameter(0, "CPU threads of torch; 0: half of the cores.", 0, 1024)
    min_score: float = _parameter(
        0.25, "Smallest confidence of a new person; who is followed is kept down to 0.1.", 0.02, 1.0, live=True
    )
    max_persons: int = _parameter(
        16, "Persons kept, nearest (largest) first, with some favour for those kept before (docs/tracking.md).",
        1, MAX_PERSONS, live=True,
    )  # fmt: skip
    track_buffer_s: float = _parameter(1.0, "Who is unseen for so long is somebody new afterwards.", 0.0, 60.0, "s")
    estimator_wait_s: float = _parameter(
        1.0, "The next image is begun with when the node that infers is about done with the last (docs/input.md); one "
        "that is silent for longer is not waited for; 0: never wait.", 0.0, 60.0, "s", live=True,
    )  # fmt: skip
    image_size: int = _parameter(640, "Longer side of the network's input, a multiple of 32.", 32, 4096, "px")
    precision: str = _parameter(
        "float32", "Of a .pt network: float32, or bfloat16 where the processor has it: half the time."
    )
    image_transport: str = _parameter(RAW, "raw, or compressed: JPEG or PNG of the image topic + /compressed.")
    image_reliability: str = _parameter(
        "best_effort", "QoS of the image subscription: best_effort (takes any publisher) or reliable.", fixed=True
    )
    image_depth: int = _parameter(
        5, "QoS of the image subscription: messages that the middleware keeps.", 1, 1000, fixed=True
    )
    camera_info_mode: str = _parameter(
        PER_FRAME, "per_frame: a camera_info of every image's stamp; latest: the newest one holds; latched: it was "
        "published once, transient local.", fixed=True,
    )  # fmt: skip
    rectified: bool = _parameter(
        False, "The images are rectified (image_rect): their camera is P of the camera_info, without distortion."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("image_transport", self.image_transport, (RAW, COMPRESSED))
        _one_of("image_reliability", self.image_reliability, RELIABILITIES)
        _one_of("camera_info_mode", self.camera_info_mode, MODES)


@dataclass(frozen=True)
class EstimatorParameters(LazyParameters):
    """Parameters of the nodes that infer 3D poses."""

    prior: str = _parameter("", "Checkpoint (.safetensors) of the pose prior; empty: the packaged one.")
    prior_sha256: str = _parameter("", "What the file's sha256 must be; empty: the digest that the file itself holds.")
    device: str = _parameter(
        "auto", "cpu, cuda, cuda:N, or auto: cuda where there is one, else cpu; the log says which."
    )
    num_threads: int = _parameter(0, "CPU threads of torch; 0: half of the cores.", 0, 1024)
    num_hypotheses: int = _parameter(50, "Skeletons per person.", 1, 10000, live=True)
    guidance: str = _parameter("kalman", "kalman (accurate and calibrated) or gradient (heatmap gradients).", live=True)
    steps: int = _parameter(
        10, "Noise levels visited; 25 is a little better and takes 3 times as long.", 1, 1000, live=True
    )
    repeats: int = _parameter(
        1, "Visits of every noise level: 1 for kalman; gradient wants 5, in 5 times as long.", 1, 100, live=True
    )
    time_budget_s: float = _parameter(
        0.0, "Inference that would take longer takes fewer steps, then fewer hypotheses; 0: any time.",
        0.0, 60.0, "s", live=True,
    )  # fmt: skip
    precision: str = _parameter(
        "float32", "Of the network: float32, or bfloat16 where the processor has it (docs/performance.md)."
    )
    seed: int = _parameter(
        0, "Every frame is sampled with this seed: the same heatmaps give the same skeletons.", 0, 2**31, live=True
    )
    temporal: bool = _parameter(
        True, "Carry every person's posterior over frames, by id; false: every frame by itself (docs/tracking.md).",
        live=True,
    )  # fmt: skip
    use_depth: bool = _parameter(False, "Use depth images that are aligned to the colour images (docs/fusion.md).")
    depth_reliability: str = _parameter(
        "best_effort", "QoS of the depth subscriptions: best_effort (takes any publisher) or reliable.", fixed=True
    )
    sync_slop_s: float = _parameter(
        0.015, "Stamps that differ by more are not of one instant; under half of the time between images.",
        0.0, 10.0, "s", live=True,
    )  # fmt: skip
    sync_wait_s: float = _parameter(
        0.2, "How long heatmaps wait for what belongs to them; then it goes on without, and is counted.",
        0.0, 10.0, "s", live=True,
    )  # fmt: skip
    tf_wait_s: float = _parameter(
        0.1, "How long the transform of a new stamp is waited for, where TF says where cameras are.",
        0.0, 2.0, "s", live=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("guidance", self.guidance, GUIDANCES)
        if not re.fullmatch("([0-9A-Fa-f]{64})?", self.prior_sha256):
            raise ValueError(f"parameter prior_sha256 must be 64 hexadecimal digits, got {self.prior_sha256[:80]!r}")
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("depth_reliability", self.depth_reliability, RELIABILITIES)


@dataclass(frozen=True)
class DiffusionParameters(EstimatorParameters):
    """Parameters of the diffusion node."""

    node: ClassVar[str] = "diffusion_node"
    target_frame: str = _parameter(
        "", "Frame of the results, from TF at the stamp of the image (docs/outputs.md); empty: the camera's."
    )


@dataclass(frozen=True)
class FusionParameters(EstimatorParameters):
    """Parameters of the fusion node."""

    node: ClassVar[str] = "fusion_node"
    cameras: tuple[str, ...] = _parameter(("left", "right"), "Names of the cameras, which are their namespaces.")
    depth_cameras: str = _parameter(
        "", "With use_depth: the cameras that have depth images, commas between their names; empty: all."
    )
    target_frame: str = _parameter("map", "Frame of the results.")
    target_z_up: bool = _parameter(
        True, "Its z axis points up (REP 103); false, e.g. for an optical frame: cameras are taken to be about level."
    )
    extrinsics_file: str = _parameter(
        "", "YAML with every camera's position in target_frame (docs/fusion.md); empty: from TF."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target_frame:
            raise ValueError("parameter target_frame must name a frame, got ''")
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"parameter cameras must hold different names, at least one, got {list(self.cameras)}")
        for name in self.cameras:
            if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name, re.ASCII):
                raise ValueError(f"parameter cameras must hold ROS names without a leading slash, got {name!r}")
        for name in self.with_depth:
            if name not in self.cameras:
                raise ValueError(f"parameter depth_cameras must hold names of cameras, got {name!r}")

    @property
    def with_depth(self) -> tuple[str, ...]:
        """Cameras of which depth images are used."""
        if not self.use_depth:
            return ()
        return tuple(name.strip() for name in self.depth_cameras.split(",")) if self.depth_cameras else self.cameras


@dataclass(frozen=True)
class MarkerParameters(LazyParameters):
    """Parameters of the marker node."""

    node: ClassVar[str] = "marker_node"
    max_skeletons: int = _parameter(
        20, "Hypotheses drawn per person, the heaviest or, of equal weight, the first.", 0, 10000, live=True
    )
    ellipsoid_sigmas: float = _parameter(
        1.0, "Half axes of the covariance ellipsoids.", 0.1, 10.0, "standard deviations", live=True
    )
    lifetime_s: float = _parameter(
        2.0, "Markers vanish when nothing new arrives for so long.", 0.1, 3600.0, "s", live=True
    )


@dataclass(frozen=True)
class BridgeParameters(InputParameters):
    """Parameters of the bridge node."""

    node: ClassVar[str] = "bridge_node"
    publish_tf: bool = _parameter(False, "Mean skeletons as TF frames (docs/outputs.md); needs tf2_ros.")
    tf_joints: bool = _parameter(
        True, "With publish_tf: frames of the joints too; false: of the body alone.", live=True
    )
    publish_humans: bool = _parameter(False, "Persons as bodies of REP 155 (docs/outputs.md); needs hri_msgs.")
    humans_namespace: str = _parameter("/humans", "Where the bodies are published; REP 155 knows /humans alone.")
    publish_detections: bool = _parameter(False, "Persons as detections (docs/outputs.md); needs vision_msgs.")
    use_heatmaps: bool = _parameter(
        True, "Publish what is of the image too: roi, skeleton2d, 2D detections; false where no heatmaps have its ids."
    )
    id_prefix: str = _parameter("", "Bodies are called this and their number; empty: p, or <namespace>_p.")
    lost_after_s: float = _parameter(
        2.0, "When no hypotheses came for so long, an empty list of bodies is published.", 0.1, 60.0, "s", live=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"(/[A-Za-z]\w*)+", self.humans_namespace, re.ASCII):
            raise ValueError(f"parameter humans_namespace must be a ROS name from /, got {self.humans_namespace!r}")
        if not re.fullmatch(r"([A-Za-z]\w*)?", self.id_prefix, re.ASCII):
            raise ValueError(f"parameter id_prefix must begin with a letter, got {self.id_prefix!r}")


ALL: tuple[type[Parameters], ...] = (
    CameraParameters, DetectorParameters, DiffusionParameters, FusionParameters, MarkerParameters,
    BridgeParameters,
)  # fmt: skip


def _default(item: Field[Any]) -> str:
    assert item.default is not MISSING
    if isinstance(item.default, bool):
        return str(item.default).lower()
    if isinstance(item.default, tuple):
        return "[" + ", ".join(f'"{name}"' for name in item.default) + "]"
    return f'"{item.default}"' if isinstance(item.default, str) else str(item.default)


def to_yaml() -> str:
    """Return the parameter file of the estimator's nodes in any namespace, with the defaults."""
    lines = ["# Parameters of the estimator's nodes. Generated by `python -m diffpose_ros.parameters`."]
    for kind in ALL:
        lines += [f"/**/{kind.node}:", "  ros__parameters:"]
        for item in fields(kind):
            unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
            lines += [f"    # {item.metadata['doc']}{unit}", f"    {item.name}: {_default(item)}"]
    return "\n".join(lines) + "\n"


INTRODUCTION = f"""# Parameters

Generated by `python -m diffpose_ros.parameters --docs`. Few parameters are launch arguments too; all are set by a file,
`params_file:=my.yaml`, which holds only what differs from the defaults
([config/estimator.yaml](../config/estimator.yaml) holds everything):

    /**/detector_node:
      ros__parameters:
        precision: bfloat16

and, while a node lives, by `ros2 param set /detector_node min_score 0.4`. When a parameter can be set:

- *{ANY_TIME}*: the next input takes it;
- *{UNCONFIGURED}*: it is read when the node is configured, and refused while the node is inactive or active
  ([lifecycle.md](lifecycle.md));
- *{START}*: with the process alone.

A value that is refused changes nothing; the answer holds the reason."""


def to_markdown() -> str:
    """Return the same as tables."""
    lines = [INTRODUCTION]
    for kind in ALL:
        lines += ["", f"## {kind.node}", "", "| parameter | default | unit | range | can be set | meaning |"]
        lines.append("|---|---|---|---|---|---|")
        for item in fields(kind):
            low, high, unit, when = (item.metadata[key] for key in ("low", "high", "unit", "when"))
            span = "" if low is None else f"{low:g} .. {high:g}"
            lines.append(f"| `{item.name}` | `{_default(item)}` | {unit} | {span} | {when} | {item.metadata['doc']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the parameter file or its table.")
    parser.add_argument("--docs", action="store_true", help="print the table for the docs")
    print(to_markdown() if parser.parse_args().docs else to_yaml(), end="")
