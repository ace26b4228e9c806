"""Loading a prepared motion-capture file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.skeleton import H36M17

KEYS = ("joints", "joint_names", "subject", "split", "source", "source_names", "motion", "motion_names")
SPLITS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class MocapSet:
    """Poses of one split.

    Attributes:
        joints: [N, 17, 3] metres, world frame with z up, global position kept.
        subject: [N] subject number.
        source: N names of the file family a pose came from.
        motion: N names of the clip a pose came from.
    """

    joints: Float[Tensor, "n 17 3"]
    subject: Int[Tensor, "n"]
    source: list[str]
    motion: list[str]

    def __len__(self) -> int:
        return len(self.joints)

    def without(self, motions: Collection[str]) -> MocapSet:
        """Return the poses of all other clips."""
        keep = [i for i, name in enumerate(self.motion) if name not in motions]
        return MocapSet(
            self.joints[keep], self.subject[keep], [self.source[i] for i in keep], [self.motion[i] for i in keep]
        )


def load_mocap(path: str | Path, split: str) -> MocapSet:
    """Read one split of an ``.npz`` with keys joints, joint_names, subject, split, and source and motion as numbers
    that count into source_names and motion_names.

    The poses are moved from z-up world axes into upright camera axes by
    :func:`diffpose_core.data.camera_rotation`, not here.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown split, a missing key, other joint names, numbers without a name, or poses that are
            not finite.
    """
    path = Path(path)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {sorted(SPLITS)}, got {split!r}")
    if not path.is_file():
        raise FileNotFoundError(f"motion data file not found: {path}")
    with np.load(path, allow_pickle=False) as archive:
        for key in KEYS:
            if key not in archive:
                raise ValueError(f"{path}: key {key!r} is missing")
        names = tuple(str(n) for n in archive["joint_names"])
        if names != H36M17.joints:
            raise ValueError(f"{path}: joint_names are {names}, expected {H36M17.joints}")
        keep = archive["split"] == SPLITS[split]
        joints, subject = archive["joints"][keep], archive["subject"][keep]
        named = {key: _names(archive, key, keep, path) for key in ("source", "motion")}
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints holds values that are not finite")
    return MocapSet(
        torch.from_numpy(np.ascontiguousarray(joints, dtype=np.float32)),
        torch.from_numpy(np.asarray(subject, dtype=np.int64)),
        named["source"],
        named["motion"],
    )


def _names(archive: Mapping[str, np.ndarray], key: str, keep: np.ndarray, path: Path) -> list[str]:
    index, names = archive[key], [str(n) for n in archive[key + "_names"]]
    if not np.issubdtype(index.dtype, np.integer) or index.min(initial=0) < 0 or index.max(initial=0) >= len(names):
        raise ValueError(f"{path}: {key} must hold numbers from 0 to {len(names) - 1}, which count into {key}_names")
    return [names[i] for i in index[keep]]
