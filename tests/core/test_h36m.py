"""Human3.6M: invented motion in the true formats comes back, whatever the layout; damage is refused by name."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from bounded import refusal_within
from h36m_files import (
    ACTIONS,
    JOINTS,
    SIZES,
    SUBJECTS,
    invented_keypoints,
    invented_poses,
    rig,
    write_cameras_h5,
    write_cdf,
    write_cdf_layout,
    write_h5_layout,
    write_keypoints,
    write_npz,
    write_python,
    write_xml,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import H36M17
from diffpose_core.data.prepared import Recording, open_prepared
from diffpose_core.data.readers.h36m import H36M, H36M_NO_VIDEO, H36M_S9_DRIFT, H36M_STRIDES
from diffpose_core.data.readers.h36m_cameras import load_cameras
from diffpose_core.data.readers.h36m_frames import read_frame_list

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
POSES = invented_poses()
KEYPOINTS = invented_keypoints(POSES)
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


@pytest.fixture
def small(tmp_path: Path) -> H36M:
    """S9 alone, as published."""
    write_xml(tmp_path / "metadata.xml")
    poses = {key: value for key, value in POSES.items() if key[0] == "S9"}
    return H36M(write_cdf_layout(tmp_path, poses), subjects=("S9",))


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
    absent = {f"S11/Directions/{c}" for c in SIZES} if layout == "npz" else set(H36M_NO_VIDEO)
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


# Cameras


@pytest.fixture(scope="module")
def camera_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("cameras")
    return [write_xml(root / "a.xml"), write_cameras_h5(root / "a.h5"), write_python(root / "a.py")]


def test_the_three_forms_say_the_same_and_what_opencv_says(camera_files: list[Path]) -> None:
    points = np.random.default_rng(0).uniform([-1500, -1500, 0], [1500, 1500, 1900], (500, 3))
    forms = [load_cameras(path, SUBJECTS) for path in camera_files]
    for (subject, name), one in rig().items():
        if subject not in SUBJECTS:
            continue
        k1, k2, k3 = one.radial
        lens = np.array([k1, k2, *one.tangential, k3])
        matrix = np.array([[one.focal[0], 0, one.centre[0]], [0, one.focal[1], one.centre[1]], [0, 0, 1]])
        turn, _ = cv2.Rodrigues(one.rotation)
        wanted, _ = cv2.projectPoints(points, turn, -one.rotation @ one.place, matrix, lens)
        for form in forms:
            camera, camera_from_world = form[subject, name]
            seen = points / 1000 @ camera_from_world[:, :3].T + camera_from_world[:, 3]
            np.testing.assert_allclose(camera.project(torch.from_numpy(seen)).numpy(), wanted[:, 0], atol=0.01)


def test_the_data_sets_own_lens_formula_differs_little(camera_files: list[Path]) -> None:
    """By 3d-pose-baseline's ``project_point_radial``, which has half of OpenCV's tangential cross terms."""
    points = np.random.default_rng(0).uniform([-1500, -1500, 0], [1500, 1500, 1900], (500, 3))
    cameras = load_cameras(camera_files[0], ["S9"])
    for name in SIZES:
        one = rig()["S9", name]
        x, y = ((seen := one.rotation @ (points - one.place).T)[:2] / seen[2]).copy()
        r2, (p1, p2) = x * x + y * y, one.tangential
        scale = 1 + one.radial[0] * r2 + one.radial[1] * r2**2 + one.radial[2] * r2**3 + p1 * y + p2 * x
        theirs = np.stack([x * scale + p2 * r2, y * scale + p1 * r2], -1) * one.focal + one.centre
        camera, camera_from_world = cameras["S9", name]
        metres = torch.from_numpy(points / 1000 @ camera_from_world[:, :3].T + camera_from_world[:, 3])
        apart = np.linalg.norm(camera.project(metres).numpy() - theirs, axis=-1)
        assert apart.mean() < 0.3
        assert apart.max() < 1.5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_angles_and_quaternions_are_those_of_scipy(angles: list[float]) -> None:
    from scipy.spatial.transform import Rotation

    from diffpose_core.data.readers.h36m_cameras import _turned, _turns

    rotation = Rotation.from_euler("XYZ", angles)
    np.testing.assert_allclose(_turns(np.array(angles)), rotation.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(_turned(np.roll(rotation.as_quat(), 1)), rotation.as_matrix(), atol=1e-12)


def changed(path: Path, find: str, put: str) -> None:
    text = path.read_text()
    assert find in text
    path.write_text(text.replace(find, put, 1))


def test_unusable_camera_files_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for ending, write, find, put, words in (
        ("xml", write_xml, "</w0>", "", "there is no <w0>"),
        ("xml", write_xml, "]</w0>", " 1]</w0>", "w0 holds 301 numbers, expected 300"),
        ("xml", write_xml, "<w0>[", "<w0>[x ", "could not convert"),
        ("py", write_python, "import numpy", "open(", "unusable cameras"),
        ("py", write_python, "h36m_cameras_extrinsic_params", "other", "no h36m_cameras_extrinsic_params"),
        (
            "py",
            write_python,
            "_intrinsic_params = [",
            f"_intrinsic_params = open({str(marker)!r}, 'w') and [",
            "malfor",
        ),
        ("py", write_python, "'orientation'", "'R'", "S1, 54138969 has no orientation"),
        ("py", write_python, "'translation': [", "'translation': [0, ", "unusable cameras"),
        ("py", write_python, "'id': '54138969'", "'id': '1'", "unusable cameras"),
        ("py", write_python, "'orientation': [", "'orientation': [1.0, ", "is no unit quaternion"),
        ("py", write_python, "_intrinsic_params = ", "_intrinsic_params = " + "(" * 5000, "unusable cameras"),
    ):
        path = write(tmp_path / f"cameras.{ending}")
        changed(path, find, put)
        with pytest.raises(ValueError, match=rf"cameras\.{ending}: unusable cameras: .*") as caught:
            load_cameras(path, SUBJECTS)
        assert words in str(caught.value)
    assert not marker.exists()
    for key, value, words in (
        ("R", np.ones((3, 3)), "no rotation"),
        ("R", np.diag([1.0, 1.0, -1.0]), "no rotation"),
        ("R", np.full((3, 3), np.nan), "no rotation"),
        ("T", np.ones((3, 2)), r"T is \(3, 2\) of float64, expected \(3, 1\)"),
        ("Name", np.full((8, 1), 65, np.uint16), "camera 'AAAAAAAA', expected 54138969"),
        ("f", None, "f' is missing"),
    ):
        path = write_cameras_h5(tmp_path / "cameras.h5")
        with h5py.File(path, "a") as file:
            del file[f"subject9/camera1/{key}"]
            if value is not None:
                file[f"subject9/camera1/{key}"] = value
        with pytest.raises(ValueError, match=rf"cameras\.h5: unusable cameras: .*{words}"):
            load_cameras(path, ["S9"])
        assert load_cameras(path, ["S11"])
    (tmp_path / "cameras.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cameras are read from metadata\.xml, cameras\.h5 or h36m_dataset\.py"):
        load_cameras(tmp_path / "cameras.json", SUBJECTS)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_cameras(tmp_path / "absent.xml", SUBJECTS)
    (tmp_path / "long.py").write_text("#" * 5_000_000)
    with pytest.raises(ValueError, match=r"holds 5,000,000 bytes; at most"):
        load_cameras(tmp_path / "long.py", SUBJECTS)


# What is missing or damaged


def test_what_is_missing_is_named(small: H36M, tmp_path: Path) -> None:
    folder = small.source / "S9" / "MyPoseFeatures" / "D3_Positions"
    with pytest.raises(FileNotFoundError, match=r"nothing of S11; looked for the folders S11/MyPoseFeatures"):
        list(replace(small, subjects=("S9", "S11")).recordings())
    (folder / "Greeting.cdf").rename(folder / "Hello.cdf")
    with pytest.raises(ValueError, match="'Hello' is no sequence of Human3"):
        list(small.recordings())
    (folder / "Hello.cdf").unlink()
    with pytest.raises(FileNotFoundError, match="S9 has 1 recordings of Greeting, expected 2"):
        list(small.recordings())
    write_cdf(folder / "Greeting.cdf", POSES["S9", "Greeting"])
    write_cdf(folder / "TakingPhoto.cdf", POSES["S9", "Photo"])
    with pytest.raises(ValueError, match="'Photo' is there twice"):
        list(small.recordings())
    (folder / "TakingPhoto.cdf").unlink()
    write_cdf(folder / "_ALL.cdf", POSES["S9", "Photo"])
    assert len(list(small.recordings())) == 120
    (small.source / "metadata.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no camera file, one of metadata\.xml, .*name it with --cameras"):
        list(small.recordings())
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "Poses_D3_Positions_S9.tgz").touch()
    with pytest.raises(FileNotFoundError, match=r"packed: no poses; .* Unpack the archives first\."):
        list(H36M(tmp_path / "packed").recordings())
    with pytest.raises(FileNotFoundError, match=r"no such folder, and no \.npz: .*absent"):
        list(H36M(tmp_path / "absent").recordings())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation": ("S9",)}, "validation must be different ones of S1 S5 S6 S7 S8, got S9"),
        ({"subjects": ("S9", "S9")}, "subjects must be different ones"),
        ({"subjects": ("S2",)}, "subjects must be different ones"),
        ({"most_hz": 0.0}, "most_hz must be positive"),
        ({"most_hz": float("nan")}, "most_hz must be positive"),
    ],
)
def test_unusable_options_are_refused(small: H36M, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(replace(small, **options).recordings())


def damaged_cdf(source: H36M) -> Iterator[str]:
    """Write one damaged file after another over ``Greeting.cdf``; yield what is to be said of each."""
    path = source.source / "S9" / "MyPoseFeatures" / "D3_Positions" / "Greeting.cdf"
    poses = POSES["S9", "Greeting"]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    yield r"Greeting\.cdf: not read as a CDF: "
    write_cdf(replaced(path), np.where(np.arange(len(poses))[:, None, None] == 3, np.nan, poses))
    yield "S9/Greeting/54138969: joints is not finite in 1 frames, the first of them 3"
    write_cdf(replaced(path), poses / 1000)
    yield r"Greeting\.cdf: the torso is 0\.000\d+ m long; other units, or other joints"
    write_cdf(replaced(path), poses[:, ::-1])
    yield "other units, or other joints"
    write_cdf(replaced(path), poses + np.array([0, 20_000, 0]))
    yield "S9/Greeting/.*: the person is behind the camera"


def replaced(path: Path) -> Path:
    path.unlink()
    return path


def test_damaged_cdf_files_are_refused(small: H36M) -> None:
    for words in damaged_cdf(small):
        with pytest.raises(ValueError, match=words):
            list(small.recordings())


def test_damaged_h5_files_are_refused(tmp_path: Path) -> None:
    write_cameras_h5(tmp_path / "cameras.h5")
    poses = {key: value for key, value in POSES.items() if key[0] == "S9"}
    source = H36M(write_h5_layout(tmp_path, poses), subjects=("S9",))
    path = tmp_path / "S9" / "MyPoses" / "3D_positions" / "Greeting.h5"
    whole = path.read_bytes()
    for data in (whole[:100], whole[: len(whole) // 2], b""):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"Greeting\.h5: "):
            list(source.recordings())
    for key, values, words in (
        ("poses", np.zeros((96, 5)), "key '3D_positions' is missing; there are poses"),
        ("3D_positions", np.zeros((5, 96)), r"is \(5, 96\) of float64, expected \(96, None\)"),
        ("3D_positions", np.zeros((96, 5), dtype=int), "of int64"),
        ("3D_positions", np.full((96, 5), np.nan), "joints is not finite in 5 frames"),
        ("3D_positions/inner", np.zeros((96, 5)), "'3D_positions' is missing"),
    ):
        with h5py.File(replaced(path), "w") as file:
            file[key] = values
        with pytest.raises(ValueError, match=words):
            list(source.recordings())


@pytest.mark.parametrize("filled", [{}, {"chunks": (96, 1000)}, {"chunks": (96, 1_000_000), "compression": "gzip"}])
def test_hdf5_that_only_announces_takes_no_memory(tmp_path: Path, filled: dict[str, object]) -> None:
    path = tmp_path / "Greeting.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("3D_positions", (96, 10**9), "f8", **filled)
    imports = "from pathlib import Path\nfrom diffpose_core.data.readers.h36m_files import read_h5_poses"
    said = refusal_within(64, imports, f"read_h5_poses(Path({str(path)!r}))")
    assert "3D_positions is (96, 1000000000), 768,000,000,000 bytes: more than is stored or than is read" in said


def npz_of(path: Path, value: object) -> Path:
    array = np.empty((), dtype=object)
    array[()] = value
    np.savez_compressed(path, positions_3d=array)
    return path


class Touch:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)


class Announced:
    """Unpickled, an array of 10^9 poses without any."""

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = np.zeros(0).__reduce__()[0]
        return rebuild, (np.ndarray, (0,), b"b"), (1, (10**9, 32, 3), np.dtype("f4"), False, b"1234")


def test_hostile_npz_files_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    poses = {q: (v / 1000).astype(np.float32) for (s, q), v in POSES.items() if s == "S1"}
    for value, words in (
        (Touch(marker), "it names pathlib"),
        ({"S1": {**poses, "Greeting": Touch(marker)}}, "only numpy arrays are read"),
        ({"S1": {**poses, "Greeting": Announced()}}, "does not hold that much"),
        ({"S1": {**poses, "Greeting": np.zeros((5, 17, 3))}}, r"S1, Greeting: poses have shape \(5, 17, 3\)"),
        ({"S1": {**poses, "Greeting": np.zeros((0, 32, 3))}}, "poses have shape"),
        ({"S1": {**poses, "Greeting": np.zeros((5, 32, 3), int)}}, "the poses are no array of numbers"),
        ({"S1": {**poses, "Greeting": [[1.0]]}}, "the poses are no array of numbers"),
        ({"S1": {**poses, "Greeting": np.full((5, 32, 3), np.nan)}}, "S1/Greeting: joints is not finite"),
        ({"S1": {**poses, "Greeting": poses["Greeting"] * 1000}}, "the torso is .* other units"),
        ({"S1": {**poses, "Hello": poses["Greeting"]}}, "'Hello' is no sequence"),
        ({"S1": {**poses, "TakingPhoto": poses["Photo"]}}, "'Photo' is there twice"),
        ([poses], "positions_3d is no dictionary"),
    ):
        source = H36M(npz_of(tmp_path / "data_3d_h36m.npz", value), subjects=("S1",))
        with pytest.raises(ValueError, match=words):
            list(source.recordings())
    assert not marker.exists()
    source = H36M(npz_of(tmp_path / "data_3d_h36m.npz", {"S5": {}}), subjects=("S1",))
    with pytest.raises(FileNotFoundError, match="nothing of S1 in positions_3d; there are S5"):
        list(source.recordings())
    np.savez(tmp_path / "plain.npz", positions_3d=np.zeros((5, 32, 3)))
    with pytest.raises(ValueError, match="expected one dictionary or list"):
        list(H36M(tmp_path / "plain.npz").recordings())
    whole = (tmp_path / "plain.npz").read_bytes()
    (tmp_path / "plain.npz").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="not a zip file"):
        list(H36M(tmp_path / "plain.npz").recordings())


def test_npz_files_that_only_announce_take_no_memory(tmp_path: Path) -> None:
    npz_of(tmp_path / "poses.npz", {"S1": {"Greeting": Announced()}})
    imports = "from diffpose_core.data.readers.arrays import load_object"
    said = refusal_within(64, imports, f"load_object({str(tmp_path / 'poses.npz')!r}, 'positions_3d')")
    assert "array of shape (1000000000, 32, 3) and type float32 does not hold that much" in said
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with zipfile.ZipFile(tmp_path / "poses.npz") as other:
            header = other.read("positions_3d.npy")[:128]
        archive.writestr("positions_3d.npy", header + pickle.dumps(bytes(200_000_000)))
    statement = f"load_object({str(tmp_path / 'bomb.npz')!r}, 'positions_3d', 2**27)"
    assert "bytes; at most 134,217,728 are read" in refusal_within(64, imports, statement)


# The command


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


def test_the_command_refuses_in_one_line_and_leaves_nothing(small: H36M, tmp_path: Path) -> None:
    out = tmp_path / "out" / "h36m.safetensors"
    words = next(damaged_cdf(small))
    done = prepare("--source", small.source, "--subjects", "S9", "--out", out)
    assert done.returncode == 1
    assert "Greeting.cdf: not read as a CDF" in done.stderr, words
    assert "Traceback" not in done.stderr
    assert not list(out.parent.glob("*"))


# Facts for the evaluation


def test_drifted_recordings_are_prefixes_of_names() -> None:
    names = [f"S9/{sequence}/{camera}" for subject, sequence in POSES if subject == "S9" for camera in SIZES]
    drifted = {n.rsplit("/", 1)[0] for n in names if n.startswith(H36M_S9_DRIFT)}
    assert drifted == {"S9/Greeting", "S9/SittingDown 1", "S9/Waiting 1"}
    assert {5, 64, 640} <= H36M_STRIDES.keys()


def test_frame_lists_of_both_forms_name_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text(
        "# ambiguous\n/S9/Greeting 1.54138969/160.jpg\n/S9/Greeting 1.54138969/164.jpg\n\n"
        "/S9/Discussion.55011271/4.jpg\n/S11/Phoning 1.58860488/8.jpg\n/S11/Phoning.58860488/8.jpg\n"
        "/S11/Smoking 1.60457274/1.jpg\n/S11/Greeting 1.60457274/4.jpg\n/S9/WalkDog.60457274/4.jpg\n"
    )
    wanted = {
        "S9/Greeting 1/54138969": {159, 163}, "S9/Discussion 2/55011271": {3}, "S11/Phoning 2/58860488": {7},
        "S11/Phoning 3/58860488": {7}, "S11/Smoking 2/60457274": {0}, "S11/Greeting 2/60457274": {3},
        "S9/WalkDog/60457274": {3},
    }  # fmt: skip
    assert read_frame_list(path) == wanted
    path.write_text("\n".join(f"{name}/{frame}" for name, frames in wanted.items() for frame in frames))
    assert read_frame_list(path) == wanted


def test_every_test_sequence_has_one_name_in_their_list(tmp_path: Path) -> None:
    lines = [f"/{s}/{a}{n}.54138969/4.jpg" for s in ("S9", "S11") for a in ACTIONS for n in ("", " 1")]
    (tmp_path / "frames.txt").write_text("\n".join(lines))
    assert set(read_frame_list(tmp_path / "frames.txt")) == {
        f"{s}/{q}/54138969" for s, q in POSES if s in ("S9", "S11")
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("S9/Greeting 1/54138969", "line 2: 'S9/Greeting 1/54138969' is neither like"),
        ("S9/Greeting 1/54138969/-1", "is neither like"),
        ("S9/Hello/54138969/1", "line 2: 'Hello' is no sequence"),
        ("S9/Greeting/12345678/1", "names no frame"),
        ("S2/Greeting/54138969/1", "names no frame"),
        ("/S9/Greeting.54138969/0.jpg", "names no frame"),
        ("/S1/Greeting.54138969/4.jpg", "S1 is no test subject"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "frames.txt").write_text(f"S9/Greeting/54138969/1\n{line}\n")
    with pytest.raises(ValueError, match=words):
        read_frame_list(tmp_path / "frames.txt")


def test_empty_and_absent_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "frames.txt").write_bytes(b"# nothing\n")
    with pytest.raises(ValueError, match="there are no frames in it"):
        read_frame_list(tmp_path / "frames.txt")
    with pytest.raises(FileNotFoundError, match="absent"):
        read_frame_list(tmp_path / "absent.txt")
