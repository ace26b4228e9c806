# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Lists of frames: both forms name the same frames, and bad lines are named."""

from pathlib import Path

import pytest
from h36m_files import ACTIONS, POSES

from diffpose_core.data.readers.h36m_frames import read_frame_list


def test_frame_lists_of_both_forms_name_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text(
        "# ambiguous\n/S9/Greeting 1.54138969/160.jpg\n/S9/Greeting 1.54138969/164.jpg\n\n"
        "/S9/Discussion.55011271/4.jpg\n/S11/Phoning 1.58860488/8.jpg\n/S11/Phoning.58860488/12.jpg\n"
        "/S11/Smoking 1.60457274/1.jpg\n/S11/Greeting 1.60457274/4.jpg\n/S9/WalkDog.60457274/4.jpg\n"
    )
    wanted = {
        "S9/Greeting 1/54138969": {159, 163}, "S9/Discussion 2/55011271": {3}, "S11/Phoning 2/58860488": {7},
        "S11/Phoning 3/58860488": {11}, "S11/Smoking 2/60457274": {0}, "S11/Greeting 2/60457274": {3},
        "S9/WalkDog/60457274": {3},
    }  # fmt: skip
    assert read_frame_list(path) == wanted
    path.write_text("\n".join(f"{name}/{frame}" for name, frames in wanted.items() for frame in frames))
    assert read_frame_list(path) == wanted


def test_every_test_sequence_has_one_name_in_their_list(tmp_path: Path) -> None:
    lines = [f"/{s}/{a}{n}.54138969/4.jpg" for s in ("S9", "S11") for a in ACTIONS for n in ("", " 1")]
    (tmp_path / "frames.txt").write_text("\n".join(lines))
    assert set(read_frame_list(tmp_path / "frames.txt")) == {
        f"{s}/{q}/54138969" for s, q in POSES if s in ("S9", "S11")
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("S9/Greeting 1/54138969", "line 2: 'S9/Greeting 1/54138969' is neither like"),
        ("S9/Greeting 1/54138969/-1", "is neither like"),
        ("S9/Hello/54138969/1", "line 2: 'Hello' is no sequence"),
        ("S9/Greeting/12345678/1", "names no frame"),
        ("S2/Greeting/54138969/1", "names no frame"),
        ("/S9/Greeting.54138969/0.jpg", "names no frame"),
        ("/S1/Greeting.54138969/4.jpg", "S1 is no test subject"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "frames.txt").write_text(f"S9/Greeting/54138969/1\n{line}\n")
    with pytest.raises(ValueError, match=words):
        read_frame_list(tmp_path / "frames.txt")


def test_empty_and_absent_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "frames.txt").write_bytes(b"# nothing\n")
    with pytest.raises(ValueError, match="there are no frames in it"):
        read_frame_list(tmp_path / "frames.txt")
    with pytest.raises(FileNotFoundError, match="absent"):
        read_frame_list(tmp_path / "absent.txt")
