# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Lists of frames to evaluate, such as the ambiguous ones, "H36MA", of Wehrbein et al. (ICCV 2021)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from diffpose_core.data.readers.h36m_layout import CAMERAS, SUBJECTS, sequence_name
from diffpose_core.files import read_regular

LIMIT_BYTES = 1 << 26
_OWN = re.compile(r"([^/]+)/([^/]+)/(\d{8})/(\d{1,6})")
_WEHRBEIN = re.compile(r"/([^/]+)/([^/.]+)\.(\d{8})/(\d{1,6})\.jpg")
_WEHRBEIN_NAMES = {
    "S9": {"Discussion": "Discussion 2"},
    "S11": {
        "Discussion": "Discussion 2", "Greeting 1": "Greeting 2", "Phoning": "Phoning 3", "Phoning 1": "Phoning 2",
        "Smoking 1": "Smoking 2",
    },
}  # fmt: skip
"""Their names of the test subjects' sequences where these are not the files' (``create_data.py`` renames them)."""


def read_frame_list(path: str | Path) -> dict[str, set[int]]:
    """Read a list of frames, one a line, of either form; empty lines and those that begin with ``#`` are skipped.

    ===================================  ============================================================================
    ``S9/Greeting 1/54138969/159``       a recording of a prepared file, and the frame, the first being 0
    ``/S9/Greeting 1.54138969/160.jpg``  the same frame in ``framelist_h36m_hard_subset.txt``, which accompanies the
                                         code of Wehrbein et al.: the first frame is 1, and an action's two sequences
                                         are always called so: ``Greeting``, ``Greeting 1``
    ===================================  ============================================================================

    Returns:
        By recording, e.g. ``S9/Greeting 1/54138969``, the numbers of its frames, the first being 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line has another form, or no recording of Human3.6M; or the file is too large or empty.
    """
    text = read_regular(path, LIMIT_BYTES, "list of frames").decode("utf-8", "replace")
    found: dict[str, set[int]] = defaultdict(set)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            recording, frame = _frame(line.strip(), f"{path}, line {number}")
            found[recording].add(frame)
    if not found:
        raise ValueError(f"{path}: there are no frames in it")
    return dict(found)


def _frame(line: str, where: str) -> tuple[str, int]:
    if theirs := _WEHRBEIN.fullmatch(line):
        subject, sequence, camera, frame = theirs[1], theirs[2], theirs[3], int(theirs[4]) - 1
        if subject not in _WEHRBEIN_NAMES:
            raise ValueError(f"{where}: {subject} is no test subject of Human3.6M")
        sequence = _WEHRBEIN_NAMES[subject].get(sequence, sequence)
    elif ours := _OWN.fullmatch(line):
        subject, sequence, camera, frame = ours[1], ours[2], ours[3], int(ours[4])
    else:
        raise ValueError(
            f"{where}: {line!r} is neither like 'S9/Greeting 1/54138969/159' nor '/S9/Greeting 1.54138969/160.jpg'"
        )
    if subject not in SUBJECTS or camera not in CAMERAS or frame < 0:
        raise ValueError(f"{where}: {line!r} names no frame of Human3.6M")
    return f"{subject}/{sequence_name(sequence, where)}/{camera}", frame
