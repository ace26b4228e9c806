# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Arrays out of pickles: every layout comes back, and nothing else is built, called or allocated."""

import io
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threed_files import python2_pickle, read_in_little_memory

from diffpose_core.data.readers import pickles
from diffpose_core.data.readers.pickles import load_arrays_pickle, loads_arrays

KINDS = ("?", "i1", "<u2", ">i4", "<i8", "<f2", ">f4", "<f8", "<c16", "S5", "<U3", ">U2")


def sample(kind: str, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    """Numbers that differ, in any type."""
    numbers = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape) % 100 - (50 if "u" not in kind else 0)
    return np.array(numbers.astype(kind), order=order)


def same(found: object, given_: np.ndarray) -> None:
    assert type(found) is np.ndarray
    assert found.dtype == given_.dtype.newbyteorder("=")  # numpy turns the bytes
    if given_.flags.forc:
        assert found.flags.f_contiguous == given_.flags.f_contiguous
    np.testing.assert_array_equal(found, given_)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_type_come_back(kind: str, protocol: int) -> None:
    for given_ in (
        sample(kind, (3, 4)),
        sample(kind, (3, 4), "F"),
        sample(kind, (2, 3, 2)).transpose(2, 0, 1),
        sample(kind, (4,))[::2],
        sample(kind, (0, 3)),
        sample(kind, ()),
    ):
        same(loads_arrays(pickle.dumps(given_, protocol), "a.pkl"), given_)
        same(loads_arrays(python2_pickle(given_, min(protocol, 2)), "a.pkl"), given_)


@pytest.mark.parametrize("protocol", range(5))
def test_dictionaries_in_arrays_numbers_and_text_come_back(protocol: int) -> None:
    given_ = {
        "sequence": "downtown_bär",
        "poses": [np.eye(3), np.zeros((2, 72), dtype=np.float32)],
        "genders": ("m", "f"),
        "numbers": [1, -(2**40), 2.5, True, None, np.float64(0.25), np.int32(-7), np.bool_(True), np.str_("né")],
        "inside": np.array({"cam": np.arange(3)}, dtype=object),
        "ragged": np.array([np.arange(2), "x", None, (1, 2)], dtype=object),
        5: {},
    }
    assert given_["numbers"] == loads_arrays(pickle.dumps(given_["numbers"], protocol), "a")
    for data in (pickle.dumps(given_, protocol), python2_pickle(given_, min(protocol, 2))):
        found = loads_arrays(data, "a.pkl")
        assert list(found) == list(given_)
        assert found["sequence"] == "downtown_bär"
        assert found["numbers"] == given_["numbers"]
        assert [type(n) for n in found["numbers"][5:]] == [np.float64, np.int32, np.bool_, np.str_]
        same(found["poses"][1], given_["poses"][1])
        assert found["inside"].shape == ()
        np.testing.assert_array_equal(found["inside"][()]["cam"], [0, 1, 2])
        assert found["ragged"][1:].tolist() == ["x", None, (1, 2)]


def test_one_array_in_two_places_is_one_array() -> None:
    array = np.arange(3)
    first, second = loads_arrays(pickle.dumps([array, array], 2), "a")
    assert first is second


def test_text_of_python_2_is_text() -> None:
    """What Python 2.7 writes for ``{'a\\xe9': ['f', u'\\u00e9'], 'n': 3L}``, protocols 0 and 2."""
    for data in (
        b"(dp0\nS'a\\xe9'\np1\n(lp2\nS'f'\np3\naV\xe9\np4\nasS'n'\np5\nL3L\ns.",
        b"\x80\x02}q\x00(U\x02a\xe9q\x01]q\x02(U\x01fq\x03X\x02\x00\x00\x00\xc3\xa9q\x04eU\x01nq\x05\x8a\x01\x03u.",
    ):
        assert loads_arrays(data, "a") == {"aé": ["f", "é"], "n": 3}


class Touch:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def array_pickle(kind: bytes, shape: bytes, data: bytes, type_state: bytes = b"") -> bytes:
    """An array of protocol 2 whose parts are operations of one's choice."""
    begin = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return begin + b"(K\x01" + shape + b"cnumpy\ndtype\n" + kind + b"R" + type_state + b"\x89" + data + b"tb."


def text(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def kind(code: bytes) -> bytes:
    return text(code) + b"K\x00K\x01\x87"


def number(value: int) -> bytes:
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + raw


F8 = kind(b"f8")
EMPTY_STATE = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
HUGE = number(10**9)
NUMPY = b"\x80\x02cnumpy.core.multiarray\n"
TYPE = b"\x80\x02cnumpy\ndtype\n" + F8 + b"R"

HOSTILE: dict[str, tuple[bytes, str]] = {
    "100,000 dimensions": (
        array_pickle(F8, b"(" + HUGE + b"2" * 99_999 + b"t", text(b"")), "the shape of an array has 100,000 dimensions",
    ),
    "numbers of a million digits as a shape": (
        array_pickle(F8, b"\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6 + b"2" * 31 + b"t", text(b""))
        .replace(b"(K\x01\x8b", b"(K\x01(\x8b"), "not made of whole numbers",
    ),
    "one text as many arrays": (
        b"\x80\x02" + text(bytes(800)) + b"q\x000(" + array_pickle(F8, b"K\x64\x85", b"h\x00")[2:-1] * 50 + b"l.",
        "its arrays hold more than the file does",
    ),
    "one text encoded many times": (
        b"\x80\x02" + text(b"a" * 800) + b"q\x00(" + b"c_codecs\nencode\nh\x00U\x06latin1\x86R" * 50 + b"l.",
        "its arrays hold more than the file does",
    ),
    "one list as many arrays": (
        b"\x80\x02](" + b"N" * 9000 + b"eq\x000("
        + array_pickle(kind(b"O8"), b"M\x28\x23\x85", b"h\x00")[2:-1] * 150 + b"l.",
        "its arrays hold more than the file does",
    ),
    "instance": (b"(cnumpy\ndtype\nS'f8'\no.", "operation b'o'"),
    "class by name": (b"(S'true'\nios\nsystem\n.", "operation b'i'"),
    "new object": (b"\x80\x02cnumpy\nndarray\n)\x81.", "operation"),
    "extension": (b"\x80\x02\x82\x01.", "operation b'\\x82'"),
    "extension of four bytes": (b"\x80\x02\x84\x01\x00\x00\x00.", "operation"),
    "persistent": (b"Pelsewhere\n.", "operation b'P'"),
    "next buffer": (b"\x80\x05\x97.", "operation"),
    "byte array of a terabyte": (b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b".", "operation"),
    "array made by its class": (b"\x80\x02cnumpy\nndarray\n(" + HUGE + b"t\x85R.", "calls what is no function"),
    "array begun large": (NUMPY + b"_reconstruct\ncnumpy\nndarray\n(" + HUGE + b"tU\x01b\x87R.", "begins with a shape"),
    "array announced large": (array_pickle(F8, HUGE + b"\x85", text(b"1234")), "announces 8000000000, there are 4"),
    "objects announced many": (array_pickle(kind(b"O8"), HUGE + b"\x85", b"]"), "announces 1000000000, there are 0"),
    "array of negative size": (array_pickle(F8, number(-1) + b"\x85", text(b"")), "not made of whole numbers"),
    "array of half a row": (array_pickle(F8, b"G" + struct.pack(">d", 1.5) + b"\x85", text(b"")), "whole numbers"),
    "array of a list": (array_pickle(F8, b"K\x01\x85", b"]K\x01a"), "list stands where bytes must"),
    "type of a gigabyte": (array_pickle(kind(b"V1000000000"), b"K\x00\x85", text(b"")), "type 'V1000000000'"),
    "type within a type": (array_pickle(kind(b"(1000000000,)f8"), b"K\x01\x85", text(b"")), "is of type"),
    "type of fields": (array_pickle(kind(b"f8,f8"), b"K\x01\x85", text(b"")), "is of type 'f8,f8'"),
    "type of a list": (array_pickle(b"]K\x00K\x01\x87", b"K\x01\x85", text(b"")), "is of type list"),
    "type with a new size": (
        array_pickle(kind(b"S5"), b"K\x01\x85", text(b"12345"), b"(K\x03U\x01|NNN" + HUGE + b"K\x01K\x00tb"),
        "with int bytes a number",
    ),
    "type with fields in its state": (
        array_pickle(F8, b"K\x01\x85", text(b"12345678"), b"(K\x03U\x01<NU\x01a\x85}J\xff\xff\xff\xffK\x01K\x00tb"),
        "a type with parts",
    ),
    "type with odd state": (TYPE + b"K\x07b.", "state of a type is unknown"),
    "state of a function": (b"\x80\x02cnumpy\ndtype\nN}U\x0c__defaults__)s\x86b.", "gives a state to _Function"),
    "state of a class": (b"\x80\x02cnumpy\nndarray\nN}U\x01aK\x01s\x86b.", "gives a state to NoneType"),
    "state of a list": (b"\x80\x02]}U\x01aK\x01sb.", "gives a state to list"),
    "state of an array that is no array's": (array_pickle(F8, b"K\x01", text(b"")), "shape of an array"),
    "objects in objects in objects": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01)cnumpy\ndtype\n" + kind(b"O8") + b"R\x89]" + array_pickle(kind(b"O8"), b")", b"]Na")[2:-1] + b"atb.",
        "something other than a list of objects",
    ),
    "a number of another size": (NUMPY + b"scalar\n" + TYPE[2:] + text(b"123") + b"\x86R.", "a number holds 3 bytes"),
    "bytes that are none": (b"\x80\x02c_codecs\nencode\nU\x01aU\x05utf-8\x86R.", "encoded as 'utf-8'"),
    "a tuple as a key": (b"\x80\x02})K\x01s.", "a key is tuple"),
    "no dictionary": (b"\x80\x02]U\x01aK\x01s.", "do not go into a dictionary"),
    "an unknown text": (b"S'\\q'\n.", "not quoted as Python 2 does"),
    "nothing": (b"", "EOFError"),
    "cut": (pickle.dumps(np.eye(3), 2)[:-20], "is not a pickle of arrays"),
    "a word": (b"motion capture", "operation b'm'"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_an_array_is_refused(name: str) -> None:
    data, words = HOSTILE[name]
    with pytest.raises(ValueError, match=r"^bad\.pkl is not a pickle of arrays: ") as refused:
        loads_arrays(data, "bad.pkl")
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("protocol", range(6))
def test_callables_are_not_called(protocol: int, tmp_path: Path) -> None:
    for thing in (Touch(str(tmp_path / "ran")), {"poses": [np.eye(3), Touch(str(tmp_path / "ran"))]}):
        with pytest.raises(ValueError, match=r"names (posix\.mkdir|numpy\._core\.numeric\._frombuffer)"):
            loads_arrays(pickle.dumps(thing, protocol), "bad.pkl")
    for thing in (print, slice(3), {1, 2}, bytearray(3), np.dtype([("a", "f8")]), np.datetime64("2020-01-01")):
        with pytest.raises(ValueError, match="is not a pickle of arrays"):
            loads_arrays(pickle.dumps([thing, np.zeros(1, dtype="M8[s]")], protocol), "bad.pkl")
    assert not (tmp_path / "ran").exists()


def test_names_are_looked_up_whole() -> None:
    """Of protocol 4, a name may have dots, by which one would walk from numpy to anything."""
    data = b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93."
    with pytest.raises(ValueError, match=r"names numpy\.dtype\.__init__"):
        loads_arrays(data, "bad.pkl")


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        # A memo is a table: the compiled unpickler makes one of 2**31 places.
        (b"\x80\x02]r\xff\xff\xff\x7f.", "read"),
        (b"]p2147483647\n.", "read"),
        (HOSTILE["objects announced many"][0], "refused"),
        (HOSTILE["array announced large"][0], "refused"),
        # A pair of the one before, twice; written out, 2**64 of them.
        (b"\x80\x02cnumpy\ndtype\nK\x01" + b"2\x86" * 64 + b"\x85R.", "refused"),
        (b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".", "read"),
        # Hashed as a key, this would be as many calls in one another.
        (b"\x80\x02}K\x01" + b"\x85" * 300_000 + b"K\x01s.", "refused"),
    ],
)
def test_a_small_file_takes_little_memory(data: bytes, outcome: str) -> None:
    """In a process of its own, which may take 4 GB: what fails there fails the test, not the machine."""
    found, megabytes = read_in_little_memory("pickles", "loads_arrays", "sys.stdin.buffer.read(), 'bad.pkl'", data)
    assert found.startswith(outcome)
    assert megabytes < 200


def test_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pickles._Operations.left == pickles.MOST_OPERATIONS
    monkeypatch.setattr(pickles._Operations, "left", 100)
    assert len(loads_arrays(b"(" + b"]" * 97 + b"l.", "a")) == 97
    with pytest.raises(ValueError, match="it has more than 1,048,576 operations"):
        loads_arrays(b"(" + b"]" * 98 + b"l.", "a")


def test_files_are_found_and_not_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.eye(2), 2))
    same(load_arrays_pickle(path), np.eye(2))
    with pytest.raises(FileNotFoundError, match=r"b\.pkl"):
        load_arrays_pickle(tmp_path / "b.pkl")
    monkeypatch.setattr(pickles, "LIMIT_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 are read"):
        load_arrays_pickle(path)


SEEDS = [
    pickle.dumps({"a": np.eye(2), "b": [np.float64(3), "x", (1, 2)], "c": np.array({"d": 1}, dtype=object)}, protocol)
    for protocol in range(5)
] + [python2_pickle({"a": [np.arange(4.0)], "genders": ["m"]}, protocol) for protocol in (0, 2)]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(
        st.tuples(st.integers(0, 2**16), st.binary(max_size=5), st.integers(0, 4)), min_size=1, max_size=4
    ),
)
def test_any_change_of_bytes_is_read_or_refused(seed: bytes, changes: list[tuple[int, bytes, int]]) -> None:
    data = bytearray(seed)
    for place, new, dropped in changes:
        at = place % (len(data) + 1)
        data[at : at + dropped] = new
    try:
        loads_arrays(bytes(data), "mutant.pkl")
    except ValueError as error:
        assert str(error).startswith("mutant.pkl is not a pickle of arrays")  # noqa: PT017 - most mutants are read


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([o.code.encode("latin-1") + b"\x01" * 3 for o in pickletools.opcodes]), max_size=30))
def test_any_operations_are_read_or_refused(operations: list[bytes]) -> None:
    data = io.BytesIO(b"cnumpy\ndtype\n(" + b"".join(operations) + b".").getvalue()
    try:
        loads_arrays(data, "odd.pkl")
    except ValueError as error:
        assert str(error).startswith("odd.pkl is not a pickle of arrays")  # noqa: PT017 - some are read
