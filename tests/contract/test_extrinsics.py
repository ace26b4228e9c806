# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where the cameras are, from a file."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from diffpose_ros.extrinsics import FileExtrinsics, TfExtrinsics, relative, transform

# Optical frames of two cameras 1.5 m high: one looks along x of the room, the other along y.
EXTRINSICS = """
target_frame: map
cameras:
  left:
    frame_id: left_optical_frame
    translation: [0.0, 0.0, 1.5]
    quaternion: [-0.5, 0.5, -0.5, 0.5]
  right:
    frame_id: right_optical_frame
    translation: [4, -3, 1.5]
    quaternion: [-0.70710678, 0.0, 0.0, 0.70710678]
"""


def written(tmp_path, text=EXTRINSICS):
    path = tmp_path / "extrinsics.yaml"
    path.write_text(text)
    return str(path)


def test_the_position_of_every_camera(tmp_path):
    find = FileExtrinsics(written(tmp_path), "map", ["left", "right"])
    left = find("left", Header(frame_id="left_optical_frame"))
    # A point 2 m before the left camera and 1 m below its axis is at 2, 0, 0.5 of the room.
    point = left[:, :3] @ torch.tensor([0.0, 1.0, 2.0]) + left[:, 3]
    torch.testing.assert_close(point, torch.tensor([2.0, 0.0, 0.5]))
    right = find("right", Header(frame_id="right_optical_frame"))
    point = right[:, :3] @ torch.tensor([1.0, 0.0, 2.0]) + right[:, 3]
    torch.testing.assert_close(point, torch.tensor([5.0, -1.0, 1.5]))


def test_another_frame_is_refused(tmp_path):
    find = FileExtrinsics(written(tmp_path), "map", ["left"])
    with pytest.raises(ValueError, match=r"frame_id must be 'left_optical_frame' .* got 'right_optical_frame'"):
        find("left", Header(frame_id="right_optical_frame"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("target_frame: map", "target_frame: odom", "target_frame is 'odom', the parameter target_frame is 'map'"),
        ("target_frame: map", "", "target_frame is missing"),
        ("target_frame: map", "target_frame: 3", "target_frame must be a str, got 3"),
        ("cameras:", "kameras:", "cameras is missing"),
        ("  right:", "  middle:", r"cameras\.right is missing"),
        ("    frame_id: right_optical_frame", "", r"cameras\.right\.frame_id is missing"),
        (
            "translation: [4, -3, 1.5]",
            "translation: [4, -3]",
            r"cameras\.right: translation must hold 3 finite numbers",
        ),
        ("translation: [4, -3, 1.5]", "translation: [4, -3, .nan]", "translation must hold 3 finite numbers"),
        ("translation: [4, -3, 1.5]", "translation: [4, -3, high]", r"cameras\.right\.translation must hold numbers"),
        ("translation: [4, -3, 1.5]", "translation: 4", r"cameras\.right\.translation must be a list, got 4"),
        ("[-0.5, 0.5, -0.5, 0.5]", "[-0.5, 0.5, -0.5]", r"cameras\.left: quaternion must hold 4 finite numbers"),
        ("[-0.5, 0.5, -0.5, 0.5]", "[-0.5, 0.5, -0.5, 0.9]", r"quaternion .* must have length 1, got .* 1\.249"),
        ("[-0.5, 0.5, -0.5, 0.5]", "[0, 0, 0, 0]", "quaternion .* must have length 1"),
        ("translation: [4, -3, 1.5]", f"translation: [4, -3, 1{'0' * 400}]", "int too large to convert to float"),
        ("cameras:", "cameras: [", "is not YAML"),
        (EXTRINSICS, "[" * 20_000, "is not YAML: maximum recursion depth"),
        (EXTRINSICS, "", "must hold a mapping, got NoneType"),
        (EXTRINSICS, "x" * 1_000_001, "must hold at most 1000000 bytes, got 1000001"),
    ],
)
def test_bad_files_are_refused(tmp_path, old, new, words):
    path = written(tmp_path, EXTRINSICS.replace(old, new))
    with pytest.raises(ValueError, match=f"extrinsics file .*extrinsics.yaml.*{words}"):
        FileExtrinsics(path, "map", ["left", "right"])


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        FileExtrinsics(str(tmp_path / "none.yaml"), "map", ["left"])


def test_without_a_file_and_without_tf():
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="parameter extrinsics_file is empty, and there is no TF to ask"):
            TfExtrinsics(None, "map", "extrinsics_file is empty")
    else:
        pytest.skip("tf2_ros is installed")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_transforms(seed):
    rng = np.random.default_rng(seed)
    rotations = [Rotation.random(rng=rng) for _ in range(2)]
    offsets = [rng.normal(size=3) * 5 for _ in range(2)]
    a, b = (transform(t, r.as_quat()) for t, r in zip(offsets, rotations, strict=True))
    np.testing.assert_allclose(a[:, :3], rotations[0].as_matrix(), atol=1e-6)
    point = rng.normal(size=3)
    in_target = rotations[1].apply(point) + offsets[1]
    a_from_b = relative(a, b).double().numpy()
    expected = rotations[0].inv().apply(in_target - offsets[0])
    np.testing.assert_allclose(a_from_b[:, :3] @ point + a_from_b[:, 3], expected, atol=1e-5)
