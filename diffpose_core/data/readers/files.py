"""Files that are read as a whole."""

from __future__ import annotations

from pathlib import Path


def read_bounded(path: str | Path, limit_bytes: int, what: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: the file.
        limit_bytes: the largest file accepted.
        what: what it should be, for the error.

    Raises:
        FileNotFoundError: no such file.
        ValueError: larger than the limit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{what} not found: {path}")
    if (size := path.stat().st_size) > limit_bytes:
        raise ValueError(f"{path} holds {size:,} bytes; at most {limit_bytes:,} are read")
    return path.read_bytes()
