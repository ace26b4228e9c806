# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Preparing one's own motion: a process, its file, what it says of it, and what it refuses."""

import importlib
import io
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffpose_core import H36M17
from diffpose_core.data import load_mocap
from diffpose_core.data.prepared import Recording, open_prepared
from diffpose_core.data.readers.arrays import load_arrays
from diffpose_core.data.readers.npz import Npz

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
POSES = np.random.default_rng(0).normal(size=(12, 17, 3)).astype(np.float32)


def write_npz(path: Path, **replaced: np.ndarray | None) -> Path:
    """Twelve poses of three motions; None leaves a key out."""
    arrays: dict[str, np.ndarray | None] = {
        "joints": POSES,
        "joint_names": np.array(H36M17.joints),
        "subject": np.repeat([2, 11, 5], [5, 4, 3]),
        "split": np.repeat([0, 1, 2], [5, 4, 3]),
        "source": np.repeat([1, 0, 0], [5, 4, 3]),
        "source_names": np.array(["own", "generic"]),
        "motion": np.repeat([2, 0, 1], [5, 4, 3]),
        "motion_names": np.array(["run", "jump", "walk"]),
        "frame_time": np.full(12, 1 / 30, dtype=np.float32),
        "src_frame": np.arange(12) * 4,
        **replaced,
    }
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_file_is_prepared_and_shown(tmp_path: Path) -> None:
    source, out = write_npz(tmp_path / "mine.npz"), tmp_path / "made" / "mine.safetensors"
    done = prepare("npz", "--source", source, "--out", out, "--licence", "ours")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{out}: mine, 12 poses in 3 recordings"
    assert lines[1] == "train: 5 poses of 1 people: 2"
    assert "frame rates: 30 Hz in 3 recordings" in lines
    assert "licence: ours" in lines
    assert lines[-1] == f"made by: python training/prepare.py npz --source {source} --out {out} --licence ours"
    assert prepare("show", out).stdout == done.stdout

    data = open_prepared(out)
    assert [(r.name, r.subject, r.split, r.source) for r in data.recordings] == [
        ("walk", "2", "train", "generic"), ("run", "11", "validation", "own"), ("jump", "5", "test", "own"),
    ]  # fmt: skip
    validation = load_mocap(out, "validation")
    np.testing.assert_array_equal(validation.joints.numpy(), POSES[5:9])
    assert validation.people == ["11"]
    assert data.frames[9:].tolist() == [36, 40, 44]


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"subject": None}, "key 'subject' is missing; there are frame_time, joint_names"),
        ({"joint_names": np.array(H36M17.joints[::-1])}, "joint_names are"),
        ({"split": np.repeat([0, 3], 6)}, "split must hold whole numbers from 0 to 2"),
        ({"split": np.repeat([0.0, 1.0], 6)}, r"split is float64 \(12,\), expected whole numbers"),
        ({"frame_time": np.zeros(12)}, r"frame_time must be positive, got 0\.0"),
        ({"frame_time": np.linspace(0.1, 0.2, 12)}, "motion 'walk' has more than one frame_time"),
        ({"joints": np.full((12, 17, 3), "a")}, r"joints is <U1 \(12, 17, 3\), expected real numbers of 3 axes"),
        ({"joints": POSES.astype(complex)}, "joints is complex128"),
        ({"joints": np.float32(3)}, r"joints is float32 \(\), expected real numbers of 3 axes"),
        ({"src_frame": np.arange(12) + 0.5}, "src_frame is float64"),
        ({"src_frame": np.arange(12) + 2**40}, "walk: frames must rise and be at most 2147483647"),
        ({"src_frame": np.zeros(12, int)}, "walk: frames must rise"),
        ({"joints": POSES[:0]}, "joints holds no poses"),
        ({"motion": np.full(12, -1)}, "motion must hold whole numbers from 0 to 2"),
        ({"frame_time": np.full(11, 0.1)}, r"frame_time has shape \(11,\), expected \(12,\)"),
        ({"motion": np.array([0, 1] * 6), **dict.fromkeys(("subject", "split", "source"), np.zeros(12, int))},
         "the poses of motion 'run' are not one after the other"),
        ({"subject": np.arange(12)}, "motion 'walk' has more than one subject"),
        ({"joints": np.where(np.arange(12)[:, None, None] == 6, np.nan, POSES)}, "run: joints is not finite in 1 "),
        ({"joints": 2e4 * np.ones((12, 17, 3))}, "are these millimetres"),
        ({"joints": np.array([POSES], dtype=object)}, "key 'joints' holds Python objects"),
    ],
)  # fmt: skip
def test_a_bad_source_is_refused_by_name(tmp_path: Path, replaced: dict[str, np.ndarray | None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(Npz(write_npz(tmp_path / "mine.npz", **replaced)).recordings())


def test_the_command_says_so_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "mine.npz", joints=np.full((12, 17, 3), np.nan))
    for asked, words in (
        (("npz", "--source", source), "walk: joints is not finite"),
        (("npz", "--source", tmp_path / "absent.npz"), "absent.npz"),
        (("npz", "--source", SCRIPT), "File is not a zip file"),
    ):
        done = prepare(*asked, "--out", tmp_path / "out" / "mine.safetensors")
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((tmp_path / "out").glob("*"))
    done = prepare("show", source)
    assert done.returncode == 1
    assert "training/prepare.py makes them" in done.stderr


def test_disk_errors_end_in_one_line_and_leave_nothing(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "mine.npz")
    (tmp_path / "folder.safetensors").mkdir()
    for out, words in (
        (tmp_path / "folder.safetensors", "folder.safetensors"),
        (source, "out must be another file, called .safetensors"),
    ):
        done = prepare("npz", "--source", source, "--out", out)
        assert done.returncode == 1
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    done = prepare("npz", "--source", tmp_path / "absent.npz", "--out", tmp_path / "new" / "a.safetensors")
    assert (done.returncode, (tmp_path / "new").exists()) == (1, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    command = importlib.import_module("prepare")

    def recordings(self: Npz) -> Iterator[Recording]:
        yield Recording("walk", "1", "train", 30.0, np.arange(12), POSES)
        yield Recording("run", "1", "train", 30.0, np.arange(12), POSES)
        assert list((tmp_path / "out").iterdir())
        signal.raise_signal(number)

    monkeypatch.setattr(Npz, "recordings", recordings)
    monkeypatch.setattr(command, "tqdm", lambda steps, unit: steps)  # its type is none that is checked here
    out = tmp_path / "out" / "a.safetensors"
    monkeypatch.setattr(sys, "argv", ["prepare.py", "npz", "--source", str(SCRIPT), "--out", str(out)])
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit) as ended:
            command.main()
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert ended.value.code in (128 + number, "prepare.py: interrupted; nothing was written")
    assert list((tmp_path / "out").iterdir()) == []


def npz_with(path: Path, payload: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", payload)
    return path


def npy(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def test_absurd_and_damaged_arrays_are_refused_before_they_are_read(tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "mine.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[whole.index(POSES.tobytes()[:16])] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    marker = tmp_path / "ran"
    callable_ = npy((1,), "|O") + pickle.dumps([Touch(marker)])
    for path, words in (
        (
            npz_with(tmp_path / "huge.npz", npy((10**9, 17, 3))),
            r"204,000,000,000 bytes; at most 4,294,967,296 are read",
        ),
        (npz_with(tmp_path / "short.npz", npy((10**6, 17, 3)) + b"1234"), "204,000,000 bytes; the file holds 4"),
        (npz_with(tmp_path / "zeros.npz", npy((51_000_000,)) + bytes(204_000_000)), "at most 100,000,000"),
        (npz_with(tmp_path / "negative.npz", npy((-1, 17, 3))), "bytes; the file holds 0"),
        (npz_with(tmp_path / "objects.npz", callable_), "holds Python objects"),
        (npz_with(tmp_path / "empty.npz", b""), "empty.npz"),
        (npz_with(tmp_path / "header.npz", npy((3,))[:40]), "header.npz"),
        (npz_with(tmp_path / "key.npz", npy((3,)).replace(b"'shape'", b"[]     ")), "key.npz"),
        (announcing(tmp_path / "announced.npz"), "announces 204,000,128 bytes, the file holds"),
        (tmp_path / "cut.npz", "not a zip file"),
        (tmp_path / "flipped.npz", "Bad CRC-32"),
    ):
        limit = 10**8 if path.name == "zeros.npz" else 1 << 32
        with pytest.raises(ValueError, match=words):
            load_arrays(path, ["joints"], limit)
    assert not marker.exists()


def announcing(path: Path) -> Path:
    """A small file whose directory, too, says that there are 204 MB."""
    header = npy((10**6, 17, 3))
    data = bytearray(npz_with(path, header + b"1234").read_bytes())
    size = (len(header) + 4).to_bytes(4, "little")
    for at in (i for i in range(len(data)) if data[i : i + 4] == size):
        data[at : at + 4] = (len(header) + 204_000_000).to_bytes(4, "little")
    path.write_bytes(data)
    return path


class Touch:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)
