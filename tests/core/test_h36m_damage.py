# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Human3.6M: what is missing, damaged or hostile is refused by name, and takes no memory."""

import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from bounded import refusal_within
from h36m_files import POSES, write_cameras_h5, write_cdf, write_cdf_layout, write_h5_layout, write_xml

from diffpose_core.data.readers.h36m import H36M
from diffpose_core.data.readers.h36m_files import read_h5_poses

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"


@pytest.fixture
def small(tmp_path: Path) -> H36M:
    """S9 alone, as published."""
    write_xml(tmp_path / "metadata.xml")
    poses = {key: value for key, value in POSES.items() if key[0] == "S9"}
    return H36M(write_cdf_layout(tmp_path, poses), subjects=("S9",))


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
        ("3D_positions/inner", np.zeros((96, 5)), "3D_positions is a structure, an object or empty"),
        ("3D_positions", h5py.Empty("f8"), "3D_positions is a structure, an object or empty"),
        ("3D_positions", h5py.SoftLink("/S9"), "is missing"),
    ):
        with h5py.File(replaced(path), "w") as file:
            file[key] = values
        with pytest.raises(ValueError, match=words):
            list(source.recordings())


def test_numbers_in_another_file_are_not_read(tmp_path: Path) -> None:
    """Of a link, of raw storage elsewhere and of a virtual dataset; the other file holds what would be read."""
    path, other, key = tmp_path / "Greeting.h5", tmp_path / "other.h5", "3D_positions"
    with h5py.File(other, "w") as file:
        file[key] = np.zeros((96, 5))
        file.flush()
        at = file[key].id.get_offset()
    virtual = h5py.VirtualLayout((96, 5), "f8")
    virtual[:] = h5py.VirtualSource(other, key, (96, 5))
    for words, write in (
        ("'3D_positions' is missing or a link", lambda f: f.update({key: h5py.ExternalLink(other, key)})),
        (
            "3D_positions lies in another file",
            lambda f: f.create_dataset(key, (96, 5), "f8", external=[(other, at, 3840)]),
        ),
        ("3D_positions lies in another file", lambda f: f.create_virtual_dataset(key, virtual)),
    ):
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(ValueError, match=rf"Greeting\.h5: .*{words}"):
            read_h5_poses(path)


@pytest.mark.parametrize(
    ("frames", "filled", "words"),
    [
        (10**9, {}, "768,000,000,000 bytes; at most 76,800,000 are read"),
        (10**9, {"chunks": (96, 1000)}, "768,000,000,000 bytes; at most 76,800,000 are read"),
        (100, {"chunks": (96, 1_000_000), "maxshape": (96, None)}, "768,000,000 bytes; at most 76,800,000 are read"),
        (10_000, {"chunks": (96, 1000)}, "7,680,000 bytes, the file holds 0"),
        (10_000, {"chunks": (96, 1000), "compression": "gzip"}, "7,680,000 bytes, the file holds 0"),
        (110_000, {"chunks": (96, 110_000), "compression": "gzip", "data": np.zeros((96, 110_000))}, "84,480,000 byt"),
    ],
)
def test_hdf5_that_only_announces_takes_no_memory(
    tmp_path: Path, frames: int, filled: dict[str, object], words: str
) -> None:
    path = tmp_path / "Greeting.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("3D_positions", (96, frames), "f8", **filled)
    imports = "from pathlib import Path\nfrom diffpose_core.data.readers.h36m_files import read_h5_poses"
    said = refusal_within(64, imports, f"read_h5_poses(Path({str(path)!r}))")
    assert f"3D_positions announces {words}" in said


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
        ({"S1": {**poses, "Greeting": Announced()}}, "an array of 3 dimensions announces 384000000000, there are 4"),
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
    assert "an array of 3 dimensions announces 384000000000, there are 4" in said
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with zipfile.ZipFile(tmp_path / "poses.npz") as other:
            header = other.read("positions_3d.npy")[:128]
        archive.writestr("positions_3d.npy", header + pickle.dumps(bytes(200_000_000)))
    statement = f"load_object({str(tmp_path / 'bomb.npz')!r}, 'positions_3d', 2**27)"
    assert "bytes; at most 134,217,728 are read" in refusal_within(64, imports, statement)


def test_the_command_refuses_in_one_line_and_leaves_nothing(small: H36M, tmp_path: Path) -> None:
    out = tmp_path / "out" / "h36m.safetensors"
    words = next(damaged_cdf(small))
    command = [sys.executable, str(SCRIPT), "h36m", "--source", small.source, "--subjects", "S9", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Greeting.cdf: not read as a CDF" in done.stderr, words
    assert "Traceback" not in done.stderr
    assert not list(out.parent.glob("*"))
