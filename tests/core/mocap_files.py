# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Writers of small motion-capture files in the true formats, and where their joints are, worked out another way.

The positions come from one recursion over dictionaries with scipy's rotations, frame by frame; the readers stack
matrices over frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

Places = dict[str, np.ndarray]


@dataclass
class Bone:
    """A bone or joint: ``offset`` from its parent's end (Acclaim) or origin (BVH), and what hangs on it."""

    name: str
    offset: tuple[float, float, float]
    turns: str = ""
    axis_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    children: list[Bone] = field(default_factory=list)

    def all(self) -> list[Bone]:
        return [self, *(b for child in self.children for b in child.all())]


def random_angles(bones: list[Bone], frames: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Every bone's angles in degrees, one for each of its turns, and the root's position first."""
    rng = np.random.default_rng(seed)
    return [
        {b.name: np.round(rng.uniform(-170, 170, len(b.turns)) * (0.3 if i else 1), 4) for i, b in enumerate(bones)}
        | {"position": np.round(rng.uniform(-20, 20, 3), 4)}
        for _ in range(frames)
    ]


# BVH


def write_bvh(
    path: Path, root: Bone, frames: list[dict[str, np.ndarray]], frame_time_s: float = 1 / 120, prefix: str = ""
) -> Path:
    """Joints without children get their offset's half as an end site."""

    def block(bone: Bone, kind: str, indent: str) -> list[str]:
        turns = " ".join(f"{t.upper()}rotation" for t in bone.turns)
        moves = "Xposition Yposition Zposition " if kind == "ROOT" else ""
        lines = [
            f"{indent}{kind} {prefix}{bone.name}",
            f"{indent}{{",
            f"{indent}\tOFFSET {bone.offset[0]:.5f} {bone.offset[1]:.5f} {bone.offset[2]:.5f}",
            f"{indent}\tCHANNELS {len(bone.turns) + (3 if moves else 0)} {moves}{turns}",
        ]
        for child in bone.children:
            lines += block(child, "JOINT", indent + "\t")
        if not bone.children:
            half = [f"{o / 2:.5f}" for o in bone.offset]
            lines += [f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET {' '.join(half)}", f"{indent}\t}}"]
        return [*lines, f"{indent}}}"]

    rows = [
        " ".join(f"{v:.4f}" for v in [*frame["position"], *(a for b in root.all() for a in frame[b.name])])
        for frame in frames
    ]
    lines = [
        "HIERARCHY",
        *block(root, "ROOT", ""),
        "MOTION",
        f"Frames: {len(frames)}",
        f"Frame Time: {frame_time_s:.7f}",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *rows, ""]))
    return path


def bvh_places(root: Bone, frame: dict[str, np.ndarray]) -> Places:
    """Where joints and end sites are; capital letters are scipy's word for axes that turn along."""
    found: Places = {}

    def walk(bone: Bone, origin: np.ndarray, turned: Rotation) -> None:
        found[bone.name] = origin
        turned = turned * Rotation.from_euler(bone.turns.upper(), frame[bone.name], degrees=True)
        for child in bone.children:
            walk(child, origin + turned.apply(child.offset), turned)
        if not bone.children:
            found[f"{bone.name}_end"] = origin + turned.apply(np.array(bone.offset) / 2)

    walk(root, frame["position"], Rotation.identity())
    return found


# ASF/AMC


def write_asf(path: Path, root: Bone, length_unit: float = 0.45) -> Path:
    """The CMU database's layout; a bone's direction has length 1."""
    lines = [
        "# AST/ASF file generated using VICON BodyLanguage", ":version 1.10", ":name VICON", ":units", "  mass 1.0",
        f"  length {length_unit}", "  angle deg", ":documentation", "   from a test", ":root",
        "   order TX TY TZ RX RY RZ", "   axis XYZ", "   position 0 0 0", "   orientation 0 0 0", ":bonedata",
    ]  # fmt: skip
    for number, bone in enumerate(root.all()[1:], 1):
        length = float(np.linalg.norm(bone.offset))
        direction = np.array(bone.offset) / length
        lines += [
            "  begin", f"     id {number} ", f"     name {bone.name}",
            "     direction " + " ".join(f"{d:.9g}" for d in direction), f"     length {length:.9g}  ",
            "     axis " + " ".join(f"{a:g}" for a in bone.axis_deg) + "  XYZ",
        ]  # fmt: skip
        if bone.turns:
            lines.append("    dof " + " ".join(f"r{t}" for t in bone.turns))
            lines += [("    limits " if i == 0 else "           ") + "(-180.0 180.0)" for i in range(len(bone.turns))]
        lines.append("  end")
    lines += [":hierarchy", "  begin"]
    lines += [f"    {b.name} {' '.join(c.name for c in b.children)}" for b in root.all() if b.children]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "  end", ""]))
    return path


def write_amc(path: Path, root: Bone, frames: list[dict[str, np.ndarray]]) -> Path:
    lines = ["#!OML:ASF C:\\somewhere\\05.ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    for number, frame in enumerate(frames, 1):
        lines.append(str(number))
        for bone in root.all():
            values = [*(frame["position"] if bone is root else ()), *frame[bone.name]]
            if values:
                lines.append(f"{bone.name} " + " ".join(f"{v:.4f}" for v in values))
    path.write_text("\n".join([*lines, ""]))
    return path


def acclaim_places(root: Bone, frame: dict[str, np.ndarray]) -> Places:
    """Where the bones end; small letters are scipy's word for axes that stand still."""
    found: Places = {}

    def walk(bone: Bone, start: np.ndarray, turned: Rotation) -> None:
        axis = Rotation.from_euler("xyz", bone.axis_deg, degrees=True)
        own = Rotation.from_euler(bone.turns, frame[bone.name], degrees=True) if bone.turns else Rotation.identity()
        turned = turned * axis * own * axis.inv()
        end = start if bone is root else start + turned.apply(bone.offset)
        found[bone.name] = end
        for child in bone.children:
            walk(child, end, turned)

    walk(root, frame["position"], Rotation.identity())
    return found


# Body models


@dataclass
class Body:
    """The arrays of a body model file, and its joints' rest places for no shape."""

    arrays: dict[str, np.ndarray]

    def write(self, path: Path, **replaced: np.ndarray | None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {k: v for k, v in (self.arrays | replaced).items() if v is not None}
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path

    @property
    def parents(self) -> list[int]:
        return [-1, *self.arrays["kintree_table"][0, 1:].tolist()]

    def places(
        self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray, ids: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Joints [K, 3] and some vertices in one frame, vertex by vertex and joint by joint."""
        a = self.arrays
        shape = a["shapedirs"][..., : len(betas)]
        shaped = a["v_template"] + np.tensordot(shape, betas, axes=(2, 0))
        rest = a["J_regressor"] @ shaped
        turns = Rotation.from_rotvec(pose.reshape(-1, 3))
        whole: list[Rotation] = []
        joints: list[np.ndarray] = []
        for j, parent in enumerate(self.parents):
            whole.append(turns[j] if parent < 0 else whole[parent] * turns[j])
            joints.append(rest[j] if parent < 0 else joints[parent] + whole[parent].apply(rest[j] - rest[parent]))
        feature = np.concatenate([(t.as_matrix() - np.eye(3)).ravel() for t in list(turns)[1:]])
        vertices = []
        for v in ids:
            posed = shaped[v] + a["posedirs"][v] @ feature
            parts = [w * (whole[j].apply(posed - rest[j]) + joints[j]) for j, w in enumerate(a["weights"][v])]
            vertices.append(np.sum(parts, axis=0) + translation)
        return np.array(joints) + translation, np.array(vertices)


_BODY = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
_HAND = [0, 1, 2] * 5


def _hands(first: int) -> list[int]:
    """Five fingers of three joints on either wrist."""
    found: list[int] = []
    for side, wrist in enumerate((20, 21)):
        base = first + 15 * side
        found += [wrist if joint == 0 else base + i - 1 for i, joint in enumerate(_HAND)]
    return found


TREES = {
    "smpl": [*_BODY, 20, 21],
    "smplh": [*_BODY, *_hands(22)],
    "smplx": [*_BODY, 15, 15, 15, *_hands(25)],
}
_REST_M = np.array(
    [
        (0, 0, 0), (0.06, -0.09, 0), (-0.06, -0.09, 0), (0, 0.11, -0.02), (0.1, -0.47, 0), (-0.1, -0.47, 0),
        (0, 0.24, 0), (0.09, -0.87, -0.04), (-0.09, -0.87, -0.04), (0, 0.3, 0), (0.11, -0.93, 0.08),
        (-0.11, -0.93, 0.08), (0, 0.5, -0.02), (0.07, 0.41, 0), (-0.07, 0.41, 0), (0, 0.59, 0.03), (0.18, 0.44, -0.01),
        (-0.18, 0.44, -0.01), (0.44, 0.43, -0.03), (-0.44, 0.43, -0.03), (0.69, 0.44, -0.04), (-0.69, 0.44, -0.04),
    ]
)  # fmt: skip


def body(kind: str, shapes: int = 16, seed: int = 0) -> Body:
    """A model with the true one's numbers of vertices and joints: joint j rests at vertex 3000 + j; most of the rest
    of the surface is at the origin, unweighted but for the root."""
    rng = np.random.default_rng(seed)
    parents = TREES[kind]
    count, joints = (10475 if kind == "smplx" else 6890), len(parents)
    placed = np.arange(3000, 3000 + joints)
    faced = np.array([332, 412, 9120, 8976]) if kind == "smplx" else np.array([332, 412])
    used = np.concatenate([placed, faced])
    template = np.zeros((count, 3))
    template[placed[: len(_REST_M)]] = _REST_M
    template[placed[len(_REST_M) :]] = rng.normal(scale=0.3, size=(joints - len(_REST_M), 3))
    template[faced] = [(0, 0.6, 0.12), (0, 0.78, 0.02), (0, 0.61, 0.13), (0, 0.79, 0.03)][: len(faced)]
    regressor = np.zeros((joints, count))
    regressor[np.arange(joints), placed] = 1
    weights = np.zeros((count, joints))
    weights[:, 0] = 1
    weights[used] = rng.dirichlet(np.full(joints, 0.2), len(used))
    shape_directions = np.zeros((count, 3, shapes), np.float32)
    pose_directions = np.zeros((count, 3, 9 * (joints - 1)), np.float32)
    shape_directions[used] = rng.normal(scale=0.01, size=(len(used), 3, shapes))
    pose_directions[used] = rng.normal(scale=0.002, size=(len(used), 3, 9 * (joints - 1)))
    tree = np.array([parents, range(joints)], dtype=np.int64).astype(np.uint32)  # -1 becomes 4294967295
    return Body(
        {
            "v_template": template, "shapedirs": shape_directions, "posedirs": pose_directions,
            "J_regressor": regressor, "weights": weights, "kintree_table": tree, "f": np.zeros((4, 3), np.uint32),
        }
    )  # fmt: skip


def write_amass(
    path: Path, poses: np.ndarray, betas: np.ndarray, translations: np.ndarray, /, **replaced: object
) -> Path:
    """``X_poses.npz`` of SMPL+H or ``X_stageii.npz`` of SMPL-X, by the name; None leaves a key out."""
    rate = {"mocap_frame_rate" if path.name.endswith("_stageii.npz") else "mocap_framerate": np.array(120.0)}
    extra: dict[str, object] = {"markers_latent_vids": np.array({"C7": 3}, dtype=object), "surface_model_type": "smplx"}
    if path.name.endswith("_poses.npz"):
        extra = {"dmpls": np.zeros((len(poses), 8))}
    arrays = {"trans": translations, "gender": np.array("male"), "betas": betas, "poses": poses, **rate, **extra}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in (arrays | replaced).items() if v is not None})  # type: ignore[arg-type]
    return path
