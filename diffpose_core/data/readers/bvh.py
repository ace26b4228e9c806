# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Biovision motion, ``.bvh``: of the CMU database's conversions, of Mixamo, LAFAN1 or one's own studio.

Format: research.cs.wisc.edu/graphics/Courses/cs-838-1999/Jeff/BVH.html. Rotation channels are applied as listed, each
about the axes that the ones before have turned: R = R1 R2 R3, degrees. Position channels replace a joint's offset, as
in LAFAN1's own reader (ubisoft-laforge-animation-dataset, extract.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from diffpose_core.data.prepared import Description, Recording
from diffpose_core.data.readers.mocap import (
    CMU_METRES,
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
from diffpose_core.skeleton import H36M17


@dataclass(frozen=True)
class KnownSkeleton:
    """The joints of one family of files.

    Attributes:
        table: where the joints of H36M17 come from; ``X_end`` is the end site of joint X.
        metres: per unit of the files.
        no_thorax: the joint from which neck and shoulders start although a thorax lies between, see
            :func:`with_thorax`; empty where none is missing.
        first_frame: where the motion starts; the frames before it are no motion.
    """

    table: JointTable
    metres: float
    no_thorax: str = ""
    first_frame: int = 0


_LIMBS: JointTable = {
    "Pelvis": {"LeftUpLeg": 0.5, "RightUpLeg": 0.5},
    "RHip": {"RightUpLeg": 1}, "RKnee": {"RightLeg": 1}, "RAnkle": {"RightFoot": 1},
    "LHip": {"LeftUpLeg": 1}, "LKnee": {"LeftLeg": 1}, "LAnkle": {"LeftFoot": 1},
    "LShoulder": {"LeftArm": 1}, "LElbow": {"LeftForeArm": 1}, "LWrist": {"LeftHand": 1},
    "RShoulder": {"RightArm": 1}, "RElbow": {"RightForeArm": 1}, "RWrist": {"RightHand": 1},
}  # fmt: skip
_CMU_MAX: JointTable = {
    "Pelvis": {"LeftHip": 0.5, "RightHip": 0.5},
    "RHip": {"RightHip": 1}, "RKnee": {"RightKnee": 1}, "RAnkle": {"RightAnkle": 1},
    "LHip": {"LeftHip": 1}, "LKnee": {"LeftKnee": 1}, "LAnkle": {"LeftAnkle": 1},
    "Spine": {"Chest": 1}, "Thorax": {"lowerneck": 1}, "Nose": {"Neck": 0.5, "Head": 0.5}, "HeadTop": {"Head_end": 1},
    "LShoulder": {"LeftShoulder": 1}, "LElbow": {"LeftElbow": 1}, "LWrist": {"LeftWrist": 1},
    "RShoulder": {"RightShoulder": 1}, "RElbow": {"RightElbow": 1}, "RWrist": {"RightWrist": 1},
}  # fmt: skip
SKELETONS = {
    "cmu-motionbuilder": KnownSkeleton(
        {
            **_LIMBS,
            "Spine": {"Spine": 1}, "Thorax": {"Neck": 1}, "Nose": {"Neck1": 0.5, "Head": 0.5},
            "HeadTop": {"Head_end": 1},
        },
        CMU_METRES, no_thorax="Spine1", first_frame=1,
    ),
    "cmu-3dsmax": KnownSkeleton(_CMU_MAX, CMU_METRES, no_thorax="Chest2"),
    "mixamo": KnownSkeleton(
        {**_LIMBS, "Spine": {"Spine1": 1}, "Thorax": {"Neck": 1}, "Nose": {"Head": 1}, "HeadTop": {"HeadTop_End": 1}},
        0.01,
    ),
    "lafan1": KnownSkeleton(
        {**_LIMBS, "Spine": {"Spine1": 1}, "Thorax": {"Neck": 1}, "Nose": {"Head": 1}, "HeadTop": {"Head_end": 1}},
        0.01,
    ),
}  # fmt: skip
"""By family; a prefix up to a colon, such as Mixamo's ``mixamorig:``, is left off. The conversion for MotionBuilder
adds a T-pose before the first frame of every file (its README), so its frame n is the ``.amc`` file's frame n."""
_CMU_MARK = "LHipJoint"
"""A joint that only the CMU database's conversions have."""
_TABLE_BYTES = 1 << 20
APPROXIMATE = ("Pelvis", "Spine", "Thorax", "Nose", "HeadTop")


@dataclass(frozen=True)
class BvhMotion:
    """One file.

    Attributes:
        names: joints and end sites, parents before children.
        parents: index of each one's parent; -1 of the root.
        offsets: [J, 3] from the parent, file units.
        channels: each joint's channels, e.g. ``("xposition", "zrotation")``.
        values: [N, C] of all channels, in the order of ``names``.
        frame_time_s: from one frame to the next.
    """

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    channels: list[tuple[str, ...]]
    values: np.ndarray
    frame_time_s: float

    def positions(self, values: np.ndarray) -> np.ndarray:
        """Return where all joints are [n, J, 3], file units, in frames of the channels' values [n, C]."""
        turned, places = list[np.ndarray](), list[np.ndarray]()
        at, count = 0, len(values)
        for joint, channels in enumerate(self.channels):
            place = np.tile(self.offsets[joint], (count, 1))
            own = np.broadcast_to(np.eye(3), (count, 3, 3))
            for column, channel in enumerate(channels, at):
                if channel.endswith("position"):
                    place[:, "xyz".index(channel[0])] = values[:, column]
                else:
                    own = own @ axis_rotation(channel[0], np.radians(values[:, column]))
            at += len(channels)
            parent = self.parents[joint]
            if parent >= 0:
                place = places[parent] + np.einsum("nij,nj->ni", turned[parent], place)
                own = turned[parent] @ own
            places.append(place)
            turned.append(own)
        return np.stack(places, 1)


def read_bvh(path: str | Path) -> BvhMotion:
    """Read a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a ``.bvh``; names the file, the line, what is there and what was expected.
    """
    path = Path(path)
    lines = [(number, line) for number, line in enumerate(text_lines(path), 1) if line.strip()]
    start = next((i for i, (_, line) in enumerate(lines) if line.strip() == "MOTION"), len(lines))
    names, parents, offsets, channels = _hierarchy(path, lines[:start])
    if len(lines) < start + 3:
        raise ValueError(f"{path}: MOTION, Frames: and Frame Time: are missing")
    (number, frames), (_, time) = ((n, line.split()) for n, line in lines[start + 1 : start + 3])
    if frames[:1] != ["Frames:"] or len(frames) != 2 or time[:2] != ["Frame", "Time:"] or len(time) != 3:
        raise ValueError(f"{path}:{number}: expected Frames: and Frame Time:, got {' '.join(frames + time)!r}")
    (frame_time_s,) = numbers(time[2:], f"{path}:{number + 1}: Frame Time:")
    motion = lines[start + 3 :]
    if frames[1] != str(len(motion)) or not motion:
        raise ValueError(f"{path}:{number}: Frames: {frames[1]}, but there are {len(motion)} lines of motion")
    if frame_time_s <= 0:
        raise ValueError(f"{path}:{number + 1}: Frame Time: must be positive, got {frame_time_s}")
    values = _values(path, motion, sum(map(len, channels)))
    return BvhMotion(names, parents, np.array(offsets), channels, values, frame_time_s)


def _hierarchy(
    path: Path, lines: list[tuple[int, str]]
) -> tuple[list[str], list[int], list[list[float]], list[tuple[str, ...]]]:
    """Return names, parents, offsets and channels of the joints and end sites."""
    if not lines or lines[0][1].split() != ["HIERARCHY"]:
        raise ValueError(f"{path}: the first line must be HIERARCHY")
    names, parents, offsets, channels = list[str](), list[int](), list[list[float]](), list[tuple[str, ...]]()
    inside: list[int] = []
    for number, line in lines[1:]:
        words, where = line.split(), f"{path}:{number}"
        key = words[0]
        if key in ("ROOT", "JOINT", "End"):
            name = f"{names[inside[-1]]}_end" if key == "End" and inside else " ".join(words[1:]).rpartition(":")[2]
            if (key == "ROOT") != (not names) or (key != "ROOT" and not inside) or name in names:
                raise ValueError(f"{where}: {line.strip()!r} is a second root or name, or in no joint")
            if len(names) == MOST_JOINTS:
                raise ValueError(f"{where}: more than {MOST_JOINTS} joints")
            parents.append(inside[-1] if inside else -1)
            names.append(name)
            offsets.append([])
            channels.append(())
        elif words == ["{"] and names and not offsets[-1] and len(names) - 1 not in inside:
            inside.append(len(names) - 1)
        elif words == ["}"] and inside and offsets[inside[-1]]:
            inside.pop()
        elif key == "OFFSET" and len(words) == 4 and inside and not offsets[inside[-1]]:
            offsets[inside[-1]] = numbers(words[1:], f"{where}: OFFSET")
        elif key == "CHANNELS" and inside and not channels[inside[-1]] and words[1:2] == [str(len(words) - 2)]:
            channels[inside[-1]] = tuple(w.lower() for w in words[2:])
            for channel in channels[inside[-1]]:
                if channel[0] not in "xyz" or channel[1:] not in ("position", "rotation"):
                    raise ValueError(f"{where}: {channel!r} is no channel")
        else:
            raise ValueError(f"{where}: {line.strip()!r} does not belong there")
    if not names or inside or not all(offsets):
        raise ValueError(f"{path}: the hierarchy is not complete")
    return names, parents, offsets, channels


def _values(path: Path, motion: list[tuple[int, str]], width: int) -> np.ndarray:
    """Return the numbers [N, width] of all frames."""
    try:
        values = np.loadtxt([line for _, line in motion], ndmin=2, comments=None)
    except ValueError:
        values = np.empty((0, 0))
    if values.shape == (len(motion), width) and np.isfinite(values).all():
        return values
    for number, line in motion:  # Which line it is.
        words = line.split()
        if len(words) != width:
            raise ValueError(f"{path}:{number}: {len(words)} values in a frame, expected {width}")
        numbers(words, f"{path}:{number}")
    raise ValueError(f"{path}: the motion is not of numbers")


def with_thorax(motion: BvhMotion, below: str) -> BvhMotion:
    """Put back the thorax that the conversions of the CMU database leave out.

    There the neck and both shoulders start at the upper end of the bone ``upperback``, and so lie some 12 cm lower than
    in the ``.asf`` and ``.amc`` of the same motion. They are moved up in the axes of the joint ``below``, by the length
    of the bone under it, which comes within 4 mm of the bone ``thorax`` in the skeletons of subjects 1 to 3. Files
    whose neck does not start there are returned as they are.
    """
    joint = motion.names.index(below)
    moved = [i for i, parent in enumerate(motion.parents) if parent == joint]
    if np.abs(motion.offsets[moved]).max(initial=0.0) > 1e-3:
        return motion
    offsets = motion.offsets.copy()
    offsets[moved, 1] += np.linalg.norm(offsets[joint])
    return replace(motion, offsets=offsets)


def family(names: list[str]) -> str:
    """Return which of ``SKELETONS`` fits a file's joints.

    Raises:
        ValueError: none; says what each one misses.
    """
    missing = {}
    for key, known in SKELETONS.items():
        missing[key] = sorted({n for mix in known.table.values() for n in mix} - set(names))
        if not missing[key] and (_CMU_MARK in names or not known.no_thorax):
            return key
    raise ValueError("; ".join(f"{key} lacks {', '.join(lacks)}" for key, lacks in missing.items() if lacks))


def load_table(path: str | Path) -> JointTable:
    """Read a table of joints, JSON: per joint of H36M17 the file's joints and their shares.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, joints missing or unknown, or shares that are no numbers or do not sum to 1.
    """
    path = Path(path)
    if path.is_file() and (size := path.stat().st_size) > _TABLE_BYTES:
        raise ValueError(f"{path} holds {size:,} bytes; at most {_TABLE_BYTES:,} are read")
    lines = text_lines(path)
    try:
        table = json.loads("\n".join(lines))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict) or table.keys() != set(H36M17.joints):
        there = ", ".join(table) if isinstance(table, dict) else type(table).__name__
        raise ValueError(f"{path} holds {there}; it must name {', '.join(H36M17.joints)}")
    for joint, mix in table.items():
        shares = list(mix.values()) if isinstance(mix, dict) else []
        fit = all(type(s) in (int, float) and 0 < s <= 1 for s in shares)
        if not fit or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(
                f"{path}: {joint} has {str(mix)[:80]}, expected joints of the file with shares that sum to 1"
            )
    return table


@dataclass(frozen=True)
class Bvh:
    """Motion capture in .bvh: the CMU database's conversions, Mixamo, LAFAN1, or one's own with a table of joints.

    Attributes:
        source: a folder; every .bvh in it and below is read.
        table: JSON file that says where each joint of H36M17 comes from, e.g. {"Pelvis": {"Hips": 1}, ...};
            without it the joints must be named as in the CMU database's conversions, by Mixamo or in LAFAN1.
        metres: metres per unit of the files; by default as CMU, Mixamo and LAFAN1 have it, 0.01 with a table.
        up: the files' upward axis.
        validation: subjects for validation; that of 05_11.bvh is 5, of walk1_subject5.bvh subject5, of others what
            stands before the first underscore.
        test: subjects for the test.
        most_hz: every n-th frame is taken, so that at most this many a second remain.
        dataset: name of the data; empty for the folder's name.
        licence: terms of the data, kept in the prepared file.
        citation: what to cite, kept in the prepared file.
    """

    source: Path
    table: Path | None = None
    metres: float | None = None
    up: Literal["y", "z"] = "y"
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    most_hz: float = MOST_HZ
    dataset: str = ""
    licence: str = "not stated"
    citation: str = "not stated"

    def __post_init__(self) -> None:
        if self.metres is not None and not (math.isfinite(self.metres) and self.metres > 0):
            raise ValueError(f"metres must be positive and finite, got {self.metres}")

    def describe(self) -> Description:
        """Say what was given; with a table, joints that are mixed from several count as approximate."""
        approximate: tuple[str, ...] = APPROXIMATE
        if self.table is not None:
            approximate = tuple(joint for joint, mix in load_table(self.table).items() if len(mix) > 1)
        return Description(self.dataset or self.source.resolve().name, self.licence, self.citation, approximate)

    def recordings(self) -> Iterator[Recording]:
        """Read all ``.bvh``; frames are counted as in the files, from 0.

        Raises:
            FileNotFoundError: no ``.bvh`` there, or no such table.
            ValueError: see :func:`read_bvh` and :func:`load_table`; or a file's joints fit no table.
        """
        own = None if self.table is None else KnownSkeleton(load_table(self.table), 0.01)
        people = set[str]()
        for file in files_below(self.source, (".bvh",)):
            motion = read_bvh(file)
            people.add(subject_of(file.stem))
            try:
                key = family(motion.names) if own is None else "own table"
                yield self._recording(file, motion, own or SKELETONS[key], key)
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
        check_named("validation", self.validation, (), people)
        check_named("test", self.test, (), people)

    def _recording(self, file: Path, motion: BvhMotion, known: KnownSkeleton, key: str) -> Recording:
        motion = with_thorax(motion, known.no_thorax) if known.no_thorax else motion
        every = stride(1 / motion.frame_time_s, self.most_hz)
        frames = np.arange(known.first_frame, len(motion.values), every)
        joints = h36m17(known.table, motion.names, motion.values[frames], motion.positions)
        joints *= known.metres if self.metres is None else self.metres
        who = subject_of(file.stem)
        return Recording(
            name=file.relative_to(self.source).with_suffix("").as_posix(),
            subject=who,
            split=split_of(who, self.validation, self.test),
            frame_rate_hz=round(1 / motion.frame_time_s / every, 3),
            frames=frames,
            joints=z_up(joints) if self.up == "y" else joints,
            source=f"bvh, {key}",
        )
