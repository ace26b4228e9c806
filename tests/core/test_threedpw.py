# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""3DPW: sequences as Python 2 pickled them give the known joints, cameras and keypoints; what is damaged is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threed_files import (
    FileCamera,
    people,
    python2_pickle,
    read_in_little_memory,
    threedpw_sequence,
    write_3dpw,
    write_smpl,
    y_up,
)  # fmt: skip

from diffpose_core.data.prepared import open_prepared
from diffpose_core.data.readers.threedpw import ThreeDpw
from diffpose_core.skeleton import H36M17

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
TENTH_MM = 1e-4
PORTRAIT, LANDSCAPE = (1080, 1920), (1920, 1080)
FROM_SMPL = {1: 2, 2: 5, 3: 8, 4: 1, 5: 4, 6: 7, 7: 3, 8: 12, 11: 16, 12: 18, 13: 20, 14: 17, 15: 19, 16: 21}
"""Joints of H36M17 that are SMPL's, by number; the pelvis is the middle of SMPL's hips, 1 and 2."""


def walking_camera(frames: int, size: tuple[int, int] = PORTRAIT) -> list[FileCamera]:
    centre = (size[0] / 2, size[1] / 2)
    return [
        replace(FileCamera.around(3 * n, size, 5.0), centre=centre, focal=(1961.853, 1969.231)) for n in range(frames)
    ]


def one_sequence(frames: int = 6, **other: Any) -> dict[str, Any]:
    valid = np.ones(frames, bool)
    return threedpw_sequence("downtown_walk_00", [people(frames, 24)], walking_camera(frames), [valid], **other)


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE])
def test_every_person_is_a_recording_of_the_frames_whose_camera_is_known(
    protocol: int, size: tuple[int, int], tmp_path: Path
) -> None:
    bodies = [people(6, 24), people(6, 24, 1), people(6, 24, 2)]
    valid = [np.array([1, 1, 0, 1, 0, 1], bool), np.ones(6, bool), np.zeros(6, bool)]
    cameras = walking_camera(6, size)
    write_3dpw(tmp_path, "test", threedpw_sequence("downtown_walk_00", bodies, cameras, valid), protocol)
    first, second = ThreeDpw(tmp_path, splits=("test",)).recordings()
    for recording, person, frames in ((first, 0, [0, 1, 3, 5]), (second, 1, [0, 1, 2, 3, 4, 5])):
        assert recording.name == f"downtown_walk_00/{person}"
        assert (recording.split, recording.frame_rate_hz, recording.frames.tolist()) == ("test", 30.0, frames)
        smpl = bodies[person][frames]
        np.testing.assert_allclose(
            recording.joints[:, list(FROM_SMPL)], smpl[:, list(FROM_SMPL.values())], atol=TENTH_MM
        )
        np.testing.assert_allclose(recording.joints[:, 0], smpl[:, 1:3].mean(1), atol=TENTH_MM)
        assert recording.view is not None
        camera, poses = recording.view.camera, recording.view.camera_from_world
        assert (camera.width, camera.height) == size
        for pose, joints, of_file in zip(poses, recording.joints, (cameras[f] for f in frames), strict=True):
            seen = joints @ pose[:, :3].T + pose[:, 3]
            np.testing.assert_allclose(seen, of_file.see(joints), atol=TENTH_MM)
            np.testing.assert_allclose(camera.project(torch.from_numpy(seen)), of_file.project(joints), atol=0.01)


def test_nose_and_top_of_the_head_turn_with_the_head(tmp_path: Path) -> None:
    """At rest one looks along SMPL's z, which is -y in our world; the root turns to the left, the neck looks down."""
    sequence = one_sequence(3)
    sequence["poses"][0][1, 1] = np.pi / 2
    sequence["poses"][0][2, 3 * 12] = np.pi / 2
    write_3dpw(tmp_path, "train", sequence)
    (recording,) = ThreeDpw(tmp_path, splits=("train",)).recordings()
    head = people(3, 24)[:, 15]
    np.testing.assert_allclose(
        recording.joints[:, 9] - head, [[0, -0.13, 0.04], [0.13, 0, 0.04], [0, -0.04, -0.13]], atol=TENTH_MM
    )
    np.testing.assert_allclose(
        recording.joints[:, 10] - head, [[0, -0.02, 0.17], [0.02, 0, 0.17], [0, -0.17, -0.02]], atol=TENTH_MM
    )


def test_frames_without_a_camera_may_hold_anything(tmp_path: Path) -> None:
    write_smpl(tmp_path / "smpl")
    sequence = one_sequence(campose_valid=[np.array([1, 0, 0, 1, 1, 1], np.uint8)])
    for key in ("jointPositions", "poses", "trans", "poses2d"):
        sequence[key][0][1:3] = np.nan
    sequence["cam_poses"][1:3] = np.nan
    write_3dpw(tmp_path, "test", sequence)
    for models in (None, tmp_path / "smpl"):
        (recording,) = ThreeDpw(tmp_path, models, splits=("test",)).recordings()
        assert recording.frames.tolist() == [0, 3, 4, 5]


def test_training_poses_are_thinned_and_have_no_view(tmp_path: Path) -> None:
    write_3dpw(tmp_path, "train", one_sequence(campose_valid=[np.array([0, 1, 1, 1, 1, 1], np.uint8)]))
    (recording,) = ThreeDpw(tmp_path, splits=("train",), most_hz=15.0).recordings()
    assert (recording.view, recording.frame_rate_hz, recording.frames.tolist()) == (None, 15.0, [2, 4])


def test_every_frame_of_validation_and_test_is_kept(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        write_3dpw(tmp_path, split, one_sequence())
        (recording,) = ThreeDpw(tmp_path, splits=(split,), most_hz=1.0).recordings()
        assert (recording.frame_rate_hz, recording.frames.tolist()) == (30.0, [0, 1, 2, 3, 4, 5])


def test_keypoints_are_openposes_where_they_are_the_same_joints(tmp_path: Path) -> None:
    """Column k lies at (100 + k, 200 + k); the left hip, 11, is not seen, nor is the nose in the second frame."""
    stored = np.tile(np.array([[100], [200], [0]]) + np.arange(18.0), (2, 1, 1))
    stored[:, 2] = 0.8
    stored[:, :, 11] = 0
    stored[1, :, 0] = 0
    stored[1, 2, 4] = 1.03
    write_3dpw(tmp_path, "validation", one_sequence(2, poses2d=[stored]))
    (recording,) = ThreeDpw(tmp_path, splits=("validation",)).recordings()
    assert recording.view is not None
    pixels, seen = recording.view.keypoints, recording.view.keypoint_confidence
    assert pixels is not None
    assert seen is not None
    expected = {
        "RHip": 8, "RKnee": 9, "RAnkle": 10, "LKnee": 12, "LAnkle": 13, "Nose": 0, "LShoulder": 5, "LElbow": 6,
        "LWrist": 7, "RShoulder": 2, "RElbow": 3, "RWrist": 4, "Thorax": 1,
    }  # fmt: skip
    for joint, name in enumerate(H36M17.joints):
        if name in expected:
            assert pixels[0, joint].tolist() == [100 + expected[name], 200 + expected[name]]
            assert seen[0, joint] == (0.4 if name == "Thorax" else 0.8)
        else:
            assert name in ("Pelvis", "LHip", "Spine", "HeadTop")
            assert (pixels[0, joint].tolist(), seen[0, joint]) == ([0, 0], 0)
    assert seen[1, H36M17.index("RWrist")] == 1.0
    assert seen[1, H36M17.index("Nose")] == 0.0


@pytest.mark.parametrize("regressed", [True, False])
def test_a_body_model_gives_the_joints(regressed: bool, tmp_path: Path) -> None:
    """A stiff body, turned about its root, moved, and 10 cm taller by ten coefficients: a rigid motion."""
    rest, _ = write_smpl(tmp_path / "smpl")
    frames, turn = 4, 0.7
    trans = people(frames, 1)[:, 0]
    sequence = threedpw_sequence(
        "s", [np.zeros((frames, 24, 3))] * 2, walking_camera(frames), [np.ones(frames)] * 2,
        trans=[trans, trans + 1], betas=[np.array([0.06, *[0] * 8, 0.04, 7, 7])] * 2, genders=["f", np.array("m")],
    )  # fmt: skip
    for poses in sequence["poses"]:
        poses[:, 1] = turn
    write_3dpw(tmp_path, "test", sequence)
    regressor = tmp_path / "smpl" / "J_regressor_h36m.npy" if regressed else None
    source = ThreeDpw(tmp_path, tmp_path / "smpl", regressor, ("test",))
    assert source.describe().approximate == (() if regressed else ("Pelvis", "Spine", "Thorax", "Nose", "HeadTop"))
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    for recording, gender, moved in zip(source.recordings(), ("FEMALE", "MALE"), (trans, trans + 1), strict=True):
        body = (rest[gender] + [0, 0.1, 0]) @ rotation.T if regressed else np.zeros((17, 3))  # the joints: the root
        for joints, place in zip(recording.joints, moved, strict=True):
            chosen = [j for j in range(17) if regressed or j not in (9, 10)]  # those are vertices
            np.testing.assert_allclose(y_up(joints)[chosen], (body + place)[chosen], atol=TENTH_MM)


def test_what_a_body_model_lacks_is_said(tmp_path: Path) -> None:
    write_3dpw(tmp_path, "test", one_sequence(genders=["x"]))
    write_smpl(tmp_path / "smpl")
    with pytest.raises(ValueError, match=r"downtown_walk_00\.pkl: gender of person 0 is 'x', expected m or f"):
        list(ThreeDpw(tmp_path, tmp_path / "smpl", splits=("test",)).recordings())
    with pytest.raises(ValueError, match="give --models too"):
        list(ThreeDpw(tmp_path, regressor=tmp_path / "smpl" / "J_regressor_h36m.npy").recordings())
    (tmp_path / "smpl" / "SMPL_FEMALE.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold SMPL_FEMALE\.npz or SMPL_FEMALE\.pkl"):
        list(ThreeDpw(tmp_path, tmp_path / "smpl", splits=("test",)).recordings())


TILTED = np.tile(np.diag([1.0, 1.0, 1.1, 1.0]), (6, 1, 1))
OFF_CENTRE = np.array([[1961.9, 0, 700], [0, 1969.2, 960], [0, 0, 1]])
SKEWED = np.array([[1961.9, 5, 540], [0, 1969.2, 960], [0, 0, 1]])
NAN = np.where(np.arange(72) == 50, np.nan, np.zeros((6, 72)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"jointPositions": [NAN]}, r"downtown_walk_00/0: joints is not finite in 6 frames"),
        (
            {"jointPositions": [np.zeros((6, 69))]},
            r"jointPositions of person 0 has shape \(6, 69\), expected \(6, 72",
        ),
        ({"jointPositions": [np.zeros((5, 72))]}, r"has shape \(5, 72\), expected \(6, 72\)"),
        ({"jointPositions": []}, "jointPositions of person 0 is no array of numbers"),
        ({"jointPositions": [np.full((6, 72), 2e4)]}, "are these millimetres"),
        ({"poses": [["x"]]}, "poses of person 0 is no array of numbers"),
        ({"poses2d": [np.zeros((6, 18, 3))]}, r"poses2d of person 0 has shape \(6, 18, 3\)"),
        ({"cam_poses": np.eye(4)}, r"cam_poses has shape \(4, 4\), expected \(N, 4, 4\)"),
        ({"cam_poses": TILTED}, "cam_poses hold what is no rotation"),
        ({"cam_poses": np.full((6, 4, 4), np.nan)}, "cam_poses hold what is no rotation"),
        ({"cam_intrinsics": OFF_CENTRE}, r"centre at \(700, 960\), not that of 1920 by 1080"),
        ({"cam_intrinsics": SKEWED}, "cam_intrinsics: camera matrix K must be"),
        ({"campose_valid": [np.ones(5)]}, r"campose_valid of person 0 has shape \(5,\), expected \(6,\)"),
        ({"campose_valid": 3}, "campose_valid is no list of people"),
        ({"sequence": 7}, "a name is no text"),
    ],
)
def test_damaged_sequences_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "sequenceFiles" / "test" / "downtown_walk_00.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(python2_pickle(one_sequence() | change))
    with pytest.raises(ValueError, match=words):
        list(ThreeDpw(tmp_path, splits=("test",)).recordings())


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_3dpw(tmp_path, "test", one_sequence())
    source = ThreeDpw(tmp_path, splits=("test",))
    whole = path.read_bytes()
    for data, words in (
        (whole[: len(whole) // 2], "is not a pickle of arrays"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "it names os.system; only numpy arrays are read"),
        (python2_pickle([1, 2]), "holds no dictionary"),
        (python2_pickle({"sequence": "s"}), "key 'cam_poses' is missing; there are sequence"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=words):
            list(source.recordings())
    with pytest.raises(FileNotFoundError, match=r"no sequences in .*train"):
        list(ThreeDpw(tmp_path).recordings())
    with pytest.raises(ValueError, match="split 'val' is none of train, validation, test"):
        list(ThreeDpw(tmp_path, splits=("val",)).recordings())


def test_an_endless_array_takes_no_memory(tmp_path: Path) -> None:
    """The shape of the cameras says 10**9 frames, their bytes are those of six."""
    path = write_3dpw(tmp_path, "test", one_sequence(601))
    whole = path.read_bytes().replace(b"M\x59\x02K\x04K\x04\x87", b"J\x00\xca\x9a\x3bK\x04K\x04\x87")
    assert whole != path.read_bytes()
    path.write_bytes(whole)
    arguments = f"Path({str(tmp_path)!r}), splits=('test',)).recordings().__next__("
    found, megabytes = read_in_little_memory("threedpw", "ThreeDpw", arguments)
    assert "an array of 3 dimensions announces 128000000000, there are 76928" in found
    assert megabytes < 50


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "3dpw", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_the_command_prepares_it_or_says_in_one_line_why_not(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for split in ("train", "validation", "test"):
        write_3dpw(source, split, one_sequence() | {"sequence": f"walk_{split}"})
    options = ("--source", source, "--out", out / "a.safetensors")
    done = prepare(*options)
    assert done.returncode == 0, done.stderr
    assert "3DPW, 18 poses in 3 recordings" in done.stdout
    assert "cameras: 1; 2D keypoints: yes" in done.stdout
    data = open_prepared(out / "a.safetensors")
    np.testing.assert_allclose(data.joints[:6, 3], people(6, 24)[:, 8], atol=TENTH_MM)
    (out / "a.safetensors").unlink()

    bad = one_sequence(jointPositions=[NAN]) | {"sequence": "walk_test"}
    write_3dpw(source, "test", bad)
    done = prepare(*options)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("prepare.py: walk_test/0: joints is not finite in 6 frames")
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []
