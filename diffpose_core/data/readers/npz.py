# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Motion that is joints of H36M17 already, in an ``.npz``: the way in for one's own motion capture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffpose_core.data.prepared import SPLITS, Description, Recording
from diffpose_core.data.readers.arrays import load_arrays
from diffpose_core.skeleton import H36M17

KEYS = (
    "joints", "joint_names", "subject", "split", "source", "source_names", "motion", "motion_names", "frame_time",
    "src_frame",
)  # fmt: skip


@dataclass(frozen=True)
class Npz:
    """One's own motion: joints of H36M17 in an .npz, whose keys docs/data.md lists.

    Attributes:
        source: the file.
        dataset: name of the data; empty for the file's name.
        licence: terms of the data, kept in the prepared file.
        citation: what to cite, kept in the prepared file.
    """

    source: Path
    dataset: str = ""
    licence: str = "not stated"
    citation: str = "not stated"

    def describe(self) -> Description:
        """Say what was given."""
        return Description(self.dataset or self.source.stem, self.licence, self.citation)

    def recordings(self) -> Iterator[Recording]:
        """Read recordings from an ``.npz`` of N poses, those of a motion one after the other.

        ==================  =============  ======================================================================
        joints              [N, 17, 3]     metres, right-handed world frame with z up
        joint_names         [17]           those of H36M17, in its order
        subject             [N]            number of the person
        split               [N]            0 training, 1 validation, 2 test
        source, motion      [N]            numbers that count into ``source_names`` and ``motion_names``
        frame_time          [N]            seconds from one pose to the next
        src_frame           [N]            number of the frame in the original recording
        ==================  =============  ======================================================================

        Raises:
            FileNotFoundError: no such file.
            ValueError: a key is missing or damaged, other joint names, columns of different lengths, numbers without a
                name, a motion that is cut in two or of two people, or poses that are not finite.
        """
        arrays = load_arrays(self.source, KEYS)
        self._check(arrays)
        poses = len(arrays["joints"])
        starts = np.flatnonzero(np.diff(arrays["motion"], prepend=-1))
        seen: set[str] = set()
        for first, end in zip(starts, [*starts[1:], poses], strict=True):
            part = slice(first, end)
            name = str(arrays["motion_names"][arrays["motion"][first]])
            for key in ("subject", "split", "source", "frame_time"):
                if (arrays[key][part] != arrays[key][first]).any():
                    raise ValueError(f"{self.source}: motion {name!r} has more than one {key}")
            if name in seen:
                raise ValueError(f"{self.source}: the poses of motion {name!r} are not one after the other")
            seen.add(name)
            yield Recording(
                name=name,
                subject=str(arrays["subject"][first]),
                split=SPLITS[arrays["split"][first]],
                # Times are stored in single precision, which gives 29.99993 for 30.
                frame_rate_hz=round(1 / float(arrays["frame_time"][first]), 2),
                frames=arrays["src_frame"][part],
                joints=arrays["joints"][part],
                source=str(arrays["source_names"][arrays["source"][first]]),
            )

    def _check(self, arrays: dict[str, np.ndarray]) -> None:
        for key, kinds, axes in (
            ("joints", "f", 3), ("joint_names", "U", 1), ("source_names", "U", 1), ("motion_names", "U", 1),
            ("subject", "iu", 1), ("split", "iu", 1), ("source", "iu", 1), ("motion", "iu", 1), ("src_frame", "iu", 1),
            ("frame_time", "f", 1),
        ):  # fmt: skip
            if arrays[key].dtype.kind not in kinds or arrays[key].ndim != axes:
                what = {"f": "real numbers", "U": "text", "iu": "whole numbers"}[kinds]
                raise ValueError(
                    f"{self.source}: {key} is {arrays[key].dtype} {arrays[key].shape}, expected {what} of {axes} axes"
                )
        names = tuple(str(n) for n in arrays["joint_names"])
        if names != H36M17.joints:
            raise ValueError(f"{self.source}: joint_names are {names}, expected {H36M17.joints}")
        poses = len(arrays["joints"])
        if poses == 0:
            raise ValueError(f"{self.source}: joints holds no poses")
        for key in ("subject", "split", "source", "motion", "frame_time", "src_frame"):
            if arrays[key].shape != (poses,):
                raise ValueError(f"{self.source}: {key} has shape {arrays[key].shape}, expected ({poses},)")
        for key, size in (
            ("split", len(SPLITS)),
            ("source", len(arrays["source_names"])),
            ("motion", len(arrays["motion_names"])),
        ):
            if arrays[key].min() < 0 or arrays[key].max() >= size:
                raise ValueError(f"{self.source}: {key} must hold whole numbers from 0 to {size - 1}")
        if not (arrays["frame_time"] > 0).all():
            raise ValueError(f"{self.source}: frame_time must be positive, got {arrays['frame_time'].min()}")
