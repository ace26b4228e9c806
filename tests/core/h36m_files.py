# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Writes invented motion and cameras in the true formats of Human3.6M's files."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import cdflib
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases", "Sitting",
    "SittingDown", "Smoking", "Waiting", "WalkDog", "WalkTogether", "Walking",
)  # fmt: skip
NUMBERED = {
    "S1": {"Eating": ("", " 2"), "Sitting": (" 1", " 2"), "SittingDown": ("", " 2")},
    "S5": {
        "Directions": (" 1", " 2"), "Discussion": (" 2", " 3"), "Greeting": (" 1", " 2"), "Photo": ("", " 2"),
        "Waiting": (" 1", " 2"),
    },
    "S6": {"Eating": (" 1", " 2"), "Posing": ("", " 2"), "Sitting": (" 1", " 2"), "Waiting": ("", " 3")},
    "S7": {"Phoning": ("", " 2"), "Waiting": (" 1", " 2"), "Walking": (" 1", " 2")},
    "S8": {"WalkTogether": (" 1", " 2")},
    "S9": {"Discussion": (" 1", " 2")},
    "S11": {"Discussion": (" 1", " 2"), "Greeting": ("", " 2"), "Phoning": (" 2", " 3"), "Smoking": ("", " 2")},
}  # fmt: skip
"""What the two sequences of an action are called where not ``Greeting`` and ``Greeting 1`` (``metadata.xml``)."""
PUBLISHED = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}
"""S1's files have other names for these."""
SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
SIDES = [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]

STANDING = np.zeros((32, 3))
for _i, _place in {
    0: (0, 0, 950), 1: (-130, 0, 950), 2: (-130, 30, 500), 3: (-130, 0, 60), 6: (130, 0, 950), 7: (130, 30, 500),
    8: (130, 0, 60), 12: (0, -20, 1180), 13: (0, -30, 1440), 14: (0, 40, 1540), 15: (0, -10, 1650),
    17: (160, -30, 1400), 18: (260, 0, 1130), 19: (270, 120, 900), 25: (-160, -30, 1400), 26: (-260, 0, 1130),
    27: (-270, 120, 900),
}.items():  # fmt: skip
    STANDING[_i] = _place
JOINTS = [i for i in range(32) if STANDING[i].any()]

Poses = dict[tuple[str, str], np.ndarray]


def invented_poses(subjects: tuple[str, ...] = SUBJECTS) -> Poses:
    """Return by subject and sequence [N, 32, 3] mm of somebody who stands somewhere in the room, N from 5 to 12."""
    found = {}
    for subject in subjects:
        for action in ACTIONS:
            for number in NUMBERED[subject].get(action, ("", " 1")):
                rng = np.random.default_rng(zlib.crc32(f"{subject}{action}{number}".encode()))
                frames = int(rng.integers(5, 13))
                turn = Rotation.from_euler("z", rng.uniform(0, 6)).as_matrix()
                place = np.append(rng.uniform(-1200, 1200, 2), 0)
                noise = rng.normal(scale=30, size=(frames, 32, 3))
                found[subject, action + number] = STANDING @ turn.T + place + noise
    return found


POSES = invented_poses()


class Rig:
    """One camera of one subject: R and T (mm) of R (X - T), and the lens as ``metadata.xml`` has it."""

    def __init__(self, subject: int, index: int) -> None:
        rng = np.random.default_rng(100 * subject + index)
        angle = index * np.pi / 2 + 0.7 + rng.normal(scale=0.05)
        self.place = np.array([5000 * np.cos(angle), 5000 * np.sin(angle), 1550.0]) + rng.normal(scale=100, size=3)
        forward = np.array([0, 0, 1000.0]) - self.place
        right = np.cross(forward, [0, 0, 1.0])
        axes = np.stack([right, np.cross(forward, right), forward])
        tilt = Rotation.from_rotvec(rng.normal(scale=0.03, size=3)).as_matrix()
        self.rotation = tilt @ (axes / np.linalg.norm(axes, axis=1, keepdims=True))
        lens = np.random.default_rng(index)
        self.focal, self.centre = lens.uniform(1140, 1150, 2), lens.uniform(500, 520, 2)
        self.radial = np.array([-0.2, 0.24, -0.003]) + lens.normal(scale=0.003, size=3)
        self.tangential = lens.normal(scale=0.002, size=2)


def rig() -> dict[tuple[str, str], Rig]:
    """Return the four cameras of S1 to S11, by subject and name."""
    return {(f"S{s}", name): Rig(s, i) for s in range(1, 12) for i, name in enumerate(SIZES)}


def write_xml(path: Path) -> Path:
    """``metadata.xml``: extrinsics by camera, then subject; intrinsics by camera."""
    cameras = rig()
    numbers: list[float] = []
    for name in SIZES:
        for s in range(1, 12):
            one = cameras[f"S{s}", name]
            numbers += [*Rotation.from_matrix(one.rotation).as_euler("XYZ"), *one.place]
    for name in SIZES:
        one = cameras["S1", name]
        numbers += [*one.focal, *one.centre, *one.radial, *one.tangential]
    words = " ".join(f"{n:.15g}" for n in numbers)
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<a>\n   <mapping/>\n   <w0>[{words}]</w0>\n</a>\n')
    return path


def write_cameras_h5(path: Path) -> Path:
    """``cameras.h5``: written by MATLAB, so that matrices are transposed and vectors are columns."""
    with h5py.File(path, "w") as file:
        for (subject, name), one in rig().items():
            group = file.create_group(f"subject{subject[1:]}/camera{list(SIZES).index(name) + 1}")
            group["R"] = one.rotation.T
            group["Name"] = np.array([[ord(c)] for c in name], dtype=np.uint16)
            for key, values in (
                ("T", one.place), ("f", one.focal), ("c", one.centre), ("k", one.radial), ("p", one.tangential),
            ):  # fmt: skip
                group[key] = np.asarray(values)[:, None]
    return path


def write_python(path: Path, before: str = "import numpy as np\nfrom common.skeleton import Skeleton\n") -> Path:
    """``h36m_dataset.py``: two tables among code; no cameras of the subjects without published poses."""
    cameras = rig()
    inside = [
        {
            "id": name, "center": one.centre.tolist(), "focal_length": one.focal.tolist(),
            "radial_distortion": one.radial.tolist(), "tangential_distortion": one.tangential[::-1].tolist(),
            "res_w": SIZES[name][0], "res_h": SIZES[name][1], "azimuth": 70,
        }
        for name, one in ((n, cameras["S1", n]) for n in SIZES)
    ]  # fmt: skip
    outside = {}
    for s in range(1, 12):
        each = [cameras[f"S{s}", name] for name in SIZES]
        quaternions = [np.roll(Rotation.from_matrix(one.rotation.T).as_quat(), 1).tolist() for one in each]
        outside[f"S{s}"] = [
            {"orientation": q, "translation": one.place.tolist()} if f"S{s}" in SUBJECTS else {}
            for q, one in zip(quaternions, each, strict=True)
        ]
    path.write_text(
        f"{before}h36m_skeleton = Skeleton(parents=[-1, 0])\n"
        f"h36m_cameras_intrinsic_params = {inside!r}\nh36m_cameras_extrinsic_params = {outside!r}\n"
        "class Human36mDataset:\n    pass\n"
    )
    return path


def write_cdf(path: Path, poses: np.ndarray) -> None:
    """One of ``D3_Positions``: ``Pose`` [1, N, 96] mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cdflib.cdfwrite.CDF(str(path), cdf_spec={"Majority": "row_major"})
    about = {
        "Variable": "Pose", "Data_Type": cdflib.cdfwrite.CDF.CDF_DOUBLE, "Num_Elements": 1, "Rec_Vary": True,
        "Dim_Sizes": [len(poses), 96], "Compress": 0,
    }  # fmt: skip
    file.write_var(about, var_data=poses.reshape(1, len(poses), 96))
    file.close()


def write_cdf_layout(folder: Path, poses: Poses, place: str = "{s}/MyPoseFeatures/D3_Positions") -> Path:
    """As published."""
    for (subject, sequence), values in poses.items():
        action, _, number = sequence.partition(" ")
        published = PUBLISHED.get(action, action) if subject == "S1" else action
        name = f"{published} {number}".strip()
        write_cdf(folder / place.format(s=subject) / f"{name}.cdf", values)
    return folder


def write_h5_layout(folder: Path, poses: Poses) -> Path:
    """3d-pose-baseline's: ``3D_positions`` [96, N] mm."""
    for (subject, sequence), values in poses.items():
        path = folder / subject / "MyPoses" / "3D_positions" / f"{sequence}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["3D_positions"] = values.reshape(len(values), 96).T
    return folder


def write_npz(path: Path, poses: Poses) -> Path:
    """``data_3d_h36m.npz``: metres in single precision, without S11's Directions."""
    held: dict[str, dict[str, np.ndarray]] = {}
    for (subject, sequence), values in poses.items():
        if (subject, sequence) != ("S11", "Directions"):
            held.setdefault(subject, {})[sequence] = (values / 1000).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, positions_3d=held)
    return path


def invented_keypoints(poses: Poses) -> dict[tuple[str, str], list[np.ndarray]]:
    """Return [M, 17, 2] px by camera; the second has three frames more than there are poses, the third one more."""
    found = {}
    for (subject, sequence), values in poses.items():
        rng = np.random.default_rng(zlib.crc32(f"2D {subject}{sequence}".encode()))
        lengths = [len(values) + more for more in (0, 3, 1, 0)]
        found[subject, sequence] = [rng.uniform(0, 1000, (m, 17, 2)).astype(np.float32) for m in lengths]
    return found


KEYPOINTS = invented_keypoints(POSES)


def write_keypoints(
    path: Path, keypoints: Mapping[tuple[str, str], object], sides: object = None, layout: str = "h36m"
) -> Path:
    """``data_2d_h36m_cpn_ft_h36m_dbb.npz``, which also holds subjects without published poses."""
    held: dict[str, dict[str, object]] = {"S2": {"Directions": [None] * 4}}
    for (subject, sequence), views in keypoints.items():
        if (subject, sequence) != ("S11", "Directions"):
            held.setdefault(subject, {})[sequence] = views
    about = {"layout_name": layout, "num_joints": 17, "keypoints_symmetry": SIDES if sides is None else sides}
    np.savez_compressed(path, positions_2d=held, metadata=about)
    return path
