# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M: invented motion in the true formats comes back, the same from every layout."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from h36m_files import (
    ACTIONS,
    JOINTS,
    KEYPOINTS,
    POSES,
    SIZES,
    write_cameras_h5,
    write_cdf_layout,
    write_h5_layout,
    write_keypoints,
    write_npz,
    write_python,
    write_xml,
)

from diffpose_core import H36M17
from diffpose_core.data.prepared import Recording, open_prepared
from diffpose_core.data.readers.h36m import H36M, NO_VIDEO, S9_DRIFT

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
TOLERANCE_M = 1e-4


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, H36M]:
    """The same motion in the three layouts, each with its cameras beside it."""
    root = tmp_path_factory.mktemp("h36m")
    cdf = H36M(write_cdf_layout(root / "cdf", POSES))
    write_xml(root / "cdf" / "metadata.xml")
    h5 = H36M(write_h5_layout(root / "h5", POSES))
    write_cameras_h5(root / "h5" / "cameras.h5")
    npz = H36M(write_npz(root / "videopose3d" / "data" / "data_3d_h36m.npz", POSES))
    (root / "videopose3d" / "common").mkdir()
    write_python(root / "videopose3d" / "common" / "h36m_dataset.py")
    return {"cdf": cdf, "h5": h5, "npz": npz}


def project(recording: Recording) -> np.ndarray:
    assert recording.view is not None
    seen = np.einsum("nij,nkj->nki", recording.view.camera_from_world[..., :3], recording.joints)
    seen = seen + recording.view.camera_from_world[:, None, :, 3]
    return recording.view.camera.project(torch.from_numpy(seen)).numpy()


def test_the_joints_are_taken_in_the_order_of_h36m17() -> None:
    assert JOINTS == [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    assert H36M17.joints[:4] == ("Pelvis", "RHip", "RKnee", "RAnkle")
    assert H36M17.joints[7:12] == ("Spine", "Thorax", "Nose", "HeadTop", "LShoulder")


@pytest.mark.parametrize("layout", ["cdf", "h5", "npz"])
def test_every_layout_gives_the_motion_that_was_written(layouts: dict[str, H36M], layout: str) -> None:
    names = set()
    for recording in layouts[layout].recordings():
        subject, sequence, *camera = recording.name.split("/")
        written = POSES[subject, sequence][:, JOINTS] / 1000
        assert recording.subject == subject
        assert recording.action == sequence.split(" ")[0]
        assert recording.action in ACTIONS
        np.testing.assert_allclose(recording.joints, written[recording.frames], atol=TOLERANCE_M)
        assert recording.split == {"S8": "validation", "S9": "test", "S11": "test"}.get(subject, "train")
        if recording.split == "train":
            assert (camera, recording.view, recording.frame_rate_hz) == ([], None, 25.0)
            assert recording.frames.tolist() == list(range(0, len(written), 2))
        else:
            assert recording.view is not None
            assert recording.view.keypoints is None
            assert (recording.view.camera.width, recording.view.camera.height) == SIZES[camera[0]]
            assert recording.frame_rate_hz == 50.0
            assert recording.frames.tolist() == list(range(len(written)))
        names.add(recording.name)
    wanted = {f"{s}/{q}" for s, q in POSES if s in ("S1", "S5", "S6", "S7")}
    wanted |= {f"{s}/{q}/{c}" for s, q in POSES if s in ("S8", "S9", "S11") for c in SIZES}
    absent = {f"S11/Directions/{c}" for c in SIZES} if layout == "npz" else set(NO_VIDEO)
    assert names == wanted - absent


def test_all_layouts_give_the_same_recordings_and_images(layouts: dict[str, H36M]) -> None:
    cdf = {r.name: r for r in layouts["cdf"].recordings()}
    for layout, lacking in (("h5", []), ("npz", [n for n in cdf if n.startswith("S11/Directions/")])):
        others = {r.name: r for r in layouts[layout].recordings()}
        assert list(others) == [name for name in cdf if name not in lacking]
        for name, other in others.items():
            np.testing.assert_array_equal(other.frames, cdf[name].frames)
            np.testing.assert_allclose(other.joints, cdf[name].joints, atol=1e-6)
            if other.view is not None:
                np.testing.assert_allclose(project(other), project(cdf[name]), atol=0.01)


def test_subjects_come_one_after_the_other_and_in_order(layouts: dict[str, H36M]) -> None:
    source = replace(layouts["cdf"], subjects=("S11", "S9"))
    names = [r.name for r in source.recordings()]
    assert names[0] == "S11/Directions/55011271"
    assert names[3:5] == ["S11/Directions 1/54138969", "S11/Directions 1/55011271"]
    assert [n.split("/")[0] for n in names] == ["S11"] * 119 + ["S9"] * 120


def test_s8_goes_to_training_where_asked_and_rates_are_kept(layouts: dict[str, H36M]) -> None:
    source = replace(layouts["cdf"], subjects=("S8",), validation=(), most_hz=10.0)
    (greeting,) = [r for r in source.recordings() if r.name == "S8/Greeting"]
    assert (greeting.split, greeting.view, greeting.frame_rate_hz) == ("train", None, 10.0)
    assert greeting.frames.tolist() == list(range(0, len(POSES["S8", "Greeting"]), 5))
    every = replace(source, most_hz=50.0)
    assert {r.frame_rate_hz for r in every.recordings()} == {50.0}


@pytest.mark.parametrize(
    "place",
    ["{s}/Poses_D3_Positions", "Poses_D3_Positions_{s}/{s}/MyPoseFeatures/D3_Positions", "Poses_D3_Positions_{s}"],
)
def test_archives_may_be_unpacked_each_in_its_folder(tmp_path: Path, place: str) -> None:
    poses = {key: value for key, value in POSES.items() if key[0] == "S1"}
    source = H36M(write_cdf_layout(tmp_path, poses, place), subjects=("S1",))
    assert len(list(source.recordings())) == 30


def test_keypoints_are_trimmed_to_the_poses(layouts: dict[str, H36M], tmp_path: Path) -> None:
    path = write_keypoints(tmp_path / "data_2d_h36m_cpn_ft_h36m_dbb.npz", KEYPOINTS)
    for layout in ("npz", "cdf"):
        found = {r.name: r for r in replace(layouts[layout], keypoints=path).recordings() if r.split != "train"}
        assert len(found) == 120 + 120 + 116
        for name, recording in found.items():
            subject, sequence, camera = name.split("/")
            written = KEYPOINTS[subject, sequence][list(SIZES).index(camera)]
            assert recording.view is not None
            np.testing.assert_array_equal(recording.view.keypoints, written[: len(recording.joints)])


def numbers(*values: int) -> list[np.int64]:
    return list(map(np.int64, values))


def test_keypoints_of_another_skeleton_or_length_are_refused(layouts: dict[str, H36M], tmp_path: Path) -> None:
    source = replace(layouts["npz"], subjects=("S9",), keypoints=tmp_path / "two.npz")
    coco = [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]]
    mpii = [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]]
    views = KEYPOINTS["S9", "Greeting 1"]
    short = {**KEYPOINTS, ("S9", "Greeting 1"): [views[0][:4], *views[1:]]}
    sixteen = {**KEYPOINTS, ("S9", "Greeting 1"): [v[:, :16] for v in views]}
    absent = {**KEYPOINTS, ("S9", "Greeting 1"): [None, *views[1:]]}
    fewer = {key: value for key, value in KEYPOINTS.items() if key != ("S9", "Greeting 1")}
    for keypoints, sides, words in (
        (KEYPOINTS, coco, "keypoints of the layout 'h36m', left and right .* only H36M17's"),
        (KEYPOINTS, mpii, "only H36M17's"),
        (KEYPOINTS, 3, "only H36M17's"),
        (short, None, f"S9/Greeting 1/54138969: keypoints of 4 frames, poses of {len(POSES['S9', 'Greeting 1'])}"),
        (sixteen, None, r"S9, Greeting 1, 54138969: keypoints are \(\d+, 16, 2\), expected \(frames, 17, 2\)"),
        (absent, None, "S9, Greeting 1, 54138969: keypoints are None"),
        ({**KEYPOINTS, ("S9", "Greeting 1"): views[:3]}, None, "expected keypoints of 4 cameras"),
    ):
        write_keypoints(tmp_path / "two.npz", keypoints, sides)
        with pytest.raises(ValueError, match=words):
            list(source.recordings())
    write_keypoints(tmp_path / "two.npz", fewer)
    with pytest.raises(FileNotFoundError, match=r"two.npz: S9 has 1 recordings of Greeting, expected 2"):
        list(source.recordings())
    write_keypoints(tmp_path / "two.npz", KEYPOINTS, [numbers(4, 5, 6, 11, 12, 13), numbers(1, 2, 3, 14, 15, 16)])
    assert len(list(source.recordings())) == 120


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "h36m", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize("layout", ["cdf", "h5", "npz"])
def test_the_command_prepares_each_layout(layouts: dict[str, H36M], layout: str, tmp_path: Path) -> None:
    out = tmp_path / "h36m.safetensors"
    more = []
    if layout == "npz":
        more = ["--keypoints", write_keypoints(tmp_path / "two.npz", KEYPOINTS), "--validation"]
    done = prepare("--source", layouts[layout].source, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    data = open_prepared(out)
    lines = done.stdout.splitlines()
    recordings = {"cdf": 120 + 120 + 119 + 120, "h5": 479, "npz": 150 + 120 + 116}[layout]
    assert lines[0] == f"{out}: Human3.6M, {len(data):,} poses in {recordings} recordings"
    assert lines[3].endswith("of 2 people: S9 S11")
    assert f"cameras: 4; 2D keypoints: {'yes' if layout == 'npz' else 'no'}" in lines
    assert "joints made from others: none" in lines
    assert data.description.licence.startswith("Human3.6M licence: for academic use only")
    assert [r.subject for r in data.of_split("validation")] == ([] if layout == "npz" else ["S8"] * 120)
    info = next(r for r in data.recordings if r.name == "S9/Greeting 1/58860488")
    part = slice(info.first, info.first + info.length)
    np.testing.assert_allclose(data.joints[part], POSES["S9", "Greeting 1"][:, JOINTS] / 1000, atol=TOLERANCE_M)
    if layout == "npz":
        assert data.keypoints is not None
        np.testing.assert_array_equal(data.keypoints[part], KEYPOINTS["S9", "Greeting 1"][2][: info.length])


def test_drifted_recordings_are_prefixes_of_names() -> None:
    names = [f"S9/{sequence}/{camera}" for subject, sequence in POSES if subject == "S9" for camera in SIZES]
    drifted = {n.rsplit("/", 1)[0] for n in names if n.startswith(S9_DRIFT)}
    assert drifted == {"S9/Greeting", "S9/SittingDown 1", "S9/Waiting 1"}
