# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The contract tests need ROS 2 and the built messages, but no running node."""

import importlib.util

import pytest

NOT_THERE = [name for name in ("rclpy", "diffpose", "diffpose_ros") if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items):
    if NOT_THERE:
        skip = pytest.mark.skip(reason=f"not installed: {', '.join(NOT_THERE)} (make setup builds them)")
        for item in items:
            if "/contract/" in str(item.path) or "/ros/" in str(item.path):
                item.add_marker(skip)


collect_ignore_glob = ["test_*.py"] if NOT_THERE else []
