# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Poses as a binary glTF 2.0 scene: a tree of named joints per person, with balls and sticks to look at.

Needs the ``export`` extra (trimesh). glTF is right-handed, y up, and its figures face z.
"""

from __future__ import annotations

import math

import numpy as np
import trimesh
from jaxtyping import Float
from torch import Tensor
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from diffpose_core.skeleton import H36M17

GLTF_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])
SPACING_M = 1.8
JOINT_RADIUS_M, BONE_RADIUS_M, HEAD_RADIUS_M = 0.035, 0.022, 0.09
COLORS = {"left": (0, 114, 178, 255), "right": (213, 94, 0, 255), "center": (90, 90, 90, 255)}


def glb_bytes(poses: Float[Tensor, "n 17 3"]) -> bytes:
    """Write poses, metres, optical frame, side by side on the plane y = 0.

    Below node ``person 0`` lies ``person 0/Pelvis``, below that the tree of joints: a node's translation is the joint's
    offset from its parent. Balls and bones are nodes of their own, below the joint at which they start.
    """
    scene = trimesh.Scene(base_frame="people")
    for side, color in COLORS.items():
        material = PBRMaterial(name=side, baseColorFactor=color, metallicFactor=0.0, roughnessFactor=0.8)
        ball, stick = trimesh.creation.icosphere(2), trimesh.creation.cylinder(1.0, 1.0, sections=16)
        for shape, mesh in (("ball", ball), ("stick", stick)):
            mesh.visual = TextureVisuals(material=material)
            scene.geometry[f"{shape} {side}"] = mesh
    columns = math.ceil(math.sqrt(len(poses)))
    for p, pose in enumerate(poses.double().numpy() @ GLTF_FROM_OPTICAL.T):
        _add_person(scene, f"person {p}", pose, SPACING_M * np.array([p % columns, 0, -(p // columns)], dtype=float))
    return bytes(scene.export(file_type="glb", include_normals=True))


def _add_person(scene: trimesh.Scene, person: str, pose: np.ndarray, spot: np.ndarray) -> None:
    pose = pose - pose[0]
    place = trimesh.transformations.translation_matrix
    scene.graph.update(frame_to=person, frame_from="people", matrix=place(spot - [0, pose[:, 1].min(), 0]))
    for j, (name, parent) in enumerate(zip(H36M17.joints, H36M17.parents, strict=True)):
        node, side = f"{person}/{name}", H36M17.side(j)
        above = person if parent < 0 else f"{person}/{H36M17.joints[parent]}"
        offset = pose[j] - (pose[parent] if parent >= 0 else 0)
        scene.graph.update(frame_to=node, frame_from=above, matrix=place(offset))
        radius = HEAD_RADIUS_M if name == "HeadTop" else JOINT_RADIUS_M
        size = np.diag([radius, radius, radius, 1.0])
        scene.graph.update(frame_to=f"{node} ball", frame_from=node, matrix=size, geometry=f"ball {side}")
        length = float(np.linalg.norm(offset))
        if parent >= 0 and length > 0:
            stick = place(offset / 2) @ trimesh.geometry.align_vectors([0, 0, 1], offset / length)
            stick = stick @ np.diag([BONE_RADIUS_M, BONE_RADIUS_M, length, 1.0])
            scene.graph.update(frame_to=f"{node} bone", frame_from=above, matrix=stick, geometry=f"stick {side}")
