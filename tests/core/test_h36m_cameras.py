# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M's cameras: three forms of the same, OpenCV as the reference, and files that are refused."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from h36m_files import SIZES, SUBJECTS, rig, write_cameras_h5, write_python, write_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from diffpose_core.data.readers.h36m_cameras import _turned, _turns, load_cameras


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
