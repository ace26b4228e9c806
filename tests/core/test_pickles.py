"""The unpickler of arrays: what numpy pickles comes back, and nothing that a pickle merely announces is believed."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from bounded import refusal_within
from hypothesis import assume, given
from hypothesis import strategies as st

from diffpose_core.data.readers.pickles import loads_arrays

REBUILD = np.zeros(0).__reduce__()[0]


class Reduced:
    """Pickles as the call and the state that it is given."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


def array_of(shape: tuple[int, ...], kind: object, data: object) -> Reduced:
    return Reduced(REBUILD, (np.ndarray, (0,), b"b"), (1, shape, kind, False, data))


@given(
    kind=st.sampled_from(["<f4", ">f8", "<i8", ">i2", "|u1", "|b1", "<U3", ">U2", "|S5", "<c8", "|O"]),
    shape=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    protocol=st.integers(2, 4),
    order=st.sampled_from("CF"),
)
def test_arrays_of_any_plain_type_come_back(kind: str, shape: tuple[int, ...], protocol: int, order: str) -> None:
    assume(protocol > 2 or all(shape))  # Python 3 writes no bytes as a call then
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, dtype=kind, order=order)
    found = loads_arrays(pickle.dumps({"a": [array], 3: "text"}, protocol=protocol), "x")
    assert list(found) == ["a", 3]
    assert found["a"][0].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found["a"][0], array)


def test_numbers_come_back_in_either_byte_order() -> None:
    assert loads_arrays(pickle.dumps([np.float64(1.5), np.dtype(">i4").type(7)]), "x") == [1.5, 7]


def outside() -> Reduced:
    return Reduced(np.dtype, ("V8",), (3, "|", None, ("a",), {"a": (np.dtype("f8"), 1000)}, 8, 1, 16))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: array_of((10**9,), np.dtype("O"), [1]), r"shape \(1000000000,\) and type object does not hold"),
        (lambda: array_of((1000,), np.dtype("O"), [1]), "does not hold that much"),
        (lambda: array_of((10**12,), np.dtype("f8"), b"12345678"), "does not hold that much"),
        (lambda: array_of((-1, -1), np.dtype("f8"), b"12345678"), "does not hold that much"),
        (lambda: array_of((1,), np.dtype("O"), b"12345678"), "does not hold that much"),
        (outside, r"type \|V8; only plain ones"),
        (lambda: Reduced(np.dtype, ("f8",), (3, "<", None, ("a",), {"a": (1, 2)}, 8, 1, 16)), "fields"),
        (lambda: Reduced(REBUILD, (np.ndarray, (10**9,), b"b")), "begins with shape"),
        (lambda: Reduced(np.ndarray, (10**9,)), "is not a pickle of arrays"),
        (lambda: Reduced(print, ("called",)), "names builtins.print"),
    ],
)
def test_what_is_only_announced_is_refused(made: Callable[[], Reduced], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loads_arrays(pickle.dumps(made()), "x")


def test_memory_stays_bounded() -> None:
    whole = pickle.dumps(np.zeros(1), protocol=4)
    data = whole.replace(b"K\x01\x85", b"J\xff\xff\xff\x7f\x85", 1)
    assert data != whole
    imports = "from diffpose_core.data.readers.pickles import loads_arrays"
    said = refusal_within(64, imports, f"loads_arrays({data!r}, 'x')")
    assert "shape (2147483647,) and type float64 does not hold that much" in said
