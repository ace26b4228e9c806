# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The files of shared memory that this process holds, by the names that Fast DDS gives them."""

import os

import pytest

from diffpose_ros.shared_memory import SHARED, removed, segments


@pytest.mark.parametrize("name", ["fastrtps", "fastdds"])
def test_a_segment_that_is_gone_is_known_by_its_lock(name):
    segment = SHARED / f"{name}_{os.getpid():016x}"
    lock = SHARED / f"{segment.name}_el"
    try:
        segment.touch()
        with lock.open("w"):
            assert segment in segments(os.getpid())
            assert segment not in removed(os.getpid())
            segment.unlink()
            assert segment in removed(os.getpid())
            lock.unlink()
            assert segment in removed(os.getpid())
        assert segment not in segments(os.getpid())
    finally:
        segment.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
