# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Files that users write or other tools do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_FILE_BYTES = 1_000_000


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """Return what a YAML file holds.

    Args:
        path: of the file.
        what: the file is, for the messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is too long, no YAML or no mapping.
    """
    if (size := Path(path).stat().st_size) > MAX_FILE_BYTES:
        raise ValueError(f"{what} file {path} must hold at most {MAX_FILE_BYTES} bytes, got {size}")
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{what} file {path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{what} file {path} must hold a mapping, got {type(data).__name__}")
    return data


def entry(data: dict[str, Any], name: str, kind: type, where: str = "") -> Any:
    """Return an entry of this type; ``where`` is the place of the mapping in the file, for the messages.

    Raises:
        ValueError: naming the entry that is missing or of another type.
    """
    if name not in data:
        raise ValueError(f"{where}{name} is missing")
    if not isinstance(data[name], kind):
        raise ValueError(f"{where}{name} must be a {kind.__name__}, got {data[name]!r}")
    return data[name]
