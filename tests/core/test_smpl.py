# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Body models: joints and vertices against a computation one by one, the joints of H36M17, and what is refused."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mocap_files import Body, body
from scipy.spatial.transform import Rotation

from diffpose_core import H36M17
from diffpose_core.data.readers import smpl
from diffpose_core.data.readers.smpl import BodyModel, h36m17, h36m17_regressed, load_h36m_regressor

RNG = np.random.default_rng(5)
BODY = body("smpl", shapes=10)


def motion(joints: int, frames: int, betas: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    poses = RNG.normal(scale=0.7, size=(frames, 3 * joints))
    poses[0] = 0
    return poses, RNG.normal(size=betas), RNG.normal(size=(frames, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BodyModel:
    return BodyModel.load(BODY.write(tmp_path_factory.mktemp("smpl") / "SMPL_MALE.npz"))


def expected(
    made: Body, ids: list[int], poses: np.ndarray, betas: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    frames = [made.places(pose, betas, t, ids) for pose, t in zip(poses, translations, strict=True)]
    return np.array([f[0] for f in frames]), np.array([f[1] for f in frames])


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3).map(np.array))
def test_rotations_are_those_of_scipy(vector: np.ndarray) -> None:
    np.testing.assert_allclose(smpl.rotations(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(
        smpl.rotations(1e-9 * vector), Rotation.from_rotvec(1e-9 * vector).as_matrix(), atol=1e-15
    )


@pytest.mark.parametrize("betas", [0, 4, 10])
def test_joints_and_vertices_are_those_of_the_model(model: BodyModel, betas: int) -> None:
    """Whatever the number of shape coefficients; those that are not given are zero."""
    moved = motion(24, 4, betas)
    ids = [3000, 3011, 332, 412, 17]
    joints, vertices = expected(BODY, ids, *moved)
    np.testing.assert_allclose(model.joints(*moved), joints, atol=1e-9)
    np.testing.assert_allclose(model.vertices(*moved, np.array(ids)), vertices, atol=1e-9)


def test_many_frames_are_worked_through_in_parts(model: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = motion(24, 11, 10)
    whole = h36m17(model, *moved)
    monkeypatch.setattr(smpl, "_NUMBERS_AT_ONCE", 3 * 9 * 24)
    np.testing.assert_allclose(h36m17(model, *moved), whole, rtol=0, atol=1e-12)
    assert h36m17(model, *(m[:0] if m.ndim == 2 else m for m in moved)).shape == (0, 17, 3)


def test_the_body_of_h36m17_stands_upright_at_rest(model: BodyModel) -> None:
    """The left is where x is large, and every joint is where the model's own one of its name rests."""
    at = dict(zip(H36M17.joints, h36m17(model, np.zeros((1, 72)), np.zeros(0), np.zeros((1, 3)))[0], strict=True))
    for joint, place in {
        "Pelvis": (0, -0.09, 0), "LHip": (0.06, -0.09, 0), "RKnee": (-0.1, -0.47, 0), "LAnkle": (0.09, -0.87, -0.04),
        "Spine": (0, 0.11, -0.02), "Thorax": (0, 0.5, -0.02), "Nose": (0, 0.6, 0.12), "HeadTop": (0, 0.78, 0.02),
        "RShoulder": (-0.18, 0.44, -0.01), "LElbow": (0.44, 0.43, -0.03), "RWrist": (-0.69, 0.44, -0.04),
    }.items():  # fmt: skip
        np.testing.assert_allclose(at[joint], place, atol=1e-9, err_msg=joint)


def test_the_face_of_smplx_has_no_part_in_the_shape(tmp_path: Path) -> None:
    made = body("smplx", shapes=20)
    model = BodyModel.load(made.write(tmp_path / "SMPLX_MALE.npz"))
    moved = motion(55, 2, 10)
    _, vertices = expected(made, [9120, 8976], *moved)
    np.testing.assert_allclose(h36m17(model, *moved)[:, [9, 10]], vertices, atol=1e-9)
    with pytest.raises(ValueError, match=r"betas have shape \(11,\); .* takes at most 10 finite ones"):
        model.joints(moved[0], np.zeros(11), moved[2])


# Joints by a regressor


def regressor_rows(left_leg_first: bool) -> np.ndarray:
    """Each joint of H36M17 is the middle of a vertex and one of the two of the head, in one of the known orders."""
    own = [0, 2, 5, 8, 1, 4, 7, 3, 12, 15, 15, 16, 18, 20, 17, 19, 21]
    rows = np.zeros((17, 6890))
    rows[np.arange(17), 3000 + np.array(own)] = 0.5
    rows[:, 412] = 0.5
    return rows[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]] if left_leg_first else rows


@pytest.mark.parametrize("left_leg_first", [True, False])
def test_both_published_regressors_give_the_joints_in_our_order(
    tmp_path: Path, model: BodyModel, left_leg_first: bool
) -> None:
    np.save(tmp_path / "J_regressor_h36m.npy", regressor_rows(left_leg_first))
    regressor = load_h36m_regressor(tmp_path / "J_regressor_h36m.npy", model)
    moved = motion(24, 3, 10)
    _, vertices = expected(BODY, [3002, 3004, 3016, 412], *moved)
    found = h36m17_regressed(model, regressor, *moved)
    for column, joint in enumerate(("RHip", "LKnee", "LShoulder")):
        middle = (vertices[:, column] + vertices[:, 3]) / 2
        np.testing.assert_allclose(found[:, H36M17.index(joint)], middle, atol=1e-9, err_msg=joint)


def test_another_regressor_is_refused(tmp_path: Path, model: BodyModel) -> None:
    rows = regressor_rows(False)
    infinite = rows.copy()
    infinite[3, 3] = np.inf
    for name, array, words in (
        ("arms", rows[[*range(11), 14, 15, 16, 11, 12, 13]], "in neither known order"),
        ("smplx", np.zeros((17, 10475)), r"is float64 \(17, 10475\), expected finite numbers \(17, 6890\)"),
        ("infinite", infinite, "expected finite numbers"),
        ("objects", np.array([{}]), "is not a plain .npy"),
    ):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        with pytest.raises(ValueError, match=words):
            load_h36m_regressor(tmp_path / f"{name}.npy", model)
    short = io.BytesIO()
    np.lib.format.write_array_header_1_0(short, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 6890)})
    (tmp_path / "short.npy").write_bytes(short.getvalue())
    np.savez(tmp_path / "archive.npz", rows)
    for name in ("short.npy", "archive.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a plain .npy"):
            load_h36m_regressor(tmp_path / name, model)
    with pytest.raises(FileNotFoundError, match=r"absent\.npy"):
        load_h36m_regressor(tmp_path / "absent.npy", model)


# What is refused


@pytest.mark.parametrize(
    ("poses", "betas", "translations", "words"),
    [
        (np.zeros((2, 156)), np.zeros(10), np.zeros((2, 3)), r"poses have shape \(2, 156\); .* takes finite \(2, 72\)"),
        (np.full((2, 72), np.nan), np.zeros(10), np.zeros((2, 3)), "poses have shape"),
        (np.zeros((2, 72)), np.zeros(11), np.zeros((2, 3)), r"betas have shape \(11,\); .* takes at most 10 finite"),
        (np.zeros((2, 72)), np.zeros((2, 10)), np.zeros((2, 3)), r"betas have shape \(2, 10\)"),
        (np.zeros((2, 72)), np.full(10, np.inf), np.zeros((2, 3)), "betas have shape"),
        (np.zeros((2, 72)), np.zeros(10), np.zeros((1, 3)), r"translations have shape \(1, 3\)"),
    ],
)
def test_motion_that_does_not_fit_the_model_is_refused(
    model: BodyModel, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        model.joints(poses, betas, translations)
    with pytest.raises(ValueError, match=words):
        model.vertices(poses, betas, translations, np.array([0]))


TREE = BODY.arrays["kintree_table"]


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"weights": None}, "key 'weights' is missing"),
        ({"v_template": np.full((6890, 3), np.nan)}, "v_template is float64 .*expected finite numbers"),
        ({"v_template": np.zeros((6890, 3), int)}, "v_template is int64"),
        ({"v_template": np.float64(1)}, "v_template is float64"),
        ({"shapedirs": np.float64(1)}, "shapedirs is float64"),
        ({"posedirs": np.zeros((6890, 3, 9))}, r"posedirs is float64 \(6890, 3, 9\), expected .*207"),
        ({"J_regressor": np.array([{}])}, "key 'J_regressor' holds Python objects"),
        ({"kintree_table": TREE[0]}, "kintree_table has shape"),
        ({"kintree_table": TREE[:, :0]}, "kintree_table has shape"),
        ({"kintree_table": np.where(TREE == 3, 23, TREE)}, "kintree_table does not number the joints in order"),
        ({"kintree_table": TREE[::-1]}, "kintree_table does not number the joints in order"),
    ],
)  # fmt: skip
def test_a_bad_model_is_refused_by_name(tmp_path: Path, replaced: dict[str, np.ndarray | None], words: str) -> None:
    small = {"posedirs": np.zeros((6890, 3, 207), np.float32)}
    with pytest.raises(ValueError, match=words) as refused:
        BodyModel.load(BODY.write(tmp_path / "bad.npz", **(small | replaced)))
    assert "bad.npz" in str(refused.value)


def test_another_body_has_no_joints_of_h36m17(tmp_path: Path) -> None:
    arrays = {k: v[:778] if len(v) == 6890 else v for k, v in BODY.arrays.items()}
    arrays["J_regressor"] = arrays["J_regressor"][:, :778]
    hand = BodyModel.load(Body(arrays).write(tmp_path / "hand.npz"))
    with pytest.raises(ValueError, match="has 778 vertices and 24 joints; SMPL has 6890 and 24"):
        h36m17(hand, *motion(24, 1, 10))


def test_an_archive_that_swells_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 3)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key in smpl.KEYS:
            archive.writestr(f"{key}.npy", header.getvalue() + bytes(10**6))
    with pytest.raises(ValueError, match="24,000,000,000 bytes; at most 4,294,967,296 are read"):
        BodyModel.load(tmp_path / "bomb.npz")


class Touch:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_gives_arrays_and_runs_nothing(tmp_path: Path, model: BodyModel) -> None:
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(BODY.arrays, protocol=2))
    moved = motion(24, 2, 10)
    np.testing.assert_array_equal(BodyModel.load(plain).joints(*moved), model.joints(*moved))

    marker = tmp_path / "ran"
    for name, held, words in (
        ("callable", {"v_template": Touch(marker)}, "only numpy arrays are read; convert it to an .npz of v_template,"),
        ("fewer", {"v_template": np.zeros((6890, 3))}, "fewer.pkl has other keys; convert it to an .npz of v_template"),
        ("list", [1, 2], "list.pkl has other keys"),
        ("text", dict.fromkeys(smpl.KEYS, "text"), "text.pkl has other keys"),
    ):
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps(held))
        with pytest.raises(ValueError, match=words):
            BodyModel.load(path)
    assert not marker.exists()
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        BodyModel.load(tmp_path / "absent.npz")
