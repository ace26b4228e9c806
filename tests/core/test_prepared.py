# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The prepared format: what is written is read back, and what is damaged, foreign or absurd is refused by name."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from diffpose_core import Camera
from diffpose_core.data.prepared import Description, Recording, View, open_prepared, write_prepared

ABOUT = Description("invented", "free", "nobody", ("Nose",), "pytest")
CAMERA = Camera(1145.0, 1143.8, 512.5, 515.4, 1000, 1002, (-0.2, 0.24, -0.001, 0.002, -0.002))


def recording(name: str, length: int, seed: int = 0, **other: object) -> Recording:
    rng = np.random.default_rng(seed)
    found = Recording(name, "S1", "train", 50.0, np.arange(length) * 3, rng.normal(size=(length, 17, 3)))
    return replace(found, **other)


def view(length: int, keypoints: bool = True) -> View:
    still = np.broadcast_to(np.eye(3, 4), (length, 3, 4))
    return View(CAMERA, still, np.full((length, 17, 2), 7.25) if keypoints else None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a" / "poses.safetensors"
    write_prepared(
        path, ABOUT, [recording("one", 4), recording("two", 3, 1, split="test", action="Sitting", view=view(3))]
    )
    return path


def test_recordings_come_back_with_cameras_and_keypoints(file: Path) -> None:
    found = open_prepared(file)
    assert len(found) == 7
    assert found.description == ABOUT
    assert [(r.name, r.first, r.length, r.camera) for r in found.recordings] == [("one", 0, 4, None), ("two", 4, 3, 0)]
    assert [r.action for r in found.of_split("test")] == ["Sitting"]
    assert found.cameras == [CAMERA]
    np.testing.assert_array_equal(found.joints[4:].numpy(), recording("two", 3, 1).joints.astype(np.float32))
    assert found.frames.tolist() == [0, 3, 6, 9, 0, 3, 6]
    assert found.keypoints is not None
    assert found.camera_from_world is not None
    assert found.keypoints[:4].isnan().all()
    assert found.keypoints[4:].eq(7.25).all()
    assert found.camera_from_world[5].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert found.keypoint_confidence is not None
    assert found.keypoint_confidence[4:].eq(1).all()


def test_people_are_in_natural_order(tmp_path: Path) -> None:
    clips = [recording(name, 1, subject=name) for name in ("S11", "S9", "10", "9", "S9b", "S1")]
    write_prepared(tmp_path / "poses.safetensors", ABOUT, clips)
    assert open_prepared(tmp_path / "poses.safetensors").subjects == ["9", "10", "S1", "S9", "S9b", "S11"]


def test_a_file_without_cameras_has_no_columns_for_them(tmp_path: Path) -> None:
    write_prepared(tmp_path / "poses.safetensors", ABOUT, [recording("one", 2)])
    found = open_prepared(tmp_path / "poses.safetensors")
    assert (found.camera_from_world, found.keypoints, found.keypoint_confidence, found.cameras) == (
        None,
        None,
        None,
        [],
    )


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), seen=st.booleans())
def test_any_lengths_come_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seen: bool
) -> None:
    path = tmp_path_factory.mktemp("lengths") / "poses.safetensors"
    clips = [recording(str(i), n, i, view=view(n, seen) if i % 2 else None) for i, n in enumerate(lengths)]
    write_prepared(path, ABOUT, iter(clips))
    found = open_prepared(path)
    for clip, info in zip(clips, found.recordings, strict=True):
        np.testing.assert_array_equal(
            found.joints[info.first : info.first + info.length].numpy(), clip.joints.astype(np.float32)
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joints": np.full((4, 17, 3), np.nan)}, "joints is not finite in 4 frames, the first of them 0"),
        ({"joints": np.full((4, 17, 3), 20_000.0)}, "20000 m from the origin; are these millimetres"),
        ({"joints": np.zeros((4, 16, 3))}, r"joints has shape \(4, 16, 3\), expected \(4, 17, 3\)"),
        ({"frames": np.arange(5)}, r"frames has shape \(5,\)"),
        ({"split": "valid"}, "got 'valid'"),
        ({"frame_rate_hz": 0.0}, "frame_rate_hz must be positive and finite, got 0"),
        ({"view": view(3)}, r"camera_from_world has shape \(3, 3, 4\)"),
    ],
)
def test_a_recording_names_what_is_wrong_with_it(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"clip: .*{words}"):
        recording("clip", 4, **change)


def test_a_reader_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> Iterator[Recording]:
        yield recording("one", 2)
        raise ValueError("frame 3 is damaged")

    for bad, words in ((broken(), "frame 3"), ([recording("one", 1)] * 2, "'one'"), ([], "no poses")):
        with pytest.raises(ValueError, match=words):
            write_prepared(tmp_path / "poses.safetensors", ABOUT, bad)
        assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_the_earlier_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match="no poses"):
        write_prepared(file, ABOUT, [])
    assert file.read_bytes() == before


def test_one_changed_bit_is_noticed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="keypoint_confidence is damaged"):
        open_prepared(file)
    open_prepared(file, verify=False)


def test_cut_off_foreign_and_absurd_files_are_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + size])

    def with_header(change: dict) -> bytes:
        text = json.dumps(header | change).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + size :]

    meta = header["__metadata__"]
    told = json.loads(meta["recordings"])
    huge = header["joints"] | {"shape": [10**9, 17, 3], "data_offsets": [0, 204 * 10**9]}
    for data, words in (
        (whole[:-1], "not a readable prepared file"),
        (b"", "not a readable prepared file"),
        (struct.pack("<Q", 1 << 60), "not a readable prepared file"),
        (with_header({"joints": huge}), "not a readable prepared file"),
        (with_header({"__metadata__": meta | {"format": "diffpose-poses-2"}}), "'diffpose-poses-2', expected"),
        (with_header({"__metadata__": meta | {"skeleton": "COCO17"}}), "skeleton is 'COCO17', expected 'H36M17'"),
        (with_header({"__metadata__": meta | {"recordings": "[{}]"}}), "description is unusable"),
        (with_header({"__metadata__": meta | {"recordings": json.dumps(told[:1])}}), "hold 4 poses, the file 7"),
        (with_header({"__metadata__": meta | {"recordings": json.dumps(told[1:])}}), "'two' does not follow"),
        (with_header({"__metadata__": meta | {"cameras": "[]"}}), "names camera 0 of 0"),
    ):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(ValueError, match=words):
            open_prepared(tmp_path / "bad")
    save_file({"joints": torch.zeros(2, 17, 3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="format is None"):
        open_prepared(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_prepared(tmp_path / "nowhere")
