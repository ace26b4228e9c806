"""Loading a prepared motion-capture file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.skeleton import H36M17

SPLITS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class MocapSet:
    """Poses of one split.

    Attributes:
        joints: [N, 17, 3] metres, world frame with z up, global position kept.
        subject: [N] subject number.
        source: N names of the file family a pose came from.
    """

    joints: Float[Tensor, "n 17 3"]
    subject: Int[Tensor, "n"]
    source: list[str]

    def __len__(self) -> int:
        return len(self.joints)


def load_mocap(path: str | Path, split: str) -> MocapSet:
    """Read one split of an ``.npz`` with keys joints, joint_names, subject, source, split.

    The poses are moved from z-up world axes into upright camera axes by
    :func:`diffpose_core.data.camera_rotation`, not here.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown split, a missing key, other joint names, or poses that are not finite.
    """
    path = Path(path)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {sorted(SPLITS)}, got {split!r}")
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    with np.load(path, allow_pickle=False) as archive:
        for key in ("joints", "joint_names", "subject", "source", "split"):
            if key not in archive:
                raise ValueError(f"{path}: key {key!r} is missing")
        names = tuple(str(n) for n in archive["joint_names"])
        if names != H36M17.joints:
            raise ValueError(f"{path}: joint_names are {names}, expected {H36M17.joints}")
        keep = archive["split"] == SPLITS[split]
        joints, subject, source = archive["joints"][keep], archive["subject"][keep], archive["source"][keep]
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints holds values that are not finite")
    return MocapSet(
        torch.from_numpy(np.ascontiguousarray(joints, dtype=np.float32)),
        torch.from_numpy(np.asarray(subject, dtype=np.int64)),
        [str(s) for s in source],
    )
