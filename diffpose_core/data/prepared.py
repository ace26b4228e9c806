# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The one format of prepared motion data, whatever its origin: a safetensors file that is mapped into memory.

Tensors, N poses in all, the recordings one after the other:

====================  ===============  =====================================================================
joints                float32 [N,17,3] metres, right-handed world frame with z up, skeleton H36M17
frames                int32 [N]        number of the frame in the original recording
camera_from_world     float32 [N,3,4]  optional: rotation and translation (metres) into the optical frame
keypoints             float32 [N,17,2] optional: 2D keypoints in pixels, detected or from the data set
keypoint_confidence   float32 [N,17]   with keypoints: 0 (not seen) to 1
====================  ===============  =====================================================================

Recordings without a camera or keypoints hold NaN there. The metadata holds ``format``, ``skeleton``, ``axes`` and, as
JSON, ``joints`` (names), ``description`` (:class:`Description`), ``recordings`` (:class:`RecordingInfo`), ``cameras``
(:class:`diffpose_core.Camera`) and ``sha256`` of each tensor.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, get_type_hints

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.skeleton import H36M17

FORMAT = "diffpose-poses-1"
AXES = "metres, right-handed world frame with z up; cameras and keypoints: x right, y down, z forward, pixels"
SPLITS = ("train", "validation", "test")
LAST_FRAME = 2**31 - 1
FARTHEST_M = 1e4
"""Beyond this from the world's origin a joint is taken for millimetres or for damage."""
_COLUMNS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "joints": ("F32", "<f4", (len(H36M17), 3)),
    "frames": ("I32", "<i4", ()),
    "camera_from_world": ("F32", "<f4", (3, 4)),
    "keypoints": ("F32", "<f4", (len(H36M17), 2)),
    "keypoint_confidence": ("F32", "<f4", (len(H36M17),)),
}
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Description:
    """Where prepared poses come from and what may be done with them.

    Attributes:
        dataset: name of the data set.
        licence: its terms, in words.
        citation: what to cite.
        approximate: joints of H36M17 that the data set does not define, made from others.
        made_by: command that made the file.
    """

    dataset: str
    licence: str
    citation: str
    approximate: tuple[str, ...] = ()
    made_by: str = ""


@dataclass(frozen=True)
class View:
    """One camera's view of a recording.

    Attributes:
        camera: intrinsics and lens.
        camera_from_world: [N, 3, 4] rotation and translation (metres) from the world into the optical frame.
        keypoints: [N, 17, 2] px, or None.
        keypoint_confidence: [N, 17] from 0 (not seen) to 1; None for 1 everywhere.
    """

    camera: Camera
    camera_from_world: np.ndarray
    keypoints: np.ndarray | None = None
    keypoint_confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Recording:
    """One clip of one person, as a reader of a data set yields it.

    Attributes:
        name: unique within the file, e.g. ``S9/Walking 1/54138969``.
        subject: who, e.g. ``S9``.
        split: ``train``, ``validation`` or ``test``.
        frame_rate_hz: of ``joints``, after any thinning.
        frames: [N] number of each pose's frame in the original recording.
        joints: [N, 17, 3] metres, right-handed world frame with z up, skeleton H36M17.
        action: what the person does; empty where the data set does not say.
        source: which part of the data set or family of files it comes from; may be empty.
        view: the camera that sees it; None where there is none or where only poses are wanted.

    Raises:
        ValueError: a shape does not fit, a number is not finite or lies too far away, or the split is unknown.
    """

    name: str
    subject: str
    split: str
    frame_rate_hz: float
    frames: np.ndarray
    joints: np.ndarray
    action: str = ""
    source: str = ""
    view: View | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"{self.name}: split must be one of {SPLITS}, got {self.split!r}")
        if not (math.isfinite(self.frame_rate_hz) and self.frame_rate_hz > 0):
            raise ValueError(f"{self.name}: frame_rate_hz must be positive and finite, got {self.frame_rate_hz}")
        if self.frames.dtype.kind not in "iu" or (self.frames.size and not self.frames[0] >= -LAST_FRAME):
            raise ValueError(f"{self.name}: frames must be whole numbers, got {self.frames.dtype} {self.frames[:1]}")
        if (np.diff(self.frames.astype(np.int64)) <= 0).any() or int(self.frames.max(initial=0)) > LAST_FRAME:
            raise ValueError(f"{self.name}: frames must rise and be at most {LAST_FRAME}")
        for name, column in self.columns().items():
            if column.dtype.kind not in "iuf":
                raise ValueError(f"{self.name}: {name} must be real numbers, got {column.dtype}")
            shape = (len(self.joints), *_COLUMNS[name][2])
            if column.shape != shape:
                raise ValueError(f"{self.name}: {name} has shape {column.shape}, expected {shape}")
            bad = ~np.isfinite(column).all(tuple(range(1, column.ndim)))
            if bad.any():
                where = int(self.frames[bad.argmax()])
                raise ValueError(
                    f"{self.name}: {name} is not finite in {int(bad.sum())} frames, the first of them {where}"
                )
        farthest = float(np.abs(self.joints).max(initial=0.0))
        if farthest > FARTHEST_M:
            raise ValueError(f"{self.name}: a joint lies {farthest:g} m from the origin; are these millimetres?")

    def columns(self) -> dict[str, np.ndarray]:
        """Return what is there, by the names of the file's tensors."""
        found = {"joints": self.joints, "frames": self.frames}
        if self.view is not None:
            found["camera_from_world"] = self.view.camera_from_world
            if self.view.keypoints is not None:
                found["keypoints"] = self.view.keypoints
                confidence = self.view.keypoint_confidence
                found["keypoint_confidence"] = np.ones((len(self.joints), 17)) if confidence is None else confidence
        return found


class Source(Protocol):
    """A data set as it is published: a frozen dataclass whose fields are the options of ``training/prepare.py``."""

    @property
    def source(self) -> Path:
        """Its file or folder."""

    def describe(self) -> Description:
        """Say where the poses come from; ``made_by`` is left empty."""

    def recordings(self) -> Iterator[Recording]:
        """Read the recordings one at a time.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged or of another version, or an option is unusable.
        """


@dataclass(frozen=True)
class RecordingInfo:
    """What the file says of one recording: its poses are ``first`` to ``first + length - 1``."""

    name: str
    subject: str
    split: str
    action: str
    source: str
    frame_rate_hz: float
    first: int
    length: int
    camera: int | None


@dataclass(frozen=True)
class PreparedPoses:
    """A prepared file, mapped into memory: its poses are read when they are used.

    Attributes:
        path: the file.
        description: where the poses come from.
        recordings: in the order of the poses.
        cameras: what ``RecordingInfo.camera`` counts into.
        joints: [N, 17, 3] metres, right-handed world frame with z up.
        frames: [N] number of the frame in the original recording.
        camera_from_world: [N, 3, 4] into the optical frame, metres; None where no recording has a camera.
        keypoints: [N, 17, 2] px; None where no recording has any.
        keypoint_confidence: [N, 17]; None without keypoints.
    """

    path: Path
    description: Description
    recordings: list[RecordingInfo]
    cameras: list[Camera]
    joints: Float[Tensor, "n 17 3"]
    frames: Int[Tensor, "n"]
    camera_from_world: Float[Tensor, "n 3 4"] | None = None
    keypoints: Float[Tensor, "n 17 2"] | None = None
    keypoint_confidence: Float[Tensor, "n 17"] | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def subjects(self) -> list[str]:
        """Names of all people, in natural order: S9 comes before S11."""
        return sorted({r.subject for r in self.recordings}, key=_natural)

    def of_split(self, split: str) -> list[RecordingInfo]:
        """Return the recordings of one split; ``ValueError`` names an unknown one."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        return [r for r in self.recordings if r.split == split]

    def verify(self) -> None:
        """Compare every tensor with its checksum; ``ValueError`` names the first that differs."""
        for name, expected in self.sha256.items():
            tensor: Tensor = getattr(self, name)
            found = hashlib.sha256()
            for part in tensor.flatten().split(_CHUNK):
                found.update(part.numpy().data)
            if found.hexdigest() != expected:
                raise ValueError(f"{self.path}: {name} is damaged: its checksum is {found.hexdigest()}, not {expected}")


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(t), "") if t.isdecimal() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]


def write_prepared(path: str | Path, description: Description, recordings: Iterable[Recording]) -> None:
    """Write recordings one after the other, in constant memory; the file appears whole or not at all.

    Raises:
        ValueError: no poses, or two recordings of one name.
    """
    path = Path(path)
    rest = iter(recordings)
    first_one = list(itertools.islice(rest, 1))  # before a folder is made for what cannot be read
    path.parent.mkdir(parents=True, exist_ok=True)
    infos: list[RecordingInfo] = []
    cameras: dict[Camera, int] = {}
    present: set[str] = set()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as spool:
        parts = {name: open(Path(spool) / name, "w+b") for name in _COLUMNS}  # noqa: SIM115 - closed below
        try:
            first, names = 0, set()
            for recording in itertools.chain(first_one, rest):
                if recording.name in names:
                    raise ValueError(f"two recordings are called {recording.name!r}")
                names.add(recording.name)
                columns, length = recording.columns(), len(recording.joints)
                present |= columns.keys()
                for name, (_, kind, shape) in _COLUMNS.items():
                    column = columns.get(name, np.broadcast_to(np.float32("nan"), (length, *shape)))
                    parts[name].write(np.ascontiguousarray(column, dtype=kind).data)
                camera = None
                if recording.view is not None:
                    camera = cameras.setdefault(recording.view.camera, len(cameras))
                infos.append(
                    RecordingInfo(
                        recording.name, recording.subject, recording.split, recording.action,
                        recording.source, recording.frame_rate_hz, first, length, camera,
                    )
                )  # fmt: skip
                first += length
            if first == 0:
                raise ValueError("there are no poses to write")
            written = {name: file for name, file in parts.items() if name in present}
            whole = Path(spool) / "whole"
            with open(whole, "wb") as out:
                _assemble(out, written, first, description, infos, list(cameras))
                out.flush()
                os.fsync(out.fileno())
            os.replace(whole, path)
        finally:
            for file in parts.values():
                file.close()


def _assemble(
    out: BinaryIO, parts: Mapping[str, BinaryIO], poses: int, description: Description, infos: list[RecordingInfo],
    cameras: list[Camera],
) -> None:  # fmt: skip
    """Write the safetensors layout: the header's length, the header, the tensors' bytes."""
    digests, header, at = {}, dict[str, Any](), 0
    for name, file in parts.items():
        kind, _, shape = _COLUMNS[name]
        size = file.tell()
        header[name] = {"dtype": kind, "shape": [poses, *shape], "data_offsets": [at, at + size]}
        at += size
        digest = hashlib.sha256()
        for part in _read(file):
            digest.update(part)
        digests[name] = digest.hexdigest()
    header["__metadata__"] = {
        "format": FORMAT,
        "skeleton": H36M17.name,
        "joints": json.dumps(H36M17.joints),
        "axes": AXES,
        "description": json.dumps(asdict(description)),
        "recordings": json.dumps([asdict(i) for i in infos]),
        "cameras": json.dumps([asdict(c) for c in cameras]),
        "sha256": json.dumps(digests),
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # safetensors wants the tensors aligned
    out.write(struct.pack("<Q", len(text)) + text)
    for file in parts.values():
        for part in _read(file):
            out.write(part)


def _read(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(_CHUNK):
        yield part


def open_prepared(path: str | Path, verify: bool = True) -> PreparedPoses:
    """Map a prepared file into memory; nothing in it is executed.

    Args:
        path: the file.
        verify: whether to compare the checksums, which reads the file once.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a prepared file, of another version, damaged, or its tables do not fit its poses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"prepared motion data not found: {path}")
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable prepared file (training/prepare.py makes them): {error}") from error
    for key, expected in (("format", FORMAT), ("skeleton", H36M17.name), ("axes", AXES)):
        if meta.get(key) != expected:
            raise ValueError(f"{path}: {key} is {meta.get(key)!r}, expected {expected!r}")
    try:
        loaded = {k: json.loads(meta[k]) for k in ("description", "recordings", "cameras", "sha256")}
        about = loaded["description"]
        description = _made(Description, about | {"approximate": tuple(about["approximate"])})
        infos = [_made(RecordingInfo, r) for r in loaded["recordings"]]
        cameras = [Camera(**c) for c in loaded["cameras"]]
        digests = {str(k): str(v) for k, v in loaded["sha256"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the description is unusable: {error!r}") from error
    _check(path, tensors, infos, cameras, digests)
    found = PreparedPoses(path, description, infos, cameras, sha256=digests, **tensors)
    if verify:
        found.verify()
    return found


_FITS: dict[Any, Callable[[Any], bool]] = {
    str: lambda v: type(v) is str,
    int: lambda v: type(v) is int,
    float: lambda v: type(v) in (int, float) and math.isfinite(v),
    int | None: lambda v: v is None or type(v) is int,
    tuple[str, ...]: lambda v: type(v) is tuple and all(type(part) is str for part in v),
}


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Build a dataclass of a file's values; ``ValueError`` names one of another type."""
    made = kind(**values)
    for name, hint in get_type_hints(kind).items():
        if not _FITS[hint](getattr(made, name)):
            raise ValueError(f"{name} of a {kind.__name__} is {str(getattr(made, name))[:40]!r}")
    return made


def _check(
    path: Path, tensors: dict[str, Tensor], infos: list[RecordingInfo], cameras: list[Camera], digests: dict[str, str]
) -> None:
    if not {"joints", "frames"} <= tensors.keys() <= _COLUMNS.keys() or digests.keys() != tensors.keys():
        raise ValueError(f"{path}: tensors are {sorted(tensors)}, with checksums of {sorted(digests)}")
    poses = len(tensors["joints"]) if tensors["joints"].ndim else 0
    for name, tensor in tensors.items():
        kind, shape = torch.int32 if name == "frames" else torch.float32, (poses, *_COLUMNS[name][2])
        if tensor.dtype != kind or tensor.shape != shape:
            raise ValueError(f"{path}: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected {kind} {shape}")
    first = 0
    for info in infos:
        if info.first != first or info.length < 0 or info.split not in SPLITS:
            raise ValueError(
                f"{path}: recording {info.name!r} does not follow the one before it, or its split is unknown"
            )
        if info.camera is not None and not 0 <= info.camera < len(cameras):
            raise ValueError(f"{path}: recording {info.name!r} names camera {info.camera} of {len(cameras)}")
        first += info.length
    if first != poses:
        raise ValueError(f"{path}: the recordings hold {first} poses, the file {poses}")
