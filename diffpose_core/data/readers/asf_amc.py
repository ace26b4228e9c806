# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Acclaim motion, ``.asf`` skeletons and ``.amc`` recordings, as the CMU database publishes them.

Format: research.cs.wisc.edu/graphics/Courses/cs-838-1999/Jeff/ASF-AMC.html. A bone turns about its own axes: with C the
rotation of its ``axis`` and R that of its degrees of freedom, its rotation in its parent is C R C^-1. Rotations of one
line are applied in the order in which they are listed, about fixed axes: ``rx ry rz`` is Rz Ry Rx.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffpose_core.data.prepared import Description, Recording
from diffpose_core.data.readers.mocap import (
    CMU_CITATION,
    CMU_LICENCE,
    CMU_TEST,
    CMU_VALIDATION,
    MOST_HZ,
    MOST_JOINTS,
    JointTable,
    axis_rotation,
    check_named,
    files_below,
    h36m17,
    numbers,
    split_of,
    stride,
    subject_of,
    text_lines,
    z_up,
)  # fmt: skip

JOINTS: JointTable = {
    "Pelvis": {"lhipjoint": 0.5, "rhipjoint": 0.5},
    "RHip": {"rhipjoint": 1}, "RKnee": {"rfemur": 1}, "RAnkle": {"rtibia": 1},
    "LHip": {"lhipjoint": 1}, "LKnee": {"lfemur": 1}, "LAnkle": {"ltibia": 1},
    "Spine": {"lowerback": 1}, "Thorax": {"thorax": 1}, "Nose": {"lowerneck": 0.5, "upperneck": 0.5},
    "HeadTop": {"head": 1},
    "LShoulder": {"lclavicle": 1}, "LElbow": {"lhumerus": 1}, "LWrist": {"lradius": 1},
    "RShoulder": {"rclavicle": 1}, "RElbow": {"rhumerus": 1}, "RWrist": {"rradius": 1},
}  # fmt: skip
"""From the far ends of the bones. The bone ``wrist`` reaches into the hand; the wrist is taken at the radius' end,
which leaves forearms of about 0.19 m."""
APPROXIMATE = ("Pelvis", "Spine", "Thorax", "Nose", "HeadTop")
_INCH_M = 0.0254
_Block = dict[str, tuple[int, list[str]]]
"""Of one bone: each keyword's line number and values."""


@dataclass(frozen=True)
class AcclaimSkeleton:
    """A skeleton in its rest position.

    Attributes:
        names: bones, the root first, parents before children.
        parents: index of each bone's parent; -1 of the root.
        offsets: [B, 3] from the start of each bone to its end, file units; of the root, its position.
        axes: [B, 3, 3] rotation of each bone's own axes.
        freedoms: each bone's degrees of freedom in the file's order, e.g. ``rx rz``; of the root ``tx`` to ``rz``.
        degrees: whether angles are in degrees.
        scale: file units per unit of length.
    """

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    axes: np.ndarray
    freedoms: list[tuple[str, ...]]
    degrees: bool
    scale: float

    def ends(self, motion: np.ndarray, degrees: bool) -> np.ndarray:
        """Return the far ends of all bones [N, B, 3], file units; of the root, its position.

        Args:
            motion: [N, D] values of all freedoms, in the order of ``names``.
            degrees: whether its angles are in degrees.
        """
        rotations, places = list[np.ndarray](), list[np.ndarray]()
        at = 0
        for bone, freedoms in enumerate(self.freedoms):
            values = dict(zip(freedoms, motion[:, at : at + len(freedoms)].T, strict=True))
            at += len(freedoms)
            own = np.broadcast_to(np.eye(3), (len(motion), 3, 3))
            for name in (f for f in freedoms if f[0] == "r"):
                own = axis_rotation(name[1], np.radians(values[name]) if degrees else values[name]) @ own
            own = self.axes[bone] @ own @ self.axes[bone].T
            if self.parents[bone] < 0:
                rotations.append(own)
                moved = [values.get(f"t{a}", np.zeros(len(motion))) for a in "xyz"]
                places.append(self.offsets[bone] + np.stack(moved, -1))
            else:
                rotations.append(rotations[self.parents[bone]] @ own)
                places.append(places[self.parents[bone]] + rotations[bone] @ self.offsets[bone])
        return np.stack(places, 1)


def read_asf(path: str | Path) -> AcclaimSkeleton:
    """Read a skeleton.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not Acclaim, a field missing or no number, an unknown degree of freedom, or a hierarchy that names
            unknown bones, leaves some out or names one twice.
    """
    path = Path(path)
    sections = _sections(path)
    units = {words[0]: (number, words[1:]) for number, words in sections[":units"]}
    angle = units.get("angle", (0, ["deg"]))[1]
    if angle not in (["deg"], ["rad"]):
        raise ValueError(f"{path}: the unit of angles is {' '.join(angle)!r}, expected deg or rad")
    degrees = angle == ["deg"]
    (scale,) = _field(path, "units", units, "length", 1) if "length" in units else [1.0]
    if scale <= 0:
        raise ValueError(f"{path}: the unit of length must be positive, got {scale}")
    blocks = _bones(path, sections)
    parents = _parents(path, sections[":hierarchy"], set(blocks))
    offsets, axes, freedoms = [], [], []
    for name in parents:
        bone = blocks[name]
        if name == "root":
            offset = np.array(_field(path, name, bone, "position", 3))
            turn, order = _field(path, name, bone, "orientation", 3), "".join(_words(bone, "axis"))
            known, listed = {"tx", "ty", "tz", "rx", "ry", "rz"}, _words(bone, "order")
        else:
            (length,) = _field(path, name, bone, "length", 1)
            offset = length * np.array(_field(path, name, bone, "direction", 3))
            turn, order = _field(path, name, bone, "axis", 3), "".join(_words(bone, "axis")[3:])
            known, listed = {"rx", "ry", "rz"}, _words(bone, "dof")
        if sorted(order.lower()) != ["x", "y", "z"]:
            raise ValueError(f"{path}: bone {name!r} has axis {order!r}, expected an order of X, Y and Z")
        own = np.eye(3)
        for letter in order.lower():
            by = turn["xyz".index(letter)]
            own = axis_rotation(letter, np.asarray(np.radians(by) if degrees else by)) @ own
        freedom = tuple(f.lower() for f in listed)
        if len(set(freedom)) < len(listed) or not known.issuperset(freedom):
            raise ValueError(f"{path}: bone {name!r} has dof {' '.join(listed)!r}, known are {' '.join(sorted(known))}")
        offsets.append(offset)
        axes.append(own)
        freedoms.append(freedom)
    names = list(parents)
    numbered = [names.index(p) if p else -1 for p in parents.values()]
    return AcclaimSkeleton(names, numbered, np.array(offsets), np.array(axes), freedoms, degrees, scale)


def _sections(path: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """Return the numbered words of each section's lines."""
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    section = ""
    for number, line in enumerate(text_lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith(":"):
            section = words[0]
            sections[section] = []
        elif section:
            sections[section].append((number, words))
    for name in (":units", ":root", ":bonedata", ":hierarchy"):
        if name not in sections:
            raise ValueError(f"{path}: section {name} is missing")
    return sections


def _bones(path: Path, sections: dict[str, list[tuple[int, list[str]]]]) -> dict[str, _Block]:
    """Return the root and the bones by name."""
    blocks: dict[str, _Block] = {"root": {words[0]: (number, words[1:]) for number, words in sections[":root"]}}
    block: _Block = {}
    for number, words in sections[":bonedata"]:
        if words[0] == "begin":
            block = {}
        elif words[0] == "end":
            name = " ".join(_words(block, "name"))
            if not name or name in blocks or len(blocks) > MOST_JOINTS:
                raise ValueError(
                    f"{path}:{number}: bone {name!r} has no name, a second one's, or is beyond {MOST_JOINTS}"
                )
            blocks[name] = block
        else:
            block[words[0]] = (number, words[1:])
    return blocks


def _words(block: _Block, field: str) -> list[str]:
    return block.get(field, (0, []))[1]


def _field(path: Path, bone: str, block: _Block, field: str, count: int) -> list[float]:
    number, words = block.get(field, (0, []))
    if len(words) < count:
        raise ValueError(f"{path}: {bone!r} needs {count} numbers of {field}, got {' '.join(words)!r}")
    return numbers(words[:count], f"{path}:{number}: {field}")


def _parents(path: Path, lines: list[tuple[int, list[str]]], bones: set[str]) -> dict[str, str]:
    """Return each bone's parent by name, parents before children."""
    found = {"root": ""}
    for number, words in lines:
        if words[0] in ("begin", "end"):
            continue
        for child in words[1:]:
            if child not in bones or child in found or words[0] not in found:
                raise ValueError(
                    f"{path}:{number}: {words[0]!r} -> {child!r}: unknown, a second time, or before its parent"
                )
            found[child] = words[0]
    if len(found) < len(bones):
        raise ValueError(f"{path}: the hierarchy leaves out {', '.join(sorted(bones - set(found)))}")
    return found


def read_amc(path: str | Path, skeleton: AcclaimSkeleton) -> tuple[np.ndarray, np.ndarray, bool]:
    """Read a recording of a skeleton.

    Returns:
        The frames' numbers [N], the values of all freedoms [N, D] in the skeleton's order, and whether angles are in
        degrees.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no frames, a frame out of order, one that lacks a bone or has an unknown one, too few or too many
            values, or no number.
    """
    path = Path(path)
    width = {n: len(f) for n, f in zip(skeleton.names, skeleton.freedoms, strict=True)}
    needed = [n for n in skeleton.names if width[n]]
    degrees, frames, rows = skeleton.degrees, list[int](), list[np.ndarray]()
    values: dict[str, list[float]] = {}

    def finish() -> None:
        missing = [n for n in needed if n not in values]
        if frames and missing:
            raise ValueError(f"{path}: frame {frames[-1]} lacks {', '.join(missing)}")
        if frames:
            rows.append(np.array([v for n in needed for v in values[n]]))

    for number, line in enumerate(text_lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith(":"):
            degrees = {":DEGREES": True, ":RADIANS": False}.get(words[0].upper(), degrees)
        elif len(words) == 1 and words[0].isdecimal() and len(words[0]) < 10:
            finish()
            if frames and int(words[0]) <= frames[-1]:
                raise ValueError(f"{path}:{number}: frame {words[0]} comes after frame {frames[-1]}")
            frames.append(int(words[0]))
            values = {}
        elif not frames or width.get(words[0], -1) != len(words) - 1 or words[0] in values:
            expected = width.get(words[0], "no such bone")
            raise ValueError(f"{path}:{number}: {words[0]!r} with {len(words) - 1} values, expected {expected}, once")
        else:
            values[words[0]] = numbers(words[1:], f"{path}:{number}: {words[0]}")
    finish()
    if not frames:
        raise ValueError(f"{path} holds no frames")
    return np.array(frames), np.array(rows), degrees


@dataclass(frozen=True)
class AsfAmc:
    """Acclaim motion capture: the CMU Graphics Lab Motion Capture Database as it is published.

    Attributes:
        source: a folder; every .amc in it and below needs the only .asf of its own folder.
        frame_rate_hz: of the files, which do not say; CMU's are of 120 Hz.
        sixty_hz: recordings of 60 Hz, by name, e.g. 60_01, or by subject, e.g. 60.
        unit_m: the skeletons' unit of length in metres, which their headers divide further; CMU's is an inch.
        validation: subjects for validation; that of 05_01.amc is 5.
        test: subjects for the test.
        most_hz: every n-th frame is taken, so that at most this many a second remain.
        dataset: name of the data.
        licence: terms of the data, kept in the prepared file.
        citation: what to cite, kept in the prepared file.
    """

    source: Path
    frame_rate_hz: float = 120.0
    sixty_hz: tuple[str, ...] = ()
    unit_m: float = _INCH_M
    validation: tuple[str, ...] = CMU_VALIDATION
    test: tuple[str, ...] = CMU_TEST
    most_hz: float = MOST_HZ
    dataset: str = "CMU Graphics Lab Motion Capture Database"
    licence: str = CMU_LICENCE
    citation: str = CMU_CITATION

    def __post_init__(self) -> None:
        if not (math.isfinite(self.unit_m) and self.unit_m > 0):
            raise ValueError(f"unit_m must be positive and finite, got {self.unit_m}")

    def describe(self) -> Description:
        """Say what was given."""
        return Description(self.dataset, self.licence, self.citation, APPROXIMATE)

    def recordings(self) -> Iterator[Recording]:
        """Read all ``.amc``; frames are counted as in the files, from 1.

        Raises:
            FileNotFoundError: no ``.amc`` there, or none or several ``.asf`` beside one.
            ValueError: see :func:`read_asf` and :func:`read_amc`; or the skeleton lacks a bone that a joint needs.
        """
        folder, skeleton = self.source, None
        people, stems = set[str](), set[str]()
        for file in files_below(self.source, (".amc",)):
            if skeleton is None or file.parent != folder:
                folder, skeleton = file.parent, read_asf(_only_asf(file))
            frames, motion, degrees = read_amc(file, skeleton)
            who = subject_of(file.stem)
            people.add(who)
            stems.add(file.stem)
            rate_hz = 60.0 if {file.stem, who} & set(self.sixty_hz) else self.frame_rate_hz
            every = stride(rate_hz, self.most_hz)
            yield Recording(
                name=file.relative_to(self.source).with_suffix("").as_posix(),
                subject=who,
                split=split_of(who, self.validation, self.test),
                frame_rate_hz=rate_hz / every,
                frames=frames[::every],
                joints=self._joints(file, skeleton, motion[::every], degrees),
                source="asf-amc",
            )
        check_named("validation", self.validation, CMU_VALIDATION, people)
        check_named("test", self.test, CMU_TEST, people)
        check_named("sixty_hz", self.sixty_hz, (), people | stems)

    def _joints(self, file: Path, skeleton: AcclaimSkeleton, motion: np.ndarray, degrees: bool) -> np.ndarray:
        try:
            ends = h36m17(JOINTS, skeleton.names, motion, lambda part: skeleton.ends(part, degrees))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        return z_up(self.unit_m / skeleton.scale * ends)


def _only_asf(file: Path) -> Path:
    there = sorted(file.parent.glob("*.asf"))
    if len(there) != 1:
        raise FileNotFoundError(f"{file} needs one .asf beside it, there are {len(there)}")
    return there[0]
