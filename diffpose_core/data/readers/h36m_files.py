# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M's poses, one file per sequence: CDF as published, or HDF5 of 3d-pose-baseline's archive ``h36m.zip``."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from diffpose_core.data.readers.cdf import read_cdf
from diffpose_core.data.readers.h36m_layout import LIMIT_FRAMES, POINTS, Folders
from diffpose_core.data.readers.hdf5 import member, stored_dataset

H5_KEY = "3D_positions"
H5_LIMIT_BYTES = LIMIT_FRAMES * POINTS * 3 * 8


def read_cdf_poses(path: Path) -> np.ndarray:
    """Read ``Pose`` [1, N, 96] mm of one of ``D3_Positions``, in the world frame; return [N, 32, 3] metres.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another shape, or see :func:`~diffpose_core.data.readers.cdf.read_cdf`.
    """
    found = read_cdf(path, "Pose")
    poses = found[0] if found.ndim == 3 and len(found) == 1 else found
    if poses.ndim != 2 or poses.shape[1] != 3 * POINTS:
        raise ValueError(f"{path}: Pose has shape {found.shape}, expected (1, frames, {3 * POINTS})")
    return poses.reshape(-1, POINTS, 3) / 1000.0


def read_h5_poses(path: Path) -> np.ndarray:
    """Read ``3D_positions`` [96, N] mm, in the world frame; return [N, 32, 3] metres.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, damaged, another shape, or more announced than stored.
    """
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    try:
        with h5py.File(path, "r") as file:
            if H5_KEY not in file:
                raise ValueError(f"key {H5_KEY!r} is missing; there are {', '.join(map(str, file))}")
            return h5_numbers(file, H5_KEY, (3 * POINTS, None)).T.reshape(-1, POINTS, 3) / 1000.0
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def h5_numbers(file: h5py.Group, key: str, shape: tuple[int | None, ...], kinds: str = "f") -> np.ndarray:
    """Read a dataset of numbers that lies in the file, after comparing what it announces with what is stored.

    Args:
        file: file or group.
        key: path of the dataset in it.
        shape: expected; None for any length.
        kinds: letters of the kinds of numpy type accepted.

    Raises:
        ValueError: no such dataset, another shape or type, or more announced than stored or than the limit.
    """
    if (found := member(file, key)) is None:
        raise ValueError(f"dataset {key!r} is missing or a link")
    data = stored_dataset(found, key, H5_LIMIT_BYTES)
    alike = len(data.shape) == len(shape) and all(w in (None, s) for w, s in zip(shape, data.shape, strict=True))
    if not alike or data.dtype.kind not in kinds:
        raise ValueError(f"{key} is {data.shape} of {data.dtype}, expected {shape} of kind {kinds}")
    return np.asarray(data[()])


CDF = Folders(
    ".cdf",
    (
        "{s}/MyPoseFeatures/D3_Positions",
        "{s}/Poses_D3_Positions",
        "Poses_D3_Positions_{s}/{s}/MyPoseFeatures/D3_Positions",
        "Poses_D3_Positions_{s}/MyPoseFeatures/D3_Positions",
        "Poses_D3_Positions_{s}",
    ),
    read_cdf_poses,
)
"""As published: the archives ``Poses_D3_Positions_S9.tgz``, unpacked side by side or each in its folder."""

H5 = Folders(".h5", ("{s}/MyPoses/3D_positions",), read_h5_poses)
"""3d-pose-baseline's ``h36m.zip``."""
