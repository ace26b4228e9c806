# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the reliability measurements show, and what they make of what they saw."""

import os
from collections import Counter

import cv2
import pytest

from diffpose_ros.reliability import faults, latency, overload, scenes, soak, transport
from diffpose_ros.reliability.__main__ import _overrides
from diffpose_ros.reliability.bench import Arrival, memory_mib


def test_ages():
    assert Arrival(10.0, 10.25).age_s == 0.25


def seen(*stamps_s, ids=(0,), age_s=0.2, set_backs=0):
    return [Arrival(stamp_s, stamp_s + age_s, ids, set_backs) for stamp_s in stamps_s]


def test_results_that_come_twice_or_out_of_order_are_counted():
    assert faults.twice_or_out_of_order(seen(1.0, 2.0, 3.0)) == 0
    assert faults.twice_or_out_of_order(seen(1.0, 2.0, 2.0, 1.5, 3.0)) == 2
    # A recording that begins again has the same stamps again; what is left of its first time must not come then.
    assert faults.twice_or_out_of_order(seen(8.0, 9.0) + seen(1.0, 2.0, set_backs=1)) == 0
    assert faults.twice_or_out_of_order(seen(8.0, 9.0) + seen(9.2, 1.0, 2.0, set_backs=1)) == 1


def test_results_that_are_too_old_or_of_a_time_that_is_over_are_counted():
    limit_s = faults.MAX_AGE_S + faults.WAY_S
    assert faults.stale(seen(1.0, 2.0, age_s=limit_s - 0.01)) == 0
    assert faults.stale(seen(1.0, 2.0, age_s=limit_s + 0.01)) == 2
    assert faults.stale(seen(60.0, age_s=-59.8)) == 1


@pytest.mark.parametrize(
    ("before", "after", "restarted", "fate"),
    [
        ((3,), (3,), False, "kept"),
        ((3,), (), False, "nobody"),
        ((3,), (4,), False, "new"),
        ((3,), (2,), False, "given again"),
        ((0,), (0,), True, "given again"),
        ((), (0,), False, "new"),
    ],
)
def test_what_became_of_the_ids(before, after, restarted, fate):
    assert faults.fate_of_ids(seen(1.0, ids=before)[0], seen(2.0, 3.0, ids=after), restarted) == fate


def test_what_was_passed_over_by_a_process_that_is_gone_is_not_subtracted():
    passed_over = Counter({"detector_node: refused": 2, "diffusion_node: refused": 1})
    assert faults.passed_over_before(passed_over, {"diffusion_node", "camera_node"}) == {"diffusion_node: refused": 1}


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


def test_memory_is_told_by_kind():
    """Anonymous memory is a process's own; what is mapped of a file is not."""
    before = memory_mib(os.getpid())
    taken = bytearray(b"x" * (64 * 2**20))
    after = memory_mib(os.getpid())
    assert set(before) == {"own", "files", "shared"}
    assert 60 < after["own"] - before["own"] < 140
    assert len(taken) == 64 * 2**20
    assert abs(after["shared"] - before["shared"]) < 1


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
    rates = {"all": -0.125, "own": 0.5, "files": 0.0, "shared": -0.625}
    grown = {"results": 9, "seconds": 7200, "mib_per_hour": {"a": rates}, "mib": {"a": {"all": [400.0, 401.0]}}}
    assert soak.summary(grown).splitlines()[-1] == "| a | 400, 401 | -0.12 | +0.50 | +0.00 | -0.62 |"
    once = {"recovery_s": 1.0, "ids": "kept", "stale": 0, "twice_or_out_of_order": 1, "passed_over": {"a": 2, "b": 1}}
    away = {"rounds": 2, "results": 3, "wrong": 2, "harms": {"kill": [once, once | {"recovery_s": 2.0, "ids": "new"}]}}
    assert "| kill | 1.5, 2.0 | kept 1, new 1 | 6 | 0 | 2 |" in faults.summary(away)
    assert faults.summary(away).endswith("2 rounds, 3 results and markers; stale, twice or out of order: 2.")
    sent = {"sent": 300, "arrived": 297, "age_p50_s": 0.007, "age_p99_s": 0.02}
    lines = transport.summary({"rmw": "rmw_x", "ways": {"profile": sent}}).splitlines()
    assert lines[0].startswith("| rmw_x | sent")
    assert lines[-1] == "| profile | 300 | 297 (99.0 %) | 7.0, 20.0 |"
