# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M's poses and 2D keypoints as VideoPose3D stores them: pickled dictionaries in ``.npz``, never executed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.data.readers.arrays import load_object
from diffpose_core.data.readers.h36m_layout import CAMERAS, Sequences, check_complete, sequence_name, to_joints
from diffpose_core.skeleton import H36M17

LACKING = "S11/Directions"
"""Recording that VideoPose3D leaves out: the video of one camera is damaged."""
SIDES = ([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16])
"""Left and right keypoints in H36M17's order, by which the files say their skeleton (``keypoints_symmetry``)."""


def find_npz(path: Path, subjects: Collection[str]) -> Sequences:
    """List the sequences of ``data_3d_h36m.npz``: ``positions_3d``, subject to action to [N, 32, 3] metres.

    Raises:
        FileNotFoundError: no such file, or a sequence is missing.
        ValueError: damaged, or of another structure.
    """
    found: Sequences = {}
    for subject, name, poses in _actions(path, "positions_3d", subjects):
        if not isinstance(poses, np.ndarray) or poses.dtype.kind != "f":
            raise ValueError(f"{path}: {subject}, {name}: the poses are no array of numbers")
        found[subject, name] = partial(to_joints, poses, f"{path}: {subject}, {name}")
    check_complete(found, subjects, path, lacking=LACKING)
    return found


def load_keypoints(path: Path, subjects: Collection[str]) -> dict[tuple[str, str, str], np.ndarray]:
    """Read ``positions_2d``, subject to action to a list over cameras of [M, 17, 2] px, e.g. of ``cpn_ft_h36m_dbb``.

    Returns:
        By subject, sequence and camera.

    Raises:
        FileNotFoundError: no such file, or a subject or sequence is missing.
        ValueError: damaged, of another structure, or not the joints of H36M17 (``detectron_pt_coco``, ``sh_pt_mpii``).
    """
    about = load_object(path, "metadata")
    sides = about.get("keypoints_symmetry") if isinstance(about, Mapping) else None
    if not _same(sides, SIDES):
        layout = about.get("layout_name", "unnamed") if isinstance(about, Mapping) else "unnamed"
        raise ValueError(
            f"{path}: keypoints of the layout {layout!r}, left and right {sides}; only H36M17's are read, {SIDES}"
        )
    found = {}
    for subject, name, views in _actions(path, "positions_2d", subjects):
        if not isinstance(views, (list, tuple)) or len(views) != len(CAMERAS):
            raise ValueError(f"{path}: {subject}, {name}: expected keypoints of {len(CAMERAS)} cameras")
        for camera, points in zip(CAMERAS, views, strict=True):
            shape = getattr(points, "shape", None)
            if shape is None or points.dtype.kind != "f" or len(shape) != 3 or shape[1:] != (len(H36M17), 2):
                raise ValueError(
                    f"{path}: {subject}, {name}, {camera}: keypoints are {shape}, expected (frames, 17, 2)"
                )
            found[subject, name, camera] = np.asarray(points)
    check_complete({(s, n) for s, n, _ in found}, subjects, path, lacking=LACKING)
    return found


def trim(points: np.ndarray, frames: int, where: str) -> np.ndarray:
    """Cut keypoints to as many frames as there are poses: some videos go on after the motion capture ends.

    VideoPose3D does the same (``run.py``) and stops where keypoints are fewer than poses.

    Raises:
        ValueError: fewer keypoints than poses.
    """
    if len(points) < frames:
        raise ValueError(f"{where}: keypoints of {len(points)} frames, poses of {frames}")
    return points[:frames]


def _same(sides: Any, wanted: tuple[list[int], list[int]]) -> bool:
    try:
        return [sorted(map(int, side)) for side in sides] == list(wanted)
    except (TypeError, ValueError):
        return False


def _actions(path: Path, key: str, subjects: Collection[str]) -> list[tuple[str, str, Any]]:
    """Return (subject, sequence, what is there) of some subjects; others, such as S2 to S4, are left alone."""
    held = load_object(path, key)
    if not isinstance(held, Mapping):
        raise ValueError(f"{path}: {key} is no dictionary of subjects")
    found, seen = [], set()
    for subject in subjects:
        actions = held.get(subject)
        if not isinstance(actions, Mapping):
            there = ", ".join(sorted(map(str, held)))
            raise FileNotFoundError(f"{path}: nothing of {subject} in {key}; there are {there}")
        for action, value in actions.items():
            name = sequence_name(str(action), f"{path}: {subject}")
            if (subject, name) in seen:
                raise ValueError(f"{path}: {subject}, {name!r} is there twice, once under its old name")
            seen.add((subject, name))
            found.append((subject, name, value))
    return found
