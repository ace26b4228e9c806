# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""SMPL, SMPL+H and SMPL-X body models: joints and vertices from shape and pose, without the licensed code.

Model: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015. With T the template, B the shape and P the pose
blend shapes, J the regressor of the joints: rest joints J(T + B), surface W(T + B + P, J(T + B), pose) by linear blend
skinning. Right-handed, metres; at rest y is up and x points to the person's left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.data.readers.arrays import NPY_ERRORS, load_arrays
from diffpose_core.data.readers.pickles import load_arrays_pickle
from diffpose_core.skeleton import H36M17

KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
"""The body's joints, the first 22 of all three models (``joint_names.py`` of the package smplx)."""
_SMPLX_VERTICES = 10475
NOSE_AND_HEAD_TOP = {6890: (332, 412), _SMPLX_VERTICES: (9120, 8976)}
"""Vertices by how many the model has: 6890 in SMPL and SMPL+H, 10475 in SMPL-X. The nose is that of the package smplx
(``vertex_ids.py``), the top of the head that of SMPL-Anthropometry (``HEAD_TOP``)."""
_MIX = {
    "Pelvis": ("left_hip", "right_hip"),
    "RHip": ("right_hip",), "RKnee": ("right_knee",), "RAnkle": ("right_ankle",),
    "LHip": ("left_hip",), "LKnee": ("left_knee",), "LAnkle": ("left_ankle",),
    "Spine": ("spine1",), "Thorax": ("neck",),
    "LShoulder": ("left_shoulder",), "LElbow": ("left_elbow",), "LWrist": ("left_wrist",),
    "RShoulder": ("right_shoulder",), "RElbow": ("right_elbow",), "RWrist": ("right_wrist",),
}  # fmt: skip
APPROXIMATE = ("Pelvis", "Spine", "Thorax", "Nose", "HeadTop")
"""What :func:`h36m17` makes of others: the hips' middle, the lowest joint of the spine, the neck and two vertices."""
_LEFT_LEG_FIRST = (0, 4, 5, 6, 1, 2, 3, *range(7, 17))
_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class BodyModel:
    """A body of V vertices and K joints, of either gender or none.

    ``poses`` are axis-angle rotations in each joint's parent, [N, 3 K] radians; ``betas`` [S'] shape coefficients, at
    most S, the others zero; ``translations`` [N, 3] metres.

    Attributes:
        path: its file.
        parents: each joint's parent; -1 of the first, which is the root.
        template: [V, 3] metres.
        shape_directions: [V, 3, S]; without those of the face's expression.
        pose_directions: [V, 3, 9 (K - 1)].
        joint_regressor: [K, V].
        weights: [V, K].
    """

    path: Path
    parents: tuple[int, ...]
    template: np.ndarray
    shape_directions: np.ndarray
    pose_directions: np.ndarray
    joint_regressor: np.ndarray
    weights: np.ndarray

    @classmethod
    def load(cls, path: str | Path) -> BodyModel:
        """Read a model, an ``.npz`` or a ``.pkl`` of plain arrays; nothing in it is executed.

        Raises:
            FileNotFoundError: no such file.
            ValueError: damaged, a key missing, shapes that do not fit each other, or a ``.pkl`` of Python objects.
        """
        path = Path(path)
        arrays = _read(path)
        parents = _parents(path, arrays["kintree_table"])
        vertices, joints = arrays["v_template"].size // 3, len(parents)
        shapes = arrays["shapedirs"].shape[-1] if arrays["shapedirs"].ndim else 0
        for key, expected in (
            ("v_template", (vertices, 3)),
            ("shapedirs", (vertices, 3, shapes)),
            ("posedirs", (vertices, 3, 9 * (joints - 1))),
            ("J_regressor", (joints, vertices)),
            ("weights", (vertices, joints)),
        ):
            found = arrays[key]
            if found.shape != expected or found.dtype.kind != "f" or not np.isfinite(found).all():
                raise ValueError(f"{path}: {key} is {found.dtype} {found.shape}, expected finite numbers {expected}")
        if vertices == _SMPLX_VERTICES:  # The rest moves the face; models of before version 1.1 have 10 and 10.
            shapes = 300 if shapes > 300 else 10
        return cls(
            path, parents, arrays["v_template"], arrays["shapedirs"][..., :shapes], arrays["posedirs"],
            arrays["J_regressor"], arrays["weights"],
        )  # fmt: skip

    def joints(self, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray) -> np.ndarray:
        """Return the joints [N, K, 3] in metres.

        Raises:
            ValueError: a shape does not fit the model, or a number is not finite.
        """
        rest = self._rest_joints(betas)
        parts = [_chain(self.parents, turns, rest)[1] for turns in self._turns(poses, translations, len(rest))]
        return np.concatenate(parts) + translations[:, None]

    def vertices(
        self, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:  # fmt: skip
        """Return the vertices ``ids`` [I], skinned as the whole surface would be: [N, I, 3] in metres.

        Raises:
            ValueError: a shape does not fit the model, or a number is not finite.
        """
        rest = self._rest_joints(betas)
        shaped = self._shaped(betas, ids)
        features = self.pose_directions.shape[-1]
        directions = self.pose_directions[ids].reshape(-1, features).T
        parts = []
        for turns in self._turns(poses, translations, max(len(ids), len(rest))):
            count = len(turns)
            whole, places = _chain(self.parents, turns, rest)
            moved = ((turns[:, 1:] - np.eye(3)).reshape(count, features) @ directions).reshape(count, len(ids), 3)
            offsets = places - np.einsum("nkij,kj->nki", whole, rest)
            blend = (self.weights[ids] @ whole.reshape(*places.shape[:2], 9)).reshape(count, len(ids), 3, 3)
            parts.append(np.einsum("nvij,nvj->nvi", blend, shaped + moved) + self.weights[ids] @ offsets)
        return np.concatenate(parts) + translations[:, None]

    def _shaped(self, betas: np.ndarray, ids: Any = slice(None)) -> np.ndarray:
        return self.template[ids] + self.shape_directions[ids, :, : len(betas)] @ betas

    def _rest_joints(self, betas: np.ndarray) -> np.ndarray:
        shapes = self.shape_directions.shape[-1]
        if betas.ndim != 1 or len(betas) > shapes or not np.isfinite(betas).all():
            raise ValueError(f"betas have shape {betas.shape}; {self.path} takes at most {shapes} finite ones")
        return self.joint_regressor @ self._shaped(betas)

    def _turns(self, poses: np.ndarray, translations: np.ndarray, width: int) -> Iterator[np.ndarray]:
        """Yield the rotations [n, K, 3, 3] of all frames, so many at once that memory stays bounded."""
        for name, values, expected in (
            ("poses", poses, (len(poses), 3 * len(self.parents))),
            ("translations", translations, (len(poses), 3)),
        ):
            if values.shape != expected or not np.isfinite(values).all():
                raise ValueError(f"{name} have shape {values.shape}; {self.path} takes finite {expected}")
        step = max(1, _NUMBERS_AT_ONCE // (9 * width))
        for first in range(0, max(1, len(poses)), step):
            yield rotations(poses[first : first + step].reshape(-1, len(self.parents), 3))


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".pkl":
        return load_arrays(path, KEYS)
    advice = f"convert it to an .npz of {', '.join(KEYS)}"
    try:
        found = load_arrays_pickle(path)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from error
    arrays = {k: found[k] for k in KEYS if k in found} if isinstance(found, dict) else {}
    if len(arrays) < len(KEYS) or not all(isinstance(a, np.ndarray) for a in arrays.values()):
        raise ValueError(f"{path} has other keys; {advice}")
    return arrays


def _parents(path: Path, table: np.ndarray) -> tuple[int, ...]:
    """Return the tree; the root's parent is stored as -1 or as the largest unsigned number."""
    if table.ndim != 2 or len(table) != 2 or not table.size or table.dtype.kind not in "iuf":
        raise ValueError(f"{path}: kintree_table has shape {table.shape}, expected two rows of joints")
    parents = (-1, *(int(p) for p in table[0, 1:]))
    if (table[1] != np.arange(len(parents))).any() or any(not 0 <= p < i for i, p in enumerate(parents[1:], 1)):
        raise ValueError(f"{path}: kintree_table does not number the joints in order, parents before children")
    return parents


def rotations(vectors: np.ndarray) -> np.ndarray:
    """Return rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] in radians (Rodrigues)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    turns = np.linalg.norm(vectors, axis=-1)[..., None, None] / np.pi  # numpy's sinc(t) is sin(pi t) / (pi t)
    return np.eye(3) + np.sinc(turns) * cross + 0.5 * np.sinc(turns / 2) ** 2 * (cross @ cross)


def _chain(parents: tuple[int, ...], turns: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each joint's rotation [n, K, 3, 3] and place [n, K, 3] in the world, without the translation."""
    whole, places = np.empty_like(turns), np.empty(turns.shape[:-1])
    whole[:, 0], places[:, 0] = turns[:, 0], rest[0]
    for joint, parent in enumerate(parents[1:], 1):
        whole[:, joint] = whole[:, parent] @ turns[:, joint]
        places[:, joint] = places[:, parent] + whole[:, parent] @ (rest[joint] - rest[parent])
    return whole, places


def h36m17(
    model: BodyModel, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return the joints [N, 17, 3] of H36M17 from the model's own; those in ``APPROXIMATE`` only resemble them.

    Raises:
        ValueError: the model is none of SMPL, SMPL+H and SMPL-X, or see :meth:`BodyModel.vertices`.
    """
    count = len(model.template)
    if count not in NOSE_AND_HEAD_TOP or len(model.parents) < len(JOINTS):
        raise ValueError(f"{model.path} has {count} vertices and {len(model.parents)} joints; SMPL has 6890 and 24")
    face = model.vertices(poses, betas, translations, np.array(NOSE_AND_HEAD_TOP[count]))
    return h36m17_from_joints(model.joints(poses, betas, translations), face)


def h36m17_from_joints(joints: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Return the joints [N, 17, 3] of H36M17 from ``JOINTS`` [N, K, 3] and the nose and the head's top [N, 2, 3]."""
    found = np.empty((len(joints), len(H36M17), 3))
    for name, mix in _MIX.items():
        found[:, H36M17.index(name)] = joints[:, [JOINTS.index(m) for m in mix]].mean(1)
    found[:, [H36M17.index("Nose"), H36M17.index("HeadTop")]] = face
    return found


def load_h36m_regressor(path: str | Path, model: BodyModel) -> np.ndarray:
    """Read ``J_regressor_h36m.npy`` and return it [17, V] in the order of H36M17.

    The file of SPIN and VIBE has the left leg's rows before the right one's (``H36M_TO_J17`` in SPIN's constants.py);
    that of Pose2Mesh, ``J_regressor_h36m_correct.npy``, has them in the order of H36M17. Which one it is shows in the
    model at rest, where x points to the left.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no plain array, of another shape, or its rows are in neither order.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"regressor not found: {path}")
    expected = (len(H36M17), len(model.template))
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except NPY_ERRORS as error:
        raise ValueError(f"{path} is not a plain .npy: {str(error) or type(error).__name__}") from error
    if mapped.shape != expected or mapped.dtype.kind != "f" or not np.isfinite(mapped).all():
        raise ValueError(f"{path} is {mapped.dtype} {mapped.shape}, expected finite numbers {expected}")
    rows = np.array(mapped, np.float64)
    for order in (tuple(range(len(H36M17))), _LEFT_LEG_FIRST):
        to_the_left = (rows[list(order)] @ model.template)[:, 0]
        if all(to_the_left[i] < to_the_left[m] for i, m in enumerate(H36M17.mirror) if H36M17.side(i) == "right"):
            return rows[list(order)]
    raise ValueError(f"{path}: the rows are in neither known order of joints")


def h36m17_regressed(
    model: BodyModel, regressor: np.ndarray, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return the joints [N, 17, 3] of H36M17 by a regressor [17, V] of them from the posed surface.

    Raises:
        ValueError: see :meth:`BodyModel.vertices`.
    """
    used = np.flatnonzero(regressor.any(0))
    return np.einsum("jv,nvc->njc", regressor[:, used], model.vertices(poses, betas, translations, used))
