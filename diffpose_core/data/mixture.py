# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Poses drawn from several prepared files by weight, without ever holding them in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.data.prepared import PreparedPoses, RecordingInfo


class PoseMixture:
    """One split of several prepared files, from which poses are drawn with replacement.

    A file is drawn by its share, in it a subject in proportion to its poses ** ``temper``, of a subject every pose
    alike. The poses stay in the mapped files; the tables grow with the number of recordings only.

    Attributes:
        files: the prepared files, of different people.
        shares: part of the draws that each file gets; they add up to one.
        recordings: of the split, file by file.
        probability: [R] of each recording.
    """

    def __init__(
        self, files: Sequence[PreparedPoses], split: str, weights: Sequence[float] = (), temper: float = 0.5,
        exclude: Collection[str] = (),
    ) -> None:  # fmt: skip
        """Make the tables.

        Args:
            files: prepared files.
            split: which recordings are drawn.
            weights: of the files; none: as if all were one file.
            temper: 1 draws every pose alike, 0 every subject.
            exclude: names of recordings that are never drawn.

        Raises:
            ValueError: no file, a file without such poses, a weight that is not positive, or not one for each file.
        """
        if not files:
            raise ValueError("a mixture needs at least one prepared file")
        if weights and (len(weights) != len(files) or min(weights) <= 0):
            raise ValueError(f"weights must be one positive number for each of {len(files)} files, got {list(weights)}")
        each = [[r for r in f.of_split(split) if r.name not in exclude and r.length] for f in files]
        for file, recordings in zip(files, each, strict=True):
            if not recordings:
                raise ValueError(f"{file.path}: split {split!r} holds no poses")
        tables = [_tempered(recordings, temper) for recordings in each]
        sizes = torch.tensor(weights or [float(t.sum()) for t in tables], dtype=torch.float64)
        self.files, self._each = list(files), each
        self.shares: list[float] = (sizes / sizes.sum()).tolist()
        self.recordings = [r for recordings in each for r in recordings]
        self.probability = torch.cat([s * t / t.sum() for s, t in zip(self.shares, tables, strict=True)])
        self._until = self.probability.cumsum(0)
        self._until[-1] = 1.0  # not a rounding error less: a draw lies below one
        self._first = torch.tensor([r.first for r in self.recordings])
        self._length = torch.tensor([r.length for r in self.recordings])
        self._file_until = torch.tensor(list(accumulate(len(recordings) for recordings in each)))

    def __len__(self) -> int:
        return int(self._length.sum())

    @property
    def people(self) -> list[str]:
        """Names of the subjects, file by file in natural order."""
        there = [{r.subject for r in part} for part in self._each]
        return [name for f, some in zip(self.files, there, strict=True) for name in f.subjects if name in some]

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 17 3"]:
        """Read n poses drawn by weight: metres, world frame with z up."""
        recording, within = torch.rand(2, n, dtype=torch.float64, generator=generator)
        which = torch.searchsorted(self._until, recording, right=True)
        pose = self._first[which] + (within * self._length[which]).long()
        if len(self.files) == 1:
            return self.files[0].joints[pose]
        file = torch.searchsorted(self._file_until, which, right=True)
        result = torch.empty(n, *self.files[0].joints.shape[1:])
        for i, prepared in enumerate(self.files):
            rows = (file == i).nonzero()[:, 0]
            result[rows] = prepared.joints[pose[rows]]
        return result

    def sample(self, most: int) -> Float[Tensor, "n 17 3"]:
        """Read at most about ``most`` poses, of every file its share, evenly spread over its recordings."""
        result = []
        for (begin, end), share, file in zip(
            pairwise([0, *self._file_until.tolist()]), self.shares, self.files, strict=True
        ):
            length = self._length[begin:end]
            until = length.cumsum(0)
            total = int(until[-1])
            n = min(total, max(1, round(most * share)))
            count = torch.arange(n) * total // n
            which = torch.searchsorted(until, count, right=True)
            result.append(file.joints[self._first[begin:end][which] + count - (until - length)[which]])
        return torch.cat(result)


def _tempered(recordings: list[RecordingInfo], temper: float) -> Tensor:
    """Return a weight for each recording: its part of its subject's poses ** temper."""
    poses: dict[str, int] = {}
    for r in recordings:
        poses[r.subject] = poses.get(r.subject, 0) + r.length
    return torch.tensor([r.length * poses[r.subject] ** (temper - 1) for r in recordings], dtype=torch.float64)
