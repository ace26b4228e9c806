# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Arrays out of ``.npz`` and ``.npy``: what is wrong with a header or a member is a ``ValueError``."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bounded import refusal_within
from mocap_files import body

from diffpose_core.data.readers.arrays import load_arrays, load_object
from diffpose_core.data.readers.smpl import BodyModel, load_h36m_regressor


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


HEADERS = {
    "cut": b"{'descr': '<f8', 'fortran_order': ",
    "a list as a key": b"{[]: 1}",
    "minus signs": b"-" * 9000 + b"1",
    "brackets": b"(" * 9000,
    "indented": b"{}\n  1\n 2\n",
    "no literal": b"__import__('os')",
    "no text": b"\xff\x00",
    "no dictionary": b"3",
    "another type": b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,)}",
    "a type of a list": b"{'descr': [[[]]], 'fortran_order': False, 'shape': (3,)}",
    "a shape of text": b"{'descr': '<f8', 'fortran_order': False, 'shape': ('a',)}",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BodyModel:
    return BodyModel.load(body("smpl", shapes=10).write(tmp_path_factory.mktemp("smpl") / "SMPL_MALE.npz"))


@pytest.mark.parametrize("name", HEADERS)
def test_damaged_headers_are_refused_by_every_reader(name: str, tmp_path: Path, model: BodyModel) -> None:
    (tmp_path / "bad.npy").write_bytes(npy(HEADERS[name]))
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.write(tmp_path / "bad.npy", "x.npy")
    with pytest.raises(ValueError, match=r"bad\.npy is not a plain \.npy: ."):
        load_h36m_regressor(tmp_path / "bad.npy", model)
    for read in (lambda: load_arrays(tmp_path / "bad.npz", ["x"]), lambda: load_object(tmp_path / "bad.npz", "x")):
        with pytest.raises(ValueError, match=r"bad\.npz: ."):
            read()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_members_that_numpy_does_not_write_are_refused(method: int, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.save(tmp_path / "x.npy", np.eye(3))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(ValueError, match=r"bad\.npz: key 'x' is compressed in another way than numpy does"):
        load_arrays(path, ["x"])


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, x=np.eye(3))
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"PK\1\2") + 8] |= 1
    whole[6] |= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"bad\.npz: .*encrypted"):
        load_arrays(path, ["x"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("compressed", [None, 2**32 - 10])
def test_what_header_and_directory_announce_takes_no_memory(
    tmp_path: Path, method: int, compressed: int | None
) -> None:
    """A file of some 200 bytes whose every size says 4 GiB."""
    path, size = tmp_path / "bad.npz", 2**32 - 10
    with zipfile.ZipFile(path, "w", method) as archive:
        header = f"{{'descr': '<u1', 'fortran_order': False, 'shape': ({size - 128},)}}".encode().ljust(117) + b"\n"
        archive.writestr("x.npy", npy(header))
    whole = bytearray(path.read_bytes())
    directory = whole.index(b"PK\1\2")
    whole[directory + 24 : directory + 28] = struct.pack("<I", size)
    if compressed is not None:
        whole[directory + 20 : directory + 24] = struct.pack("<I", compressed)
    path.write_bytes(whole)
    imports = "from diffpose_core.data.readers.arrays import load_arrays"
    said = refusal_within(64, imports, f"load_arrays({str(path)!r}, ['x'])")
    assert "bad.npz: key 'x' announces 4,294,967,286 bytes, the file holds" in said
