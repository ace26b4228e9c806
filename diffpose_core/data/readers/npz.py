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
    """One's own motion: joints of H36M17 in an ``.npz``, whose keys are those of :meth:`recordings`.

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
        names = tuple(str(n) for n in arrays["joint_names"])
        if names != H36M17.joints:
            raise ValueError(f"{self.source}: joint_names are {names}, expected {H36M17.joints}")
        poses = len(arrays["joints"])
        for key in ("subject", "split", "source", "motion", "frame_time", "src_frame"):
            if arrays[key].shape != (poses,):
                raise ValueError(f"{self.source}: {key} has shape {arrays[key].shape}, expected ({poses},)")
        for key, size in (
            ("split", len(SPLITS)),
            ("source", len(arrays["source_names"])),
            ("motion", len(arrays["motion_names"])),
        ):
            column = arrays[key]
            if (
                not np.issubdtype(column.dtype, np.integer)
                or column.min(initial=0) < 0
                or column.max(initial=0) >= size
            ):
                raise ValueError(f"{self.source}: {key} must hold whole numbers from 0 to {size - 1}")
        starts = np.flatnonzero(np.diff(arrays["motion"], prepend=-1))
        seen: set[str] = set()
        for first, end in zip(starts, [*starts[1:], poses], strict=True):
            part = slice(first, end)
            name = str(arrays["motion_names"][arrays["motion"][first]])
            for key in ("subject", "split", "source"):
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
