"""Writers of MPI-INF-3DHP's and 3DPW's true file formats, for tests."""

import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
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
