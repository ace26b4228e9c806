# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""CDF files of every supported form, written by cdflib or by hand and read back; cdflib is the reference."""

import struct
import zlib
from pathlib import Path

import cdflib
import numpy as np
import pytest
from bounded import refusal_within

from diffpose_core.data.readers.cdf import read_cdf

POSE = np.random.default_rng(0).normal(scale=1e3, size=(1, 40, 96))


def write(path: Path, values: np.ndarray = POSE, spec: dict[str, object] | None = None, **about: object) -> Path:
    """Write records of ``Pose``, behind another variable, as Human3.6M's files hold them."""
    if (spec or {}).get("Majority") == "column_major":  # cdflib writes the bytes as they are
        values = np.ascontiguousarray(values.swapaxes(1, -1)).reshape(values.shape)
    with_dimensions = {"Dim_Sizes": list(values.shape[1:])}
    if about.get("Var_Type") == "rVariable":
        with_dimensions = {"Dim_Vary": [True] * (values.ndim - 1)}
        spec = {**(spec or {}), "rDim_sizes": list(values.shape[1:])}
    kind = cdflib.cdfwrite.CDF.CDF_FLOAT if values.dtype == np.float32 else cdflib.cdfwrite.CDF.CDF_DOUBLE
    file = cdflib.cdfwrite.CDF(str(path), cdf_spec=spec or {})
    common = {"Num_Elements": 1, "Rec_Vary": True, "Compress": 0}
    other = {"Variable": "Other", "Data_Type": 4, "Dim_Sizes": []}
    file.write_var({**common, **other}, var_data=np.arange(3, dtype=np.int32))
    file.write_var({**common, "Variable": "Pose", "Data_Type": kind, **with_dimensions, **about}, var_data=values)
    file.close()
    return path


@pytest.mark.parametrize("majority", ["row_major", "column_major"])
@pytest.mark.parametrize("encoding", [1, 6])
@pytest.mark.parametrize("compressed", [0, 6])
@pytest.mark.parametrize("about", [{}, {"Compress": 6}, {"Var_Type": "rVariable"}, {"Block_Factor": 7}])
def test_every_form_is_read_as_cdflib_reads_it(
    tmp_path: Path, majority: str, encoding: int, compressed: int, about: dict[str, object]
) -> None:
    for values in (POSE, POSE.astype(np.float32), POSE[0]):
        path = write(
            tmp_path / f"{values.dtype}{values.ndim}.cdf", values,
            {"Majority": majority, "Encoding": encoding, "Compressed": compressed}, **about,
        )  # fmt: skip
        found = read_cdf(path, "Pose")
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(found, cdflib.CDF(path).varget("Pose"))


def old(values: np.ndarray, first: int = 0, room: int = 0) -> bytes:
    """Return a file of version 2.7, whose offsets have four bytes: descriptor, globals, variable, index, block.

    The index says that the block begins with record ``first`` and has room for more than are written.
    """

    def record(kind: int, layout: str, *fields: object) -> bytes:
        return struct.pack(">ii" + layout, 8 + struct.calcsize(">" + layout), kind, *fields)

    def parts(globals_at: int, variable: int, index: int, block: int) -> list[bytes]:
        shape = values.shape[1:]
        return [
            bytes.fromhex("cdf260020000ffff"),
            record(1, "iiiiiiiiii256s", globals_at, 2, 7, 1, 3, 0, 0, 0, 0, 0, b""),
            record(2, "i" * 13, 0, variable, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0),
            record(8, "i" * 14 + "64s" + "i" * (1 + 2 * len(shape)), 0, 45, len(values) - 1, index, index, 1,
                   0, 0, 0, 0, 1, 0, 0, 0, b"Pose", len(shape), *shape, *[-1] * len(shape)),
            record(6, "iiiiii", 0, 1, 1, first, len(values) - 1 + room, block),
            record(7, f"{values.nbytes}s", values.astype(">f8").tobytes()),
        ]  # fmt: skip

    starts = np.cumsum([len(p) for p in parts(0, 0, 0, 0)])[1:-1]
    return b"".join(parts(*map(int, starts)))


def test_offsets_of_four_bytes(tmp_path: Path) -> None:
    path = tmp_path / "old.cdf"
    path.write_bytes(old(POSE))
    np.testing.assert_array_equal(cdflib.CDF(path).varget("Pose"), POSE)
    np.testing.assert_array_equal(read_cdf(path, "Pose"), POSE)
    path.write_bytes(old(POSE, room=3))
    np.testing.assert_array_equal(read_cdf(path, "Pose"), POSE)
    path.write_bytes(old(POSE, first=1, room=1))
    with pytest.raises(ValueError, match="records 1 to 1 follow after 0 of 1"):
        read_cdf(path, "Pose")
    path.write_bytes(old(POSE))
    whole = path.read_bytes()[8:]
    packed = zlib.compressobj(wbits=31)
    body = packed.compress(whole) + packed.flush()
    header = struct.pack(">iiiii", 20 + len(body), 10, 28 + len(body), len(whole), 0)
    how = struct.pack(">iiiiii", 24, 11, 5, 0, 1, 6)
    path.write_bytes(bytes.fromhex("cdf26002cccc0001") + header + body + how)
    np.testing.assert_array_equal(read_cdf(path, "Pose"), POSE)


def changed(data: bytes, find: bytes, put: bytes, after: int = 0) -> bytes:
    at = data.index(find) + after
    return data[:at] + put + data[at + len(put) :]


def test_every_cut_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.cdf").read_bytes()
    path = tmp_path / "cut.cdf"
    for length in [*range(0, 1200, 7), len(whole) // 2]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut.cdf: not read as a CDF: "):
            read_cdf(path, "Pose")


def test_flipped_bytes_never_hang_or_crash(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.cdf", POSE[:, :2]).read_bytes()
    path, rng = tmp_path / "flipped.cdf", np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        data = bytearray(whole)
        for at in rng.integers(8, min(len(data), 2200), 3):
            data[at] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(data)
        try:
            assert read_cdf(path, "Pose").nbytes < 1e6
        except ValueError:
            refused += 1
    assert refused > 100


HUGE = {
    "records": lambda d: changed(d, b"Pose\0", struct.pack(">i", 10**9), 24 - 84),
    "frames": lambda d: changed(d, b"Pose\0", struct.pack(">i", 10**9), 260),
    "dimensions": lambda d: changed(d, b"Pose\0", struct.pack(">i", 2**31 - 1), 256),
    "circle": lambda d: changed(d, b"Other\0", struct.pack(">q", d.index(b"Other\0") - 84), 12 - 84),
}


@pytest.mark.parametrize("how", HUGE)
def test_what_is_only_announced_takes_no_memory(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "whole.cdf")
    path.write_bytes(HUGE[how](path.read_bytes()))
    imports = "from diffpose_core.data.readers.cdf import read_cdf"
    said = refusal_within(64, imports, f"read_cdf({str(path)!r}, 'Pose')")
    assert "whole.cdf: not read as a CDF: " in said


def indexed(*records: tuple[int, int, list[tuple[int, int, int]]]) -> bytes:
    """A file whose blocks are listed by other records: number of the next or -1, entries, and those that are used."""
    data = old(POSE)
    starts = [len(data) + 20 * i + 12 * sum(entries for _, entries, _ in records[:i]) for i in range(len(records))]
    for after, entries, used in records:
        columns = np.zeros((3, entries), dtype=">i4")
        columns[:, : len(used)] = np.array(used, dtype=">i4").reshape(-1, 3).T
        columns[2] = [starts[-at] if at < 0 else at for at in columns[2]]
        head = struct.pack(">5i", 20 + columns.nbytes, 6, starts[after] if after >= 0 else 0, entries, len(used))
        data += head + columns.tobytes()
    return changed(data, b"Pose\0", struct.pack(">i", starts[0]), -44)


BLOCK = (0, 0, old(POSE).rindex(struct.pack(">ii", 8 + POSE.nbytes, 7)))


def test_blocks_are_found_through_records_that_follow_or_lie_within_each_other(tmp_path: Path) -> None:
    path = tmp_path / "old.cdf"
    for records in ([(-1, 3, [BLOCK])], [(1, 2, []), (-1, 1, [BLOCK])], [(-1, 1, [(0, 0, -1)]), (-1, 1, [BLOCK])]):
        path.write_bytes(indexed(*records))
        np.testing.assert_array_equal(read_cdf(path, "Pose"), POSE)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([(0, 0, [])], "or leads in a circle"),
        ([(1, 3, []), (0, 0, [])], "or leads in a circle"),
        ([(-1, 2, [(0, 0, -1), (0, 0, -1)]), (0, 0, [])], "or leads in a circle"),
        ([(-1, 300_000, [BLOCK])], "its index has more than 262,144 entries"),
        ([(n + 1, 40_000, []) for n in range(10)] + [(-1, 1, [BLOCK])], "its index has more than 262,144 entries"),
        ([(-1, 2, [(0, 0, -1), BLOCK]), (-1, 0, [])], "names both blocks and further indices"),
        ([(-1, 0, [])], "1 records are announced, 0 are there"),
    ],
)
def test_indices_that_lead_nowhere_or_are_endless_are_refused(
    tmp_path: Path, records: list[tuple[int, int, list[tuple[int, int, int]]]], words: str
) -> None:
    (tmp_path / "old.cdf").write_bytes(indexed(*records))
    with pytest.raises(ValueError, match=words):
        read_cdf(tmp_path / "old.cdf", "Pose")


def test_a_compressed_file_holds_what_it_announces(tmp_path: Path) -> None:
    path = write(tmp_path / "packed.cdf", np.zeros((1, 100_000, 96)), Compress=9)
    whole = path.read_bytes()
    assert len(whole) < 3e5
    path.write_bytes(changed(whole, b"Pose\0", struct.pack(">i", 40), 260))
    said = refusal_within(64, "from diffpose_core.data.readers.cdf import read_cdf", f"read_cdf({str(path)!r}, 'Pose')")
    assert "30,720 bytes are announced, more are there" in said
    path.write_bytes(changed(whole, b"Pose\0", struct.pack(">i", 10**6), 260))
    with pytest.raises(ValueError, match="768,000,000 bytes: more than there can be"):
        read_cdf(path, "Pose")


def test_another_variable_and_another_format_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.cdf")
    with pytest.raises(ValueError, match="variable 'Poses' is missing; there are Other, Pose"):
        read_cdf(path, "Poses")
    with pytest.raises(ValueError, match="of type 4 or sparse"):
        read_cdf(path, "Other")
    with pytest.raises(FileNotFoundError, match="absent"):
        read_cdf(tmp_path / "absent.cdf", "Pose")
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(ValueError, match="does not begin as one of version"):
        read_cdf(path, "Pose")
