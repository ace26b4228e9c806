# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Files that users write: what is no YAML, or none that can be meant, is refused by name."""

import pytest

from diffpose_ros.calibration import load_calibration
from diffpose_ros.yaml_files import entry, read_mapping


@pytest.mark.parametrize("read", [load_calibration, lambda path: read_mapping(path, "calibration")])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"camera_name: \xff", "is not YAML: 'utf-8' codec can't decode"),
        (b"camera_name: " + b"x" * 1_000_000, "must hold at most 1000000 bytes, got 1000013"),
        (b"- 1\n- 2", "must hold a mapping, got list"),
        (b"", "must hold a mapping, got NoneType"),
    ],
)
def test_files_that_are_no_mapping_are_refused(tmp_path, read, data, words):
    path = tmp_path / "head.yaml"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"^calibration file .*head\.yaml {words}"):
        read(path)


def test_a_mapping_is_read_and_its_entries_have_types(tmp_path):
    path = tmp_path / "head.yaml"
    path.write_text("name: Köpfchen\nsize: {width: 640}")
    data = read_mapping(path, "calibration")
    assert data == {"name": "Köpfchen", "size": {"width": 640}}
    assert entry(data["size"], "width", int, "size.") == 640
    with pytest.raises(ValueError, match=r"^size\.height is missing"):
        entry(data["size"], "height", int, "size.")
    with pytest.raises(ValueError, match=r"^size\.width must be a str, got 640"):
        entry(data["size"], "width", str, "size.")
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        read_mapping(tmp_path / "none.yaml", "calibration")
