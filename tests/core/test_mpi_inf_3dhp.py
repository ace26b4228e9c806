# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""MPI-INF-3DHP: files in the true formats give the known joints, cameras and keypoints; contradictions are refused."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from threed_files import (
    TEST_CALIBRATION,
    TEST_CAMERAS,
    UNIVERSAL,
    FileCamera,
    calibration_text,
    people,
    read_in_little_memory,
    write_3dhp_sequence,
    write_3dhp_test,
    write_mat5,
)  # fmt: skip

from diffpose_core.data.prepared import Recording, open_prepared
from diffpose_core.data.readers import mpi_inf_3dhp
from diffpose_core.data.readers.mpi_inf_3dhp import MpiInf3dhp
from diffpose_core.data.readers.mpi_inf_3dhp_cameras import camera_of_test as read_camera_of_test
from diffpose_core.data.readers.mpi_inf_3dhp_cameras import training_cameras

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
TENTH_MM = 1e-4


def check_view(recording: Recording, camera: FileCamera, world: np.ndarray) -> None:
    """The view's pose takes the joints where the files have them, and its camera to the files' keypoints."""
    assert recording.view is not None
    pose = recording.view.camera_from_world
    seen = np.einsum("nij,nkj->nki", pose[..., :3], recording.joints) + pose[:, None, :, 3]
    np.testing.assert_allclose(seen, camera.see(world), atol=TENTH_MM)
    np.testing.assert_allclose(recording.view.keypoints, camera.project(world), atol=1e-3)
    projected = recording.view.camera.project(torch.from_numpy(seen))
    np.testing.assert_allclose(projected, recording.view.keypoints, atol=0.2)
    np.testing.assert_allclose(
        pose[..., :3] @ pose[..., :3].transpose(0, 2, 1), np.eye(3)[None].repeat(len(pose), 0), atol=1e-9
    )


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_training_sequences_give_one_pose_a_frame(version: str, tmp_path: Path) -> None:
    slow, fast = people(7), people(9, seed=1)
    write_3dhp_sequence(tmp_path, "S1", 1, slow, version)
    write_3dhp_sequence(tmp_path, "S1", 2, fast, version)
    first, second = MpiInf3dhp(tmp_path, subjects=("S1",)).recordings()
    assert (first.name, first.subject, first.split, first.frame_rate_hz, first.view) == (
        "S1/Seq1", "S1", "train", 25.0, None,
    )  # fmt: skip
    assert first.frames.tolist() == list(range(7))
    np.testing.assert_allclose(first.joints, slow, atol=TENTH_MM)
    assert (second.name, second.frame_rate_hz) == ("S1/Seq2", 25.0)  # 50 Hz, thinned
    assert second.frames.tolist() == [0, 2, 4, 6, 8]
    np.testing.assert_allclose(second.joints, fast[::2], atol=TENTH_MM)


def test_frames_whose_sides_are_swapped_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {("S4", 2): range(3759, 5853)} == mpi_inf_3dhp.SIDES_SWAPPED
    monkeypatch.setattr(mpi_inf_3dhp, "SIDES_SWAPPED", {("S4", 2): range(2, 5)})
    for sequence in (1, 2):
        write_3dhp_sequence(tmp_path, "S4", sequence, people(7))
    first, second = MpiInf3dhp(tmp_path, subjects=("S4",)).recordings()
    assert len(first.frames) == 7
    assert second.frames.tolist() == [0, 1, 5, 6]
    np.testing.assert_allclose(second.joints, people(7)[[0, 1, 5, 6]], atol=TENTH_MM)


def test_the_validation_subject_has_eight_cameras_and_all_frames(tmp_path: Path) -> None:
    world = people(4)
    placed = write_3dhp_sequence(tmp_path, "S8", 1, world)
    write_3dhp_sequence(tmp_path, "S8", 2, people(3))
    found = list(MpiInf3dhp(tmp_path, subjects=("S8",), most_hz=1.0).recordings())
    assert [r.name for r in found[:8]] == [f"S8/Seq1/{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8)]
    assert len(found) == 16
    for recording in found[:8]:
        assert (recording.split, recording.frame_rate_hz, recording.frames.tolist()) == (
            "validation",
            25.0,
            [0, 1, 2, 3],
        )
        np.testing.assert_allclose(recording.joints, world, atol=TENTH_MM)
        check_view(recording, placed[int(recording.name[-1])], world)
        assert recording.view is not None
        camera = recording.view.camera
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (1497.693, 1497.103, 1024.7, 1020.6)
        assert (camera.width, camera.height, camera.distortion) == (2048, 2048, None)
    only_poses = list(MpiInf3dhp(tmp_path, subjects=("S8",), validation=()).recordings())
    assert [(r.name, r.split) for r in only_poses] == [("S8/Seq1", "train"), ("S8/Seq2", "train")]


@pytest.mark.parametrize(("who", "scene"), [("TS1", "GS"), ("TS4", "noGS"), ("TS6", "Outdoor")])
@pytest.mark.parametrize("calibration", [True, False])
def test_test_sequences_are_their_valid_frames_by_activity(
    who: str, scene: str, calibration: bool, tmp_path: Path
) -> None:
    world = people(8)
    valid, activity = np.array([0, 1, 1, 1, 0, 1, 1, 1]), np.array([1, 1, 1, 5, 5, 5, 0, 1])
    valid[6] = 0  # no activity is known there
    camera = write_3dhp_test(tmp_path, who, world, valid, activity, calibration=calibration)
    stand, floor = MpiInf3dhp(tmp_path, subjects=(who,)).recordings()
    assert (stand.name, stand.action, stand.source, stand.split, stand.subject) == (
        f"{who}/Stand-Walk", "Stand-Walk", scene, "test", who,
    )  # fmt: skip
    assert (floor.name, floor.action) == (f"{who}/Floor", "Floor")
    for recording, frames in ((stand, [1, 2, 7]), (floor, [3, 5])):
        assert recording.frames.tolist() == frames
        np.testing.assert_allclose(recording.joints, world[frames], atol=TENTH_MM)
        check_view(recording, camera, world[frames])


def test_a_test_sequence_saved_again_as_version_5_is_read_too(tmp_path: Path) -> None:
    write_3dhp_test(tmp_path, "TS2", people(3), np.ones(3), np.full(3, 7), version="5")
    (recording,) = MpiInf3dhp(tmp_path, subjects=("TS2",)).recordings()
    assert recording.name == "TS2/Misc"
    np.testing.assert_allclose(recording.joints, people(3), atol=TENTH_MM)


def test_universal_annotations_have_another_size(tmp_path: Path) -> None:
    world = people(3)
    write_3dhp_test(tmp_path, "TS1", world, np.ones(3), np.full(3, 2))
    rewrite(tmp_path / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat", sideways)  # those lie on no 2D joints
    write_3dhp_sequence(tmp_path, "S2", 1, world)
    write_3dhp_sequence(tmp_path, "S2", 2, world)
    source = MpiInf3dhp(tmp_path, "universal", ("TS1", "S2"))
    assert source.describe().dataset == "MPI-INF-3DHP, universal annotations"
    for recording in source.recordings():
        centred, expected = (j - j[:, :1] for j in (recording.joints, world))
        np.testing.assert_allclose(centred, UNIVERSAL * expected, atol=TENTH_MM)


def test_the_test_cameras_are_those_that_are_known() -> None:
    """Camera 8 of S8's first sequence, which is that of TS1 to TS4, and mmpose's fits to the annotations of TS6."""
    first, second = (read_camera_of_test(Path("nowhere"), which) for which in ("TS1-4", "TS5-6"))
    camera = first.camera
    np.testing.assert_allclose(
        [camera.fx, camera.fy, camera.cx, camera.cy], [1500.172, 1500.837, 1017.387, 1043.032], atol=0.01
    )
    camera = second.camera
    np.testing.assert_allclose(
        [camera.fx, camera.fy, camera.cx, camera.cy], [1683.975, 1672.675, 939.848, 560.116], atol=0.1
    )
    for placed, height_m in ((first, 1.388), (second, 1.039)):
        centre = placed.to_world(np.zeros(3))
        assert centre[2] == pytest.approx(height_m, abs=1e-3)
        above = placed.to_world(np.array([0.0, -1.0, 0.0])) - centre
        assert above[2] > 0.97  # the camera's up is nearly the world's


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with 'Skeletool"),
        (calibration_text({0: FileCamera.around(0)}, radial="0.1"), "camera 0: radial is 0.1, only 0 is read"),
        (calibration_text({0: FileCamera.around(0)}, animated="1"), "animated is 1"),
        (calibration_text({0: FileCamera.around(0)}, intrinsic="1 2 3"), "intrinsic has 3 numbers, expected 16"),
        (calibration_text({0: FileCamera.around(0)}, intrinsic="0 " * 16), "all zeros"),
        (calibration_text({0: FileCamera.around(0)}, extrinsic="1 " * 16), "is not a rotation"),
        (calibration_text({0: replace(FileCamera.around(0), rotation=1.01 * np.eye(3))}), "is not a rotation"),
        (calibration_text({0: FileCamera.around(0)}, size="2048 nan"), "'nan' is not a finite number"),
        (calibration_text({0: FileCamera.around(0)}) * 2, "'Camera' is not a finite number"),
        (calibration_text({0: FileCamera.around(0)}) + "name 0\n", "camera 0 is there twice"),
        (calibration_text({0: FileCamera.around(0)}) + "name 1\n", "camera 1: animated has 0 numbers"),
    ],
)
def test_damaged_calibrations_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "camera.calibration"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        training_cameras(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"focal": ""}, "focalLength has 0 numbers, expected 1"),
        ({"focal": "7,3"}, "'7,3' is not a finite number"),
        ({"right": "0 1 0"}, "is not a rotation"),
        ({"sensor": "10"}, "sensorSize has 1 numbers"),
        ({"focal": "-7"}, "fx must be positive"),
    ],
)
def test_damaged_test_calibrations_are_refused(change: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "ts1-4cameras.calib").write_text(TEST_CALIBRATION.format(**TEST_CAMERAS["ts1-4cameras.calib"] | change))
    with pytest.raises(ValueError, match=f"ts1-4cameras.calib: .*{words}"):
        read_camera_of_test(tmp_path, "TS1-4")
    with pytest.raises(FileNotFoundError, match="ts5-6cameras"):
        read_camera_of_test(tmp_path, "TS5-6")


def test_of_several_test_cameras_in_a_file_the_first_counts(tmp_path: Path) -> None:
    first = TEST_CAMERAS["ts1-4cameras.calib"]
    text = TEST_CALIBRATION.format(**first) + TEST_CALIBRATION.format(**first | {"focal": "9", "origin": "0 0 0"})
    (tmp_path / "ts1-4cameras.calib").write_text(text)
    placed = read_camera_of_test(tmp_path, "TS1-4")
    assert placed.camera.fx == pytest.approx(1500.172, abs=0.01)
    assert placed.to_world(np.zeros(3))[2] == pytest.approx(1.38786)


def rewrite(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def nan(file: h5py.File) -> None:
    file["annot3"][2, 0, 5, 1] = np.nan


def replaced(name: str, data: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = data

    return change


def endless(file: h5py.File) -> None:
    del file["annot3"]
    file.create_dataset("annot3", (10**9, 1, 17, 3), "f8", chunks=(1000, 1, 17, 3))


def sideways(file: h5py.File) -> None:
    file["univ_annot3"][..., 0] += 500.0


def moved(file: h5py.File) -> None:
    file["annot2"][...] += 30.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nan, "TS1/Exercise: joints is not finite in 1 frames, the first of them 2"),
        (moved, r"the 3D joints are 42\.\d px from the 2D joints; is the calibration another's"),
        (endless, "annot3 announces 408,000,000,000 bytes"),
        (replaced("annot3", np.ones((4, 1, 16, 3))), r"annot3 is \(3, 16, 1, 4\), expected \(3, 17, 1, N\)"),
        (replaced("annot2", np.ones((3, 1, 17, 2))), "there are 3D joints of 4 frames and 2D joints of 3"),
        (replaced("valid_frame", np.ones((3, 1))), "valid_frame does not hold one number for each of 4 frames"),
        (replaced("activity_annotation", np.full((4, 1), 8.0)), "activity_annotation holds 8, expected 1 to 7"),
        (lambda file: file.pop("annot2"), "variable 'annot2' is missing"),
    ],
)
def test_contradictions_in_the_test_set_are_refused(
    change: Callable[[h5py.File], None], words: str, tmp_path: Path
) -> None:
    write_3dhp_test(tmp_path, "TS1", people(4), np.ones(4), np.full(4, 2))
    rewrite(tmp_path / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat", change)
    with pytest.raises(ValueError, match=words):
        list(MpiInf3dhp(tmp_path, subjects=("TS1",)).recordings())


def test_annotations_and_calibrations_of_two_sequences_are_refused(tmp_path: Path) -> None:
    placed = write_3dhp_sequence(tmp_path, "S2", 1, people(4))
    calibration = tmp_path / "S2" / "Seq1" / "camera.calibration"
    source = MpiInf3dhp(tmp_path, subjects=("S2",))
    calibration.write_text(calibration_text({n: FileCamera.around(25 * n + 60 * (n == 6)) for n in range(14)}))
    with pytest.raises(ValueError, match=r"annot\.mat: cameras 0 and 6 see the person 0\.\d+ m apart"):
        list(source.recordings())
    calibration.write_text(calibration_text({n: c for n, c in placed.items() if n not in (5, 7)}))
    with pytest.raises(ValueError, match=r"cameras \[5, 7\] are missing"):
        list(source.recordings())
    calibration.write_text(calibration_text(placed))
    annotations = tmp_path / "S2" / "Seq1" / "annot.mat"
    for cells, words in (
        ([np.zeros((4, 84))] * 8, "not a cell of 14 cameras"),
        ([np.zeros((4, 84))] * 13 + [np.zeros((3, 84))], r"annot3 of camera 13 is \(3, 84\), expected \(N, 84\)"),
        ([np.zeros((4, 81))] * 14, r"annot3 of camera 0 is \(4, 81\)"),
    ):
        write_mat5(annotations, {"annot3": cells})
        with pytest.raises(ValueError, match=words):
            list(source.recordings())
    whole = annotations.read_bytes()
    annotations.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is it whole"):
        list(source.recordings())
    annotations.unlink()
    with pytest.raises(FileNotFoundError, match=r"annot\.mat"):
        list(source.recordings())
    with pytest.raises(ValueError, match="subject 'S9' is none of S1 to S8"):
        list(MpiInf3dhp(tmp_path, subjects=("S9",)).recordings())


@pytest.mark.parametrize("who", ["S9", "TS1", "s8"])
def test_only_people_in_the_studio_can_be_for_validation(who: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"validation names '{who}'; there are S1, S2, S3, S4, S5, S6, S7, S8"):
        next(MpiInf3dhp(tmp_path, validation=("S1", who)).recordings())


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "3dhp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_the_command_prepares_it_or_says_in_one_line_why_not(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for sequence in (1, 2):
        write_3dhp_sequence(source, "S1", sequence, people(5))
        write_3dhp_sequence(source, "S8", sequence, people(5))
    write_3dhp_test(source, "TS5", people(6), np.ones(6), np.full(6, 6))
    options = ("--source", source, "--out", out / "a.safetensors", "--subjects", "S1", "S8", "TS5")
    done = prepare(*options)
    assert done.returncode == 0, done.stderr
    assert "MPI-INF-3DHP, metric annotations, 94 poses in 19 recordings" in done.stdout
    assert "joints made from others: Nose" in done.stdout
    data = open_prepared(out / "a.safetensors")
    assert [len(data.of_split(split)) for split in ("train", "validation", "test")] == [2, 16, 1]
    assert [c.width for c in data.cameras] == [2048, 1920]  # those of the writer's studio differ in place only

    rewrite(source / "mpi_inf_3dhp_test_set" / "TS5" / "annot_data.mat", nan)
    (out / "a.safetensors").unlink()
    done = prepare(*options)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("prepare.py: TS5/Sports: joints is not finite in 1 frames")
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def test_endless_annotations_take_no_memory(tmp_path: Path) -> None:
    write_3dhp_test(tmp_path, "TS1", people(4), np.ones(4), np.full(4, 2))
    rewrite(tmp_path / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat", endless)
    arguments = f"Path({str(tmp_path)!r}), subjects=('TS1',)).recordings().__next__("
    found, megabytes = read_in_little_memory("mpi_inf_3dhp", "MpiInf3dhp", arguments)
    assert "announces 408,000,000,000 bytes" in found
    assert megabytes < 50
