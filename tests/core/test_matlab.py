# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Numbers out of MATLAB files: both versions come back, and what is damaged, foreign or absurd is refused."""

import io
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from threed_files import mat5_element, mat5_file, mat5_matrix, read_in_little_memory, write_mat5, write_mat73

from diffpose_core.data.readers import matlab
from diffpose_core.data.readers.matlab import load_matlab

DOUBLE, CELL = 6, 1
CELLS = [np.arange(8.0).reshape(4, 2) + 100 * i for i in range(14)]
VARIABLES = {
    "annot3": CELLS,
    "frames": np.arange(5.0)[:, None],
    "univ": np.random.default_rng(0).normal(size=(3, 17, 1, 6)),
}


@pytest.mark.parametrize("version", ["5", "5 deflated", "7.3"])
def test_arrays_and_cells_come_back_in_matlabs_order(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    if version == "7.3":
        write_mat73(path, VARIABLES)
    else:
        write_mat5(path, VARIABLES, deflated=version.endswith("deflated"))
    cells = load_matlab(path, "annot3")
    assert isinstance(cells, list)
    np.testing.assert_array_equal(cells, CELLS)
    for name in ("frames", "univ"):
        np.testing.assert_array_equal(load_matlab(path, name), VARIABLES[name])
    with pytest.raises(ValueError, match=r"a\.mat: variable 'annot2' is missing; there are .*'frames'"):
        load_matlab(path, "annot2")
    with pytest.raises(FileNotFoundError, match="absent"):
        load_matlab(tmp_path / "absent.mat", "annot3")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    kind=st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]),
    deflated=st.booleans(),
    name=st.text("abcXYZ_0", min_size=1, max_size=12).map(lambda t: "v" + t),
    seed=st.integers(0, 9),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], kind: str, deflated: bool, name: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(kind)
    scipy.io.savemat(path, {"before": np.eye(3), name: array}, do_compression=deflated)
    np.testing.assert_array_equal(load_matlab(path, name), array)


def test_the_bytes_of_big_machines_and_of_compact_numbers(tmp_path: Path) -> None:
    """MATLAB stores doubles that are small whole numbers as such, and up to four bytes of them within the tag."""
    path = tmp_path / "a.mat"
    short = struct.pack("<HH4B", 2, 3, 7, 8, 9, 0)
    path.write_bytes(mat5_file(mat5_matrix(DOUBLE, (1, 3), "x", short)))
    np.testing.assert_array_equal(load_matlab(path, "x"), [[7, 8, 9]])

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    inner = element(6, struct.pack(">II", DOUBLE, 0)) + element(5, struct.pack(">2i", 2, 1)) + element(1, b"x")
    head = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"
    path.write_bytes(head + element(14, inner + element(9, struct.pack(">2d", 1.5, -2.5))))
    np.testing.assert_array_equal(load_matlab(path, "x"), [[1.5], [-2.5]])


EYE = mat5_element(9, np.eye(3).tobytes())
WHOLE = mat5_file(mat5_matrix(DOUBLE, (3, 3), "x", EYE))
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a MATLAB file of version 5 or 7.3"),
    "text": (b"motion capture of a walk\n" * 20, "not a MATLAB file"),
    "version 4": (struct.pack("<5i", 0, 3, 3, 0, 2) + b"x\0" + np.eye(3).tobytes() + bytes(200), "not a MATLAB file"),
    "another version": (WHOLE[:124] + b"\x00\x03" + WHOLE[126:], "not a MATLAB file"),
    "cut": (WHOLE[:-20], "the file holds 108; is it whole"),
    "cut in a tag": (WHOLE[:128] + b"\0\0\0", "cannot be read"),
    "announces 4 GB": (WHOLE[:132] + b"\xff\xff\xff\xff" + WHOLE[136:], "announces 4,294,967,295 bytes"),
    "announces too many numbers": (
        mat5_file(mat5_matrix(DOUBLE, (10**9, 84), "x", EYE)), r"x announces (1000000000, 84) numbers, there are 72",
    ),
    "announces too few": (mat5_file(mat5_matrix(DOUBLE, (3, 2), "x", EYE)), "announces (3, 2) numbers"),
    "negative": (mat5_file(mat5_matrix(DOUBLE, (-3, -3), "x", EYE)), "dimensions (-3, -3)"),
    "announces 10**9 cells": (mat5_file(mat5_matrix(CELL, (10**9, 1), "x", b"")), "announces 1,000,000,000 cells"),
    "too few cells": (mat5_file(mat5_matrix(CELL, (14, 1), "x", mat5_matrix(DOUBLE, (3, 3), "", EYE))), "cell 1 is"),
    "a cell within a cell": (
        mat5_file(mat5_matrix(CELL, (1, 1), "x", mat5_matrix(CELL, (1, 1), "", mat5_matrix(DOUBLE, (3, 3), "", EYE)))),
        "x{1} is a cell within a cell",
    ),
    "a structure": (mat5_file(mat5_matrix(2, (1, 1), "x", b"")), "x is a structure; only real numbers"),
    "an object": (mat5_file(mat5_matrix(3, (1, 1), "x", b"")), "x is an object"),
    "a function": (mat5_file(mat5_matrix(16, (1, 1), "x", b"")), "x is a function"),
    "an opaque object": (mat5_file(mat5_matrix(17, (1, 1), "x", b"")), "x is an object"),
    "text in a variable": (mat5_file(mat5_matrix(4, (1, 3), "x", mat5_element(16, b"abc"))), "x is text"),
    "sparse": (mat5_file(mat5_matrix(5, (3, 3), "x", EYE)), "x is a sparse matrix"),
    "complex": (mat5_file(mat5_matrix(DOUBLE, (3, 3), "x", EYE + EYE, flags=0x0800)), "x is complex"),
    "stored as text": (mat5_file(mat5_matrix(DOUBLE, (1, 3), "x", mat5_element(16, b"abc"))), "stored as type 16"),
    "a name of a megabyte": (mat5_file(mat5_matrix(DOUBLE, (3, 3), "x" * 10**6, EYE)), "at most 256"),
    "more than announced": (
        mat5_file(WHOLE[128:] + bytes(10**7), deflated=True), "holds more than an element announces",
    ),
    "another checksum": (
        (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]))(mat5_file(WHOLE[128:], deflated=True)), "cannot be read",
    ),
    "damaged in the middle": (
        (lambda whole: whole[:150] + b"\xff" * 9 + whole[159:])(mat5_file(WHOLE[128:], deflated=True)), "cannot be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_numbers_is_refused(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    path = tmp_path / "bad.mat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.mat: ") as refused:
        load_matlab(path, "x")
    assert words in str(refused.value)


def bomb(name: str, megabytes: int) -> bytes:
    """A matrix of zeros that is deflated to a thousandth, as long as the head says."""
    content = mat5_matrix(DOUBLE, (megabytes << 17, 1), name, struct.pack("<II", 9, megabytes << 20))
    head = struct.pack("<II", 14, len(content) - 8 + (megabytes << 20)) + content[8:]
    packer = zlib.compressobj()
    data = packer.compress(head) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    return struct.pack("<II", 15, len(data)) + data


@pytest.mark.parametrize(
    ("elements", "outcome", "most_mb"),
    [
        ([bomb("x", 1500)], "at most 536,870,912 are read", 50),
        ([bomb("other", 1500), WHOLE[128:]], "read", 50),
        ([bomb("x", 100)], "read", 250),
    ],
)
def test_a_bomb_is_not_inflated(elements: list[bytes], outcome: str, most_mb: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.mat"
    path.write_bytes(mat5_file(*elements))
    found, megabytes = read_in_little_memory("matlab", "load_matlab", f"{str(path)!r}, 'x'")
    assert outcome in found
    assert megabytes < most_mb


def hdf5(path: Path, name: str) -> None:
    """Write one of the files that are not what they seem."""
    with h5py.File(path, "w", userblock_size=512) as file:
        if name == "nothing stored":
            file.create_dataset("x", (10**6, 84), "f4")
        elif name == "no chunk stored":
            file.create_dataset("x", (10**6, 84), "f4", chunks=(1000, 84))
        elif name == "huge":
            file.create_dataset("x", (10**9, 84), "f8", chunks=(1000, 84))
        elif name == "huge chunk":
            file.create_dataset("x", (1,), "f8", chunks=(1 << 28,), maxshape=(None,))
        elif name == "many references":
            file.create_dataset("x", (1, 10**6), h5py.ref_dtype, fillvalue=None)[0, 0] = file.ref
        elif name == "soft link":
            file["x"] = h5py.SoftLink("/y")
        elif name == "link to another file":
            file["x"] = h5py.ExternalLink("/etc/passwd", "/y")
        elif name == "numbers in another file":
            file.create_dataset("x", (3,), "f8", external=[("/etc/passwd", 0, 24)])
        elif name == "virtual":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource("elsewhere.h5", "y", (3,))
            file.create_virtual_dataset("x", layout)
        elif name == "structure":
            file.create_group("x")["a"] = 1.0
        elif name == "cell of a structure":
            file.create_dataset("x", (1, 1), h5py.ref_dtype)[0, 0] = file.create_group("g").ref
        elif name == "null reference":
            file.create_dataset("x", (1, 2), h5py.ref_dtype)[0, 0] = file.ref
        elif name == "text":
            file["x"] = "walk"
        elif name == "empty":
            file.create_dataset("x", data=np.zeros(2, np.uint64)).attrs["MATLAB_empty"] = 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing stored", "x announces 336,000,000 bytes, the file holds 0"),
        ("no chunk stored", "the file holds 0"),
        ("huge", "x announces 672,000,000,000 bytes; at most 536,870,912 are read"),
        ("huge chunk", "x announces 2,147,483,648 bytes"),
        ("many references", "x announces 1,000,000 cells"),
        ("soft link", "variable 'x' is missing"),
        ("link to another file", "variable 'x' is missing"),
        ("numbers in another file", "x lies in another file"),
        ("virtual", "x lies in another file"),
        ("structure", "x is a structure, an object or empty"),
        ("cell of a structure", "x{1} is a structure, an object or empty"),
        ("null reference", "bad.mat"),
        ("text", "bad.mat"),
        ("empty", "x is empty"),
    ],
)
def test_hdf5_that_is_not_numbers_is_refused(name: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.mat"
    hdf5(path, name)
    with pytest.raises(ValueError, match=r"bad\.mat: ") as refused:
        load_matlab(path, "x")
    assert words in str(refused.value)


def test_many_references_to_one_array_are_counted_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        one = file.create_dataset("y", data=np.zeros(1000))
        file.create_dataset("x", (1, 50), h5py.ref_dtype)[:] = np.full((1, 50), one.ref, dtype=h5py.ref_dtype)
    assert len(load_matlab(path, "x")) == 50
    monkeypatch.setattr(matlab, "LIMIT_BYTES", 100_000)
    with pytest.raises(ValueError, match="x announces 400,000 bytes; at most 100,000"):
        load_matlab(path, "x")


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=5))
def test_any_change_of_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, deflated: bool, changes: list[tuple[int, int]]
) -> None:
    whole = io.BytesIO()
    write_mat5(whole, {"y": np.eye(2), "x": CELLS[:3]}, deflated)  # type: ignore[arg-type]
    data = bytearray(whole.getvalue())
    for place, value in changes:
        data[116 + place % (len(data) - 116)] = value
    path = tmp_path_factory.mktemp("mutant") / "mutant.mat"
    path.write_bytes(data)
    try:
        load_matlab(path, "x")
    except ValueError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - some are read
