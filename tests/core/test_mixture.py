# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Poses are drawn from several files as often as asked for, and only those that may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core.data import PoseMixture
from diffpose_core.data.prepared import SPLITS, Description, PreparedPoses, Recording, open_prepared, write_prepared

DRAWS = 40_000


def write_numbered(path: Path, clips: list[tuple[str, str, int]], first: int = 0) -> PreparedPoses:
    """Write clips (subject, split, poses); every coordinate of a pose is its number, counted on from ``first``."""
    recordings, at = [], first
    for i, (subject, split, length) in enumerate(clips):
        number = np.arange(at, at + length, dtype=np.float32)[:, None, None]
        joints = np.broadcast_to(number, (length, 17, 3))
        recordings.append(Recording(f"clip {i}", subject, split, 30.0, np.arange(length), joints))
        at += length
    write_prepared(path, Description("numbers", "free", "nobody"), recordings)
    return open_prepared(path)


def drawn(mixture: PoseMixture, n: int = DRAWS, seed: int = 0) -> torch.Tensor:
    """Return the numbers of drawn poses."""
    joints = mixture.draw(n, torch.Generator().manual_seed(seed))
    assert joints.shape == (n, 17, 3)
    assert torch.equal(joints, joints[:, :1, :1].expand_as(joints))
    return joints[:, 0, 0].long()


clip = st.tuples(st.sampled_from("ABC"), st.sampled_from(SPLITS), st.integers(1, 30))


@settings(max_examples=25, deadline=None)
@given(
    data=st.lists(st.lists(clip, min_size=1, max_size=6), min_size=1, max_size=3),
    temper=st.floats(0, 1),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_pose_comes_as_often_as_its_file_and_subject_say(
    tmp_path_factory: pytest.TempPathFactory,
    data: list[list[tuple[str, str, int]]],
    temper: float,
    weighted: bool,
    seed: int,
) -> None:
    data = [[("A", "train", 2), *clips] for clips in data]
    folder, files, expected, shares = tmp_path_factory.mktemp("m"), [], [], []
    weights = [3.0, 1.0, 2.0][: len(data)] if weighted else []
    for i, clips in enumerate(data):
        files.append(write_numbered(folder / f"{i}.safetensors", clips, sum(len(e) for e in expected)))
        poses = {s: sum(n for who, split, n in clips if (who, split) == (s, "train")) for s in "ABC"}
        of_subject = {s: n**temper if n else 0.0 for s, n in poses.items()}
        each = [of_subject[who] / poses[who] if split == "train" else 0.0 for who, split, n in clips for _ in range(n)]
        shares.append(weights[i] if weighted else sum(of_subject.values()))
        expected.append(np.array(each) / sum(each))
    share = np.array(shares) / sum(shares)
    probability = np.concatenate([s * e for s, e in zip(share, expected, strict=True)])

    mixture = PoseMixture(files, "train", weights, temper)
    assert mixture.shares == pytest.approx(share.tolist())
    assert float(mixture.probability.sum()) == pytest.approx(1)
    assert len(mixture) == np.count_nonzero(probability)
    counts = torch.bincount(drawn(mixture, seed=seed), minlength=len(probability)).numpy()
    assert counts[probability == 0].sum() == 0
    there = probability > 0
    off = (counts[there] - DRAWS * probability[there]) / np.sqrt(DRAWS * probability[there])
    assert np.abs(off).max() < 5.5  # standard deviations


def test_excluded_recordings_are_never_drawn(tmp_path: Path) -> None:
    file = write_numbered(tmp_path / "a", [("A", "train", 5), ("A", "train", 5), ("B", "train", 5)])
    mixture = PoseMixture([file], "train", exclude=["clip 1"])
    assert set(drawn(mixture).tolist()) == {0, 1, 2, 3, 4, 10, 11, 12, 13, 14}
    assert mixture.probability.tolist() == [0.5, 0.5]
    assert mixture.people == ["A", "B"]


def test_a_sample_is_spread_over_all_recordings_in_the_files_shares(tmp_path: Path) -> None:
    many = write_numbered(tmp_path / "many", [("A", "train", 7), ("B", "validation", 600), ("C", "validation", 300)])
    few = write_numbered(tmp_path / "few", [("A", "validation", 40)], first=907)
    mixture = PoseMixture([many, few], "validation", [3, 1])
    assert mixture.sample(40)[:, 0, 0].tolist() == [*range(7, 907, 30), *range(907, 947, 4)]
    assert mixture.sample(30)[:, 0, 0].tolist()[22:] == [907, 912, 917, 922, 927, 932, 937, 942]
    assert len(PoseMixture([many], "validation").sample(600)) == 600, "not all 900"
    assert len(mixture.sample(10_000)) == 940, "all there are, none twice"


def test_unusable_mixtures_are_refused(tmp_path: Path) -> None:
    file = write_numbered(tmp_path / "a", [("A", "train", 5)])
    with pytest.raises(ValueError, match="at least one"):
        PoseMixture([], "train")
    with pytest.raises(ValueError, match=r"a: split 'validation' holds no poses"):
        PoseMixture([file], "validation")
    for weights in ([1.0, 2.0], [0.0], [-1.0]):
        with pytest.raises(ValueError, match="one positive number for each of 1 files, got"):
            PoseMixture([file], "train", weights)


def test_drawing_reads_the_mapped_file(tmp_path: Path) -> None:
    file = write_numbered(tmp_path / "a", [("A", "train", 5)])
    assert drawn(PoseMixture([replace(file, joints=file.joints + 100)], "train"), 50).min() == 100
    assert PoseMixture([file], "train").files[0].joints.data_ptr() == file.joints.data_ptr()
