# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""AMASS: folders of both forms, read back to where the body model's joints are, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mocap_files import Body, body, write_amass

from diffpose_core import H36M17
from diffpose_core.data.prepared import open_prepared
from diffpose_core.data.readers.amass import Amass

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
TENTH_MM = 1e-4
SMPLH, SMPLX = body("smplh"), body("smplx", shapes=301)
RNG = np.random.default_rng(3)
BETAS = RNG.normal(size=16)
TRANSLATIONS = RNG.normal(size=(40, 3))
POSES = {"smplh": RNG.normal(scale=0.5, size=(40, 156)), "smplx": RNG.normal(scale=0.5, size=(40, 165))}
BODY = ((1, 2), 2, 5, 8, 1, 4, 7, 3, 12, None, None, 16, 18, 20, 17, 19, 21)
"""Joints of the body models, in the order of H36M17; Nose and HeadTop are vertices."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    SMPLH.write(folder / "smplh" / "male" / "model.npz")
    SMPLX.write(folder / "smplx" / "SMPLX_MALE.npz")
    return folder


def expected(made: Body, poses: np.ndarray, frames: np.ndarray, face: list[int]) -> np.ndarray:
    found = []
    for frame in frames:
        joints, vertices = made.places(poses[frame], BETAS, TRANSLATIONS[frame], face)
        rows = [joints[[j] if isinstance(j, int) else list(j)].mean(0) if j is not None else None for j in BODY]
        rows[9:11] = list(vertices)
        found.append(rows)
    return np.array(found)


@pytest.mark.parametrize(
    ("kind", "ending", "made", "face"),
    [("smplh", "_poses.npz", SMPLH, [332, 412]), ("smplx", "_stageii.npz", SMPLX, [9120, 8976])],
)
def test_both_forms_are_read_to_the_tenth_of_a_millimetre(
    tmp_path: Path, models: Path, kind: str, ending: str, made: Body, face: list[int]
) -> None:
    write_amass(tmp_path / "CMU" / "05" / f"05_01{ending}", POSES[kind], BETAS, TRANSLATIONS)
    (recording,) = Amass(tmp_path, models / kind).recordings()
    assert (recording.name, recording.subject, recording.source) == ("CMU/05/05_01", "CMU/05", "CMU")
    assert recording.frame_rate_hz == 30.0
    assert recording.frames.tolist() == list(range(0, 40, 4))
    np.testing.assert_allclose(recording.joints, expected(made, POSES[kind], recording.frames, face), atol=TENTH_MM)


def test_sub_datasets_make_the_split(tmp_path: Path, models: Path) -> None:
    """The authors': HumanEva, HDM05, SFU and MoSh for validation, SSM and Transitions for the test; old names too."""
    of = {
        "ACCAD/Male1General_c3d": "train", "HumanEva/S1": "validation", "MPI_HDM05/bd": "validation",
        "SFU/SFU/0005": "validation", "MoSh/50002": "validation", "SSM_synced/20161014_50033": "test",
        "Transitions/mazen_c3d": "test", "GRAB/s1": "train",
    }  # fmt: skip
    for folder in of:
        write_amass(tmp_path / folder / "a b_poses.npz", POSES["smplh"][:2], BETAS, TRANSLATIONS[:2])
        np.savez(tmp_path / folder / "shape.npz", betas=BETAS)
        np.savez(tmp_path / folder / "neutral_stagei.npz", betas=BETAS)
    found = {r.name: (r.split, r.subject) for r in Amass(tmp_path, models / "smplh").recordings()}
    subjects = {folder: folder for folder in of} | {"SFU/SFU/0005": "SFU/0005"}
    assert found == {f"{folder}/a b": (split, subjects[folder]) for folder, split in of.items()}
    (train,) = {r.split for r in Amass(tmp_path, models / "smplh", validation=(), test=()).recordings()}
    assert train == "train"


def test_a_word_in_bytes_and_an_uneven_rate_are_read(tmp_path: Path, models: Path) -> None:
    """As in files that are published: |S6, and 120.00004578 Hz."""
    write_amass(
        tmp_path / "KIT" / "3" / "walk_poses.npz", POSES["smplh"], BETAS, TRANSLATIONS,
        gender=np.array(b"male"), mocap_framerate=np.array(120.00004578),
    )  # fmt: skip
    (recording,) = Amass(tmp_path, models / "smplh", most_hz=60).recordings()
    assert (recording.frame_rate_hz, len(recording.frames)) == (60.0, 20)


def test_a_regressor_gives_human36m_joints(tmp_path: Path, models: Path) -> None:
    own = [0, 2, 5, 8, 1, 4, 7, 3, 12, 15, 15, 16, 18, 20, 17, 19, 21]
    rows = np.zeros((17, 6890))
    rows[np.arange(17), 3000 + np.array(own)] = 1
    np.save(tmp_path / "J_regressor_h36m.npy", rows)
    write_amass(tmp_path / "in" / "CMU" / "05" / "a_poses.npz", POSES["smplh"], BETAS, TRANSLATIONS)
    source = Amass(tmp_path / "in", models / "smplh", regressor=tmp_path / "J_regressor_h36m.npy")
    assert source.describe().approximate == ()
    (recording,) = source.recordings()
    _, vertices = SMPLH.places(POSES["smplh"][8], BETAS, TRANSLATIONS[8], [3000 + i for i in own])
    np.testing.assert_allclose(recording.joints[2], vertices, atol=TENTH_MM)
    assert recording.joints.shape == (10, len(H36M17), 3)


NAN = POSES["smplh"].copy()
NAN[8, 70] = np.nan


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"trans": None}, "key 'trans' is missing"),
        ({"mocap_framerate": None, "mocap_frame_rate": 120.0}, "key 'mocap_framerate' is missing"),
        ({"mocap_framerate": np.array([30.0, 30.0])}, r"mocap_framerate is float64 \(2,\), expected one number"),
        ({"mocap_framerate": np.array("120")}, "mocap_framerate is <U3"),
        ({"mocap_framerate": np.array(0.0)}, "the frame rate must be positive and finite, got 0.0"),
        ({"gender": np.array("unknown")}, r"gender is array\('unknown'.*expected one of female, male, neutral"),
        ({"gender": np.array({"male": 1}, dtype=object)}, "key 'gender' holds Python objects"),
        ({"poses": POSES["smplx"]}, r"poses have shape \(10, 165\); .*model.npz takes finite \(10, 156\)"),
        ({"poses": NAN}, "poses have shape"),
        ({"poses": np.array(1.0)}, r"poses is float64 \(\), expected an array of numbers"),
        ({"poses": POSES["smplh"].astype(str)}, "poses is <U32"),
        ({"trans": TRANSLATIONS[:20]}, r"translations have shape \(5, 3\)"),
        ({"betas": np.zeros(17)}, r"betas have shape \(17,\); .* takes at most 16"),
        ({"trans": 1e5 * TRANSLATIONS}, "are these millimetres"),
    ],
)
def test_bad_motion_is_refused_by_name(tmp_path: Path, models: Path, replaced: dict[str, object], words: str) -> None:
    write_amass(tmp_path / "CMU" / "05" / "a_poses.npz", POSES["smplh"], BETAS, TRANSLATIONS, **replaced)
    with pytest.raises(ValueError, match=words) as refused:
        list(Amass(tmp_path, models / "smplh").recordings())
    assert "CMU/05/a" in str(refused.value)


def test_what_is_missing_or_elsewhere_is_named(tmp_path: Path, models: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no X_poses.npz or X_stageii.npz in"):
        list(Amass(tmp_path, models / "smplh").recordings())
    write_amass(tmp_path / "CMU" / "05" / "a_poses.npz", POSES["smplh"], BETAS, TRANSLATIONS)
    with pytest.raises(ValueError, match=r"05/a_poses.npz does not lie in sub-dataset/subject"):
        list(Amass(tmp_path / "CMU", models / "smplh").recordings())
    with pytest.raises(FileNotFoundError, match=r"must hold one of male/model.npz, SMPLX_MALE.npz.*it holds 0"):
        list(Amass(tmp_path, models).recordings())
    two = tmp_path / "two"
    for name in ("male/model.npz", "SMPLH_MALE.npz"):
        (two / name).parent.mkdir(parents=True, exist_ok=True)
        (two / name).touch()
    with pytest.raises(FileNotFoundError, match="it holds 2"):
        list(Amass(tmp_path, two).recordings())


def test_the_command_prepares_and_leaves_nothing_on_failure(tmp_path: Path, models: Path) -> None:
    motion = write_amass(tmp_path / "in" / "CMU" / "05" / "a_poses.npz", POSES["smplh"], BETAS, TRANSLATIONS)
    out = tmp_path / "out" / "amass.safetensors"

    def prepare() -> subprocess.CompletedProcess[str]:
        arguments = ["amass", "--source", tmp_path / "in", "--models", models / "smplh", "--out", out]
        return subprocess.run(
            [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip

    done = prepare()
    assert done.returncode == 0, done.stderr
    assert f"{out}: AMASS, 10 poses in 1 recordings" in done.stdout
    assert "joints made from others: Pelvis Spine Thorax Nose HeadTop" in done.stdout
    (recording,) = Amass(tmp_path / "in", models / "smplh").recordings()
    np.testing.assert_allclose(open_prepared(out).joints.numpy(), recording.joints, atol=1e-6)

    out.unlink()
    motion.write_bytes(motion.read_bytes()[:-3000])
    done = prepare()
    assert done.returncode == 1
    assert "a_poses.npz: File is not a zip file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.parent.iterdir())
