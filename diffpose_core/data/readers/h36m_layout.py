# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the layouts of Human3.6M's poses share: people, actions, cameras, joints and the names of recordings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from diffpose_core.skeleton import H36M17

SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
"""Whose poses are published."""
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases", "Sitting",
    "SittingDown", "Smoking", "Waiting", "WalkDog", "WalkTogether", "Walking",
)  # fmt: skip
PER_ACTION = 2
"""Recordings of each person and action."""
CAMERAS = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
"""Width and height in pixels of the images of each camera, in the order of all the files (VideoPose3D)."""
FRAME_RATE_HZ = 50.0
LIMIT_FRAMES = 100_000
"""Most frames of a recording; the longest published one has some 6,000."""
POINTS = 32
"""Points of the published skeleton, of which many coincide."""
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of them are the joints of H36M17, in its order (3d-pose-baseline; VideoPose3D removes the others)."""
TORSO_M = (0.2, 1.0)
"""Between these lies everybody's distance from Pelvis to Thorax."""
_SPELLINGS = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
_NAME = re.compile(r"([A-Za-z]+)( [1-3])?")

Sequences = dict[tuple[str, str], Callable[[], np.ndarray]]
"""By subject and sequence name: how to read its joints, [N, 17, 3] metres."""


def sequence_name(found: str, where: object) -> str:
    """Return a sequence's name as all layouts have it: S1's ``TakingPhoto 1`` and ``WalkingDog`` are renamed.

    Raises:
        ValueError: no action of Human3.6M.
    """
    match = _NAME.fullmatch(found)
    action = match and _SPELLINGS.get(match[1], match[1])
    if not match or action not in ACTIONS:
        raise ValueError(f"{where}: {found!r} is no sequence of Human3.6M, such as 'Greeting' or 'Greeting 1'")
    return f"{action}{match[2] or ''}"


def action_of(sequence: str) -> str:
    """Return the action of a sequence, e.g. ``Greeting`` of ``Greeting 1``."""
    return sequence.partition(" ")[0]


def check_complete(there: Iterable[tuple[str, str]], subjects: Collection[str], where: Path, lacking: str = "") -> None:
    """Raise ``FileNotFoundError`` unless two recordings of each action are there.

    Args:
        there: subject and sequence of each.
        subjects: whose must be there.
        where: the source, for the error.
        lacking: ``subject/action`` of which this layout may have one only.
    """
    counts = Counter((subject, action_of(sequence)) for subject, sequence in there)
    for subject in subjects:
        for action in ACTIONS:
            allowed = (PER_ACTION, PER_ACTION - 1) if f"{subject}/{action}" == lacking else (PER_ACTION,)
            if (found := counts[subject, action]) not in allowed:
                raise FileNotFoundError(f"{where}: {subject} has {found} recordings of {action}, expected {PER_ACTION}")


def to_joints(points: np.ndarray, where: object) -> np.ndarray:
    """Take the joints of H36M17 out of [N, 32, 3] metres.

    Raises:
        ValueError: another shape, or a torso of impossible length: other units or another order of joints.
    """
    if points.ndim != 3 or points.shape[1:] != (POINTS, 3) or not 0 < len(points) <= LIMIT_FRAMES:
        raise ValueError(f"{where}: poses have shape {points.shape}, expected (1 to {LIMIT_FRAMES:,}, {POINTS}, 3)")
    joints = np.asarray(points)[:, JOINTS]
    torso = np.linalg.norm(joints[:, H36M17.index("Thorax")] - joints[:, H36M17.index("Pelvis")], axis=-1)
    if not np.isfinite(torso).all():
        return joints  # refused by frame where the recording is made
    if not TORSO_M[0] < (middle := float(np.median(torso))) < TORSO_M[1]:
        raise ValueError(f"{where}: the torso is {middle:g} m long; other units, or other joints?")
    return joints


@dataclass(frozen=True)
class Folders:
    """A layout of one file per sequence.

    Attributes:
        suffix: of the files.
        folders: where a subject's files may lie; ``{s}`` stands for the subject.
        read: how a file is read: [N, 32, 3] metres.
    """

    suffix: str
    folders: tuple[str, ...]
    read: Callable[[Path], np.ndarray]

    def folder(self, source: Path, subject: str) -> Path | None:
        """Return where a subject's files lie; None where there are none."""
        for pattern in self.folders:
            if (found := source / pattern.format(s=subject)).is_dir():
                return found
        return None

    def find(self, source: Path, subjects: Collection[str]) -> Sequences:
        """List the sequences of some subjects.

        Raises:
            FileNotFoundError: a subject's folder or one of its files is missing.
            ValueError: a file is no sequence of Human3.6M, or a sequence is there twice.
        """
        found: Sequences = {}
        for subject in subjects:
            folder = self.folder(source, subject)
            if folder is None:
                looked = ", ".join(p.format(s=subject) for p in self.folders)
                raise FileNotFoundError(f"{source}: nothing of {subject}; looked for the folders {looked}")
            for path in sorted(folder.glob(f"*{self.suffix}")):
                if path.stem.startswith("_ALL"):  # everything between the sequences, which nobody uses
                    continue
                key = subject, sequence_name(path.stem, folder)
                if key in found:
                    raise ValueError(f"{folder}: {key[1]!r} is there twice, once under its old name")
                found[key] = partial(self._joints, path)
        check_complete(found, subjects, source)
        return found

    def _joints(self, path: Path) -> np.ndarray:
        return to_joints(self.read(path), path)
