# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the reliability measurements show, and what they make of what they saw."""

import cv2
import pytest

from diffpose_ros.reliability import faults, latency, overload, scenes, soak, transport
from diffpose_ros.reliability.__main__ import _overrides
from diffpose_ros.reliability.bench import Arrival


def test_ages():
    assert Arrival(10.0, 10.25, 1).age_s == 0.25


def test_parameters_are_read_as_json_or_text():
    assert _overrides(["a_node.x=3", "a_node.y=true", "b_node.z=bfloat16"]) == {
        "a_node": {"x": 3, "y": True},
        "b_node": {"z": "bfloat16"},
    }
    with pytest.raises(ValueError, match=r"node\.parameter=value, got 'x=3'"):
        _overrides(["x=3"])


@pytest.mark.parametrize("persons", [1, 4])
def test_scenes_have_the_size_that_is_asked_for(tmp_path, persons):
    pytest.importorskip("ultralytics", reason="the photograph comes with the yolo extra")
    image = cv2.imread(str(scenes.scene(persons, 640, 480, tmp_path)))
    assert image.shape == (480, 640, 3)
    assert (image[:, 320] != scenes.GREY).any()


def test_tables():
    row = {
        "width": 640, "height": 480, "persons": 1, "results": 5, "p50_s": 0.1, "p99_s": 0.15, "max_s": 0.2,
        "results_per_s": 12.34,
    }  # fmt: skip
    assert latency.table([row]).splitlines()[-1] == "| 640 x 480 | 1 | 5 | 100 | 150 | 1.50 | 200 | 12.3 |"
    flooded = {
        "rate_hz": 30.0, "seconds": 600.0, "period_s": 0.1, "age_p50_s": 0.12, "age_p99_s": 0.19, "age_max_s": 0.25,
        "older_than_two_periods": 0.01, "age_p50_by_tenth_s": [0.12, 0.13], "out_of_order_or_twice": 0,
        "unaccounted": {"a": 0}, "lost_on_the_way": {"images": 2},
    }  # fmt: skip
    text = overload.summary(flooded)
    assert "two periods are 200 ms, 1.00 % are older" in text
    assert "lost on the way: {'images': 2}" in text
    grown = {"results": 9, "seconds": 7200, "mib_per_hour": {"a": -0.125}, "rss_mib": {"a": [400.0, 401.0]}}
    assert soak.summary(grown).splitlines()[-1] == "| a | 400, 401 | -0.12 |"
    away = {"recovery_s": {"kill": [1.0, 2.0]}, "results": 3, "out_of_order_or_twice": 0, "oldest_s": 0.5}
    assert "| kill | 1.5, 2.0 |" in faults.summary(away)
    sent = {"sent": 300, "arrived": 297, "age_p50_s": 0.007, "age_p99_s": 0.02}
    assert transport.summary({"profile": sent}).splitlines()[-1] == "| profile | 300 | 297 (99.0 %) | 7.0, 20.0 |"
