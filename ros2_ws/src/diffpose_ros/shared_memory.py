# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The files through which Fast DDS hands messages to other processes of the machine. Knows nothing of ROS.

A segment is ``/dev/shm/fastrtps_<16 hexadecimal digits>`` (from Fast DDS 3 on ``fastdds_...``); beside it lies
``..._el``, which its owner alone holds open (seen with 2.14). Where they are removed while the process lives, as
systemd-logind does when a user logs out (RemoveIPC; eProsima/Fast-DDS issue 5576), those who opened them before go on,
and nobody else can hear the process.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SHARED = Path("/dev", "shm")
LOCK = re.compile(r"(/dev/shm/fast(?:rtps|dds)_[0-9a-f]{16})_el( \(deleted\))?")


def segments(pid: int) -> list[Path]:
    """Return the segments that a process made, whether their files are still there or not."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            lock = LOCK.fullmatch(os.readlink(link))
        except FileNotFoundError:  # closed in the meantime
            continue
        if lock:
            found.add(Path(lock[1]))
    return sorted(found)


def removed(pid: int) -> list[Path]:
    """Return those of a process's segments whose files are gone."""
    return [path for path in segments(pid) if not path.exists()]
