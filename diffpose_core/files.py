# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Files that others wrote, read as a whole: the bytes that are checked are the bytes that are used."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_regular(path: str | Path, limit_bytes: int, what: str) -> bytes:
    """Return the bytes of a regular file, or of one that a link leads to.

    Args:
        path: the file.
        limit_bytes: the largest file accepted.
        what: what it should be, for the error.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, device, pipe or socket; too large; not readable; or it changes while it is read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for whoever writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileNotFoundError(f"{what} not found: {path}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{what} {str(path)!r} cannot be read: {error}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{what} {path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit_bytes:
            raise ValueError(f"{what} {path} holds {status.st_size:,} bytes; at most {limit_bytes:,} are read")
        data = file.read(status.st_size + 1)
    if len(data) != status.st_size:
        raise ValueError(f"{what} {path} changed while it was read: {status.st_size:,} bytes, then {len(data):,}")
    return data
