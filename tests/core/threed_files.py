# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Writers of MPI-INF-3DHP's and 3DPW's true file formats, for tests."""

import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io


def python2_pickle(value: Any, protocol: int = 2) -> bytes:
    """Pickle as Python 2.7 with numpy 1 does, by protocol 0 or 2: text is a byte string where latin-1 can say it."""
    writer = _Python2(protocol)
    writer.write(value)
    return (b"\x80\x02" if protocol == 2 else b"") + bytes(writer.out) + b"."


class _Python2:
    def __init__(self, protocol: int) -> None:
        self.binary, self.out, self.puts = protocol == 2, bytearray(), 0

    def put(self) -> None:
        place, self.puts = self.puts, self.puts + 1
        if not self.binary:
            self.out += b"p%d\n" % place
        else:
            self.out += b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def text(self, data: bytes) -> None:
        if not self.binary:
            quoted = repr(data)[1:].encode()  # Python 2's repr(str) is Python 3's repr(bytes) without the b
            self.out += b"S" + quoted + b"\n"
        elif len(data) < 256:
            self.out += b"U" + bytes([len(data)]) + data
        else:
            self.out += b"T" + struct.pack("<i", len(data)) + data
        self.put()

    def name(self, name: bytes) -> None:
        self.out += b"c" + name + b"\n"
        self.put()

    def tuple(self, values: Any) -> None:
        short = self.binary and len(values) <= 3
        self.out += b"" if short and values else b"("
        if short and not values:
            self.out[-1:] = b")"
            return
        for value in values:
            self.write(value) if not callable(value) else value()
        self.out += bytes([0x84 + len(values)]) if short else b"t"
        self.put()

    def dtype(self, kind: np.dtype) -> None:
        self.name(b"numpy\ndtype")
        self.tuple(("O8" if kind.hasobject else kind.str[1:], 0, 1))
        self.out += b"R"
        self.put()
        text = kind.kind in "SU"
        sizes = (kind.itemsize, kind.alignment, 8 if kind.kind == "U" else 0) if text else (-1, -1, 0)
        sizes = (-1, -1, 63) if kind.hasobject else sizes
        order = kind.byteorder if kind.byteorder in "|>" else "<"
        self.tuple((3, order, None, None, None, *sizes))
        self.out += b"b"

    def array(self, value: np.ndarray) -> None:
        self.name(b"numpy.core.multiarray\n_reconstruct")
        self.tuple((lambda: self.name(b"numpy\nndarray"), (0,), "b"))
        self.out += b"R"
        self.put()
        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        flat = value.ravel(order="F" if fortran else "C")
        data = flat.tolist() if value.dtype.hasobject else flat.tobytes()
        self.tuple((1, value.shape, lambda: self.dtype(value.dtype), fortran, data))
        self.out += b"b"

    def write(self, value: Any) -> None:
        if isinstance(value, np.ndarray):
            self.array(value)
        elif isinstance(value, np.generic):
            self.name(b"numpy.core.multiarray\nscalar")
            array = np.asarray(value)
            self.tuple((lambda: self.dtype(array.dtype), array.tobytes()))
            self.out += b"R"
            self.put()
        elif value is None:
            self.out += b"N"
        elif isinstance(value, bool):
            self.out += (b"\x88" if value else b"\x89") if self.binary else b"I%02d\n" % value
        elif isinstance(value, int):
            self.integer(value)
        elif isinstance(value, float):
            self.out += b"G" + struct.pack(">d", value) if self.binary else b"F%r\n" % value
        elif isinstance(value, bytes):
            self.text(value)
        elif isinstance(value, str):
            self.text(value.encode("latin-1"))
        elif isinstance(value, tuple):
            self.tuple(value)
        elif isinstance(value, list):
            self.out += b"]" if self.binary else b"(l"
            self.put()
            for item in value:
                self.write(item)
                self.out += b"a"
        else:
            self.out += b"}" if self.binary else b"(d"
            self.put()
            for key, item in value.items():
                self.write(key)
                self.write(item)
                self.out += b"s"

    def integer(self, value: int) -> None:
        if not self.binary:
            self.out += b"I%d\n" % value if abs(value) < 2**31 else b"L%dL\n" % value
        elif 0 <= value < 256:
            self.out += b"K" + bytes([value])
        elif 0 <= value < 65536:
            self.out += b"M" + struct.pack("<H", value)
        elif -(2**31) <= value < 2**31:
            self.out += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.out += b"\x8a" + bytes([len(data)]) + data


LITTLE = """
import resource, sys
from pathlib import Path
from diffpose_core.data.readers.{module} import {function} as read
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read({arguments})
    print("read")
except ValueError as error:
    print("refused:", error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 1024)
"""


def read_in_little_memory(module: str, function: str, arguments: str, data: bytes = b"") -> tuple[str, int]:
    """Read in a process of its own, which may take 4 GB: what came of it, and how many MB it took."""
    code = LITTLE.format(module=module, function=function, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    outcome, taken = done.stdout.decode().splitlines()
    return outcome, int(taken)


def mat5_element(kind: int, data: bytes) -> bytes:
    """An element of a MATLAB 5 file, whatever its data."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat5_matrix(kind: int, shape: tuple[int, ...], name: str, content: bytes, flags: int = 0) -> bytes:
    """A matrix of a class, e.g. 1 for cells and 6 for doubles, whatever its content."""
    head = mat5_element(6, struct.pack("<II", kind | flags, 0))
    head += mat5_element(5, struct.pack(f"<{len(shape)}i", *shape)) + mat5_element(1, name.encode())
    return mat5_element(14, head + content)


def mat5_file(*elements: bytes, deflated: bool = False) -> bytes:
    """A MATLAB 5 file of elements."""
    head = b"MATLAB 5.0 MAT-file, made by a test".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    if deflated:
        packed = [zlib.compress(e) for e in elements]
        return head + b"".join(struct.pack("<II", 15, len(p)) + p for p in packed)
    return head + b"".join(elements)


def write_mat73(path: Path, variables: Mapping[str, np.ndarray | list[np.ndarray]]) -> None:
    """A MATLAB 7.3 file: HDF5 behind a header of 512 bytes, dimensions reversed, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, np.ndarray):
                made = file.create_dataset(name, data=value.T, compression="gzip")
                made.attrs["MATLAB_class"] = np.bytes_("double")
                continue
            cells = [file.create_dataset(f"#refs#/{name}{i}", data=cell.T) for i, cell in enumerate(value)]
            made = file.create_dataset(name, (1, len(cells)), h5py.ref_dtype)
            made.attrs["MATLAB_class"] = np.bytes_("cell")
            for i, cell in enumerate(cells):
                made[0, i] = cell.ref
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, made by a test".ljust(124) + b"\x00\x02IM")


def write_mat5(path: Path, variables: Mapping[str, np.ndarray | list[np.ndarray]], deflated: bool = True) -> None:
    """A MATLAB 5 file by scipy."""
    made = {}
    for name, value in variables.items():
        made[name] = value
        if isinstance(value, list):
            made[name] = np.empty((len(value), 1), dtype=object)
            made[name][:, 0] = value
    scipy.io.savemat(path, made, do_compression=deflated)


def y_up(points: np.ndarray) -> np.ndarray:
    """Points [..., 3] of a z-up world in the y-up one of MPI-INF-3DHP and 3DPW."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def people(frames: int, joints: int = 17, seed: int = 0) -> np.ndarray:
    """Upright heaps of joints [N, J, 3] about the origin of a z-up world, metres, different in every frame."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(frames, joints, 3)) * [0.3, 0.3, 0.4] + [0.2, -0.1, 1.0]


@dataclass(frozen=True)
class FileCamera:
    """A camera in a y-up world, as the files describe it: focal lengths and centre px, rotation, translation m."""

    focal: tuple[float, float]
    centre: tuple[float, float]
    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def around(cls, degrees: float, size: tuple[int, int] = (2048, 2048), distance: float = 4.0) -> "FileCamera":
        """One that looks at the origin from somewhat above it."""
        angle = np.radians(degrees)
        forward = -np.array([np.cos(angle), 0.1, np.sin(angle)])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        centre = rotation @ (forward * distance - [0, 1.0, 0])
        return cls((1497.693, 1497.103), (size[0] / 2 + 0.7, size[1] / 2 - 3.4), rotation, centre)

    def see(self, world: np.ndarray) -> np.ndarray:
        """Points [..., 3] of a z-up world in the optical frame, metres."""
        return y_up(world) @ self.rotation.T + self.translation

    def project(self, world: np.ndarray) -> np.ndarray:
        seen = self.see(world)
        return seen[..., :2] / seen[..., 2:] * self.focal + self.centre


OF_28 = (4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
"""Where MPI-INF-3DHP's training annotations have the joints of H36M17 (SPIN, datasets/preprocess/mpi_inf_3dhp.py)."""
OF_17 = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
"""The same of its test annotations (cpm2h36m of platypose)."""
UNIVERSAL = 1.07


def calibration_text(cameras: Mapping[int, FileCamera], **other: str) -> str:
    """``camera.calibration``, millimetres."""
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number, camera in cameras.items():
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = camera.rotation, camera.translation * 1000
        (fx, fy), (cx, cy) = camera.focal, camera.centre
        rows = {
            "name          ": f"{number}", "  sensor      ": "10 10", "  size        ": "2048 2048",
            "  animated    ": "0", "  intrinsic   ": f"{fx} 0 {cx} 0 0 {fy} {cy} 0 0 0 1 0 0 0 0 1 ",
            "  extrinsic   ": " ".join(f"{v:.7g}" for v in matrix.ravel()) + " ", "  radial      ": "0",
        }  # fmt: skip
        lines += [key + other.get(key.strip(), value) for key, value in rows.items()]
    return "\n".join(lines) + "\n"


def write_3dhp_sequence(
    root: Path, who: str, sequence: int, world: np.ndarray, version: str = "5", cameras: int = 14
) -> dict[int, FileCamera]:
    """A training sequence of joints [N, 17, 3] in a z-up world, metres."""
    folder = root / who / f"Seq{sequence}"
    folder.mkdir(parents=True)
    placed = {n: FileCamera.around(25 * n) for n in range(cameras)}
    (folder / "camera.calibration").write_text(calibration_text(placed))
    all_joints = people(len(world), 28, seed=9)
    all_joints[:, OF_28] = world
    seen = [camera.see(all_joints).reshape(len(world), 84) * 1000 for camera in placed.values()]
    variables: dict[str, np.ndarray | list[np.ndarray]] = {
        "annot2": [camera.project(all_joints).reshape(len(world), 56) for camera in placed.values()],
        "annot3": seen,
        "univ_annot3": [s * UNIVERSAL for s in seen],
        "cameras": np.arange(cameras)[None],
        "frames": np.arange(len(world))[:, None],
    }
    (write_mat73 if version == "7.3" else write_mat5)(folder / "annot.mat", variables)
    return placed


TEST_CALIBRATION = """tc camera calibration v0.3
camera 0 {name}
frame 0
  sensorSize      {sensor}       # mm
  focalLength     {focal}     # mm
  pixelAspect     {aspect}     # y / x
  centerOffset    {offset}     # mm (positive values move right and down)
  distortionModel OpenCV
  distortion      {distortion}
  origin          {origin}
  up              {up}
  right           {right}
  colorCorrection
    red           1 0 0
"""
TEST_CAMERAS = {
    "ts1-4cameras.calib": {
        "name": "8", "sensor": "10 10", "focal": "7.32506", "aspect": "1.00044", "offset": "-0.0322884 0.0929296",
        "distortion": "0.0 0.0 0.0 0.0 0.0", "origin": "3427.28 1387.86 309.42", "up": "-0.208215 0.976233 0.06014",
        "right": "0.000575281 0.0616098 -0.9981",
    },
    "ts5-6cameras.calib": {
        "name": "1", "sensor": "10.000000000 5.625000000", "focal": "8.770747185", "aspect": "0.993236423",
        "offset": "-0.104908645 0.104899704",
        "distortion": "-0.276859611 0.131125256 -0.000360494 -0.001149441 -0.049318332",
        "origin": "-2104.3074 1038.6707 -4596.6367", "up": "0.025272345 0.995038509 0.096227370",
        "right": "-0.939647257 -0.009210289 0.342020929",
    },
}  # fmt: skip


def camera_of_test(who: str) -> FileCamera:
    """The test set's camera by its published numbers; in pixels, fy and the centre are mmpose's fits within a pixel."""
    name = "ts1-4cameras.calib" if who <= "TS4" else "ts5-6cameras.calib"
    up, right, origin = (np.array(TEST_CAMERAS[name][k].split(), float) for k in ("up", "right", "origin"))
    rotation = np.stack([right, -up, np.cross(up, right)])
    pixels = (
        ((1500.172, 1500.832), (1017.3873, 1043.032)) if who <= "TS4" else ((1683.983, 1672.594), (939.8575, 560.1407))
    )
    return FileCamera(*pixels, rotation, -rotation @ origin / 1000)


def write_3dhp_test(
    root: Path,
    who: str,
    world: np.ndarray,
    valid: np.ndarray,
    activity: np.ndarray,
    version: str = "7.3",
    calibration: bool = True,
) -> FileCamera:  # fmt: skip
    """A test sequence of joints [N, 17, 3] in a z-up world, metres."""
    folder = root / "mpi_inf_3dhp_test_set"
    (folder / who).mkdir(parents=True)
    if calibration:
        (folder / "test_util" / "camera_calibration").mkdir(parents=True, exist_ok=True)
        for name, values in TEST_CAMERAS.items():
            (folder / "test_util" / "camera_calibration" / name).write_text(TEST_CALIBRATION.format(**values))
    camera, all_joints = camera_of_test(who), np.empty_like(world)
    all_joints[:, OF_17] = world
    seen = camera.see(all_joints) * 1000
    variables = {
        "annot2": camera.project(all_joints).transpose(2, 1, 0)[:, :, None],
        "annot3": seen.transpose(2, 1, 0)[:, :, None],
        "univ_annot3": UNIVERSAL * seen.transpose(2, 1, 0)[:, :, None],
        "valid_frame": valid[None].astype(float),
        "activity_annotation": activity[None].astype(float),
    }
    (write_mat73 if version == "7.3" else write_mat5)(folder / who / "annot_data.mat", variables)
    return camera


def threedpw_sequence(
    name: str, people_24: list[np.ndarray], cameras: list[FileCamera], valid: list[np.ndarray], **other: Any
) -> dict[str, Any]:
    """What a sequence of 3DPW holds: every person's SMPL joints [N, 24, 3] in a z-up world, seen by N cameras."""
    frames, persons = len(cameras), range(len(people_24))
    matrix = np.eye(3)
    matrix[0, 0], matrix[1, 1] = cameras[0].focal
    matrix[:2, 2] = cameras[0].centre
    poses = np.zeros((frames, 4, 4))
    poses[:, :3, :3], poses[:, :3, 3] = [c.rotation for c in cameras], [c.translation for c in cameras]
    poses[:, 3, 3] = 1
    return {
        "sequence": name,
        "betas": [np.zeros(10) for _ in persons],
        "poses": [np.zeros((frames, 72)) for _ in persons],
        "trans": [np.zeros((frames, 3)) for _ in persons],
        "poses_60Hz": [np.zeros((2 * frames, 72)) for _ in persons],
        "trans_60Hz": [np.zeros((2 * frames, 3)) for _ in persons],
        "betas_clothed": [np.zeros(10) for _ in persons],
        "v_template_clothed": [np.zeros((6890, 3)) for _ in persons],
        "genders": ["m", "f"][: len(people_24)],
        "texture_maps": [],
        "poses2d": [np.tile(np.array([[100], [200], [0]]) + np.arange(18.0), (frames, 1, 1)) for _ in persons],
        "jointPositions": [y_up(joints).reshape(frames, 72) for joints in people_24],
        "img_frame_ids": np.arange(0, 2 * frames, 2, dtype=np.uint16),
        "cam_poses": poses,
        "campose_valid": [v.astype(np.uint8) for v in valid],
        "cam_intrinsics": matrix,
    } | other


def write_3dpw(root: Path, split: str, sequence: dict[str, Any], protocol: int = 2) -> Path:
    """A file of 3DPW as Python 2 pickled it."""
    path = root / "sequenceFiles" / split / f"{sequence['sequence']}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(python2_pickle(sequence, protocol))
    return path


LEFT_LEG_FIRST = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
"""Rows of SPIN's J_regressor_h36m.npy in the order of H36M17 (H36M_TO_J17 of its constants.py)."""


def write_smpl(folder: Path, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Body models of stiff people, man and woman, and a regressor; their 17 joints [17, 3] at rest, y up, by gender.

    All of the body hangs on the root, at the origin; the first shape coefficient and the tenth make it taller, one
    metre for one, as would any later one.
    """
    rng, rest = np.random.default_rng(seed), {}
    folder.mkdir(parents=True, exist_ok=True)
    left = np.array([0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]) - np.array([0, 1, 1, 1] + [0] * 10 + [1] * 3)
    for gender in ("MALE", "FEMALE"):
        joints = rng.normal(size=(17, 3)) * 0.3 * [0, 1, 1] + left[:, None] * [0.2, 0, 0]
        template = rng.normal(size=(6890, 3))
        template[:17], template[100:124] = joints, 0
        weights = np.zeros((6890, 24))
        weights[:, 0] = 1
        joint_rows = np.zeros((24, 6890))
        joint_rows[range(24), range(100, 124)] = 1
        taller = np.zeros((6890, 3, 12))
        taller[:17, 1, [0, 9, 10, 11]] = 1
        np.savez(
            folder / f"SMPL_{gender}.npz", v_template=template, shapedirs=taller, posedirs=np.zeros((6890, 3, 207)),
            J_regressor=joint_rows, weights=weights,
            kintree_table=np.array([[2**32 - 1, *[0] * 23], [*range(24)]], dtype=np.uint32),
        )  # fmt: skip
        rest[gender] = joints
    rows = np.zeros((17, 6890))
    rows[LEFT_LEG_FIRST, range(17)] = 1
    np.save(folder / "J_regressor_h36m.npy", rows)
    return rest, rows
