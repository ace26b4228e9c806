# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Every parameter is described, and changes as a whole or not at all."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core.detector import MAX_CANDIDATES
from diffpose_ros.parameters import (
    ALL,
    ANY_TIME,
    MAX_PERSONS,
    START,
    UNCONFIGURED,
    CameraParameters,
    DetectorParameters,
    DiffusionParameters,
    FusionParameters,
)
from diffpose_ros.ros_parameters import changed
from diffpose_ros.topic_health import INPUT, OUTPUT, Expected

UNITS = {"_s": "s", "_hz": "Hz", "_px": "px", "_deg": "deg", "_m": "m", "_sigmas": "standard deviations"}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.node)
def test_every_parameter_is_described(kind):
    for item in fields(kind):
        low, high, unit = (item.metadata[key] for key in ("low", "high", "unit"))
        assert item.metadata["doc"].endswith(".")
        assert item.metadata["when"] in (ANY_TIME, UNCONFIGURED, START)
        number = isinstance(item.default, (int, float)) and not isinstance(item.default, bool)
        assert number == (low is not None) == (high is not None), f"{item.name}: every number has a range"
        assert not number or low <= item.default <= high
        suffix = "_" + item.name.rpartition("_")[2]
        assert unit == UNITS.get(suffix, unit), item.name


def test_what_can_be_changed_depends_on_the_state():
    now = DiffusionParameters()
    assert changed(now, {"steps": 25, "seed": 3}, configured=True) == DiffusionParameters(steps=25, seed=3)
    with pytest.raises(ValueError, match="parameter prior is read when the node is configured: clean it up first"):
        changed(now, {"steps": 25, "prior": "other.safetensors"}, configured=True)
    assert changed(now, {"prior": "other.safetensors"}, configured=False).prior == "other.safetensors"
    # Nothing is changed by the value that holds already, and other parts' parameters are their own.
    assert changed(now, {"prior": "", "use_sim_time": True}, configured=True) == now


def test_nobody_asks_for_more_persons_than_the_detector_offers():
    assert MAX_PERSONS == MAX_CANDIDATES
    assert DetectorParameters(max_persons=MAX_CANDIDATES).max_persons == MAX_CANDIDATES
    with pytest.raises(ValueError, match=r"max_persons must lie in 1\.\.100, got 101"):
        DetectorParameters(max_persons=MAX_CANDIDATES + 1)


def test_inputs_and_outputs_have_limits_of_their_own():
    now = DetectorParameters(warn_rate_hz=25.0, error_rate_hz=20.0, timeout_s=0.05, output_warn_rate_hz=5.0)
    assert now.expected(INPUT) == Expected(25.0, 20.0, 0.05)
    assert now.expected(OUTPUT) == Expected(5.0, 0.0, 1.0)
    for names in (("warn_rate_hz", "error_rate_hz"), ("output_warn_rate_hz", "output_error_rate_hz")):
        with pytest.raises(ValueError, match=f"parameter {names[1]} must not exceed {names[0]} 4, got 8"):
            DetectorParameters(**dict(zip(names, (4.0, 8.0), strict=True)))


def test_a_camera_that_is_slow_by_choice_is_not_late():
    assert CameraParameters(rate_hz=10.0).expected(OUTPUT).timeout_s == 1.0
    assert CameraParameters(rate_hz=0.1).expected(OUTPUT).timeout_s == 20.0
    assert CameraParameters(rate_hz=0.1, output_timeout_s=0.0).expected(OUTPUT).timeout_s == 0.0


def test_an_array_is_a_tuple():
    assert changed(FusionParameters(), {"cameras": ["a", "b"]}, configured=False).cameras == ("a", "b")
    assert changed(FusionParameters(), {"cameras": ["left", "right"]}, configured=True) == FusionParameters()


@given(st.integers(-5, 1100), st.integers(-5, 110), st.floats(), st.sampled_from(["kalman", "gradient", "", "dps"]))
def test_a_change_is_taken_where_all_of_it_is_valid(steps, repeats, slop, guidance):
    now = DiffusionParameters()
    change = {"steps": steps, "repeats": repeats, "sync_slop_s": slop, "guidance": guidance}
    if 1 <= steps <= 1000 and 1 <= repeats <= 100 and 0 <= slop <= 10 and guidance in ("kalman", "gradient"):
        assert changed(now, change, configured=True) == DiffusionParameters(**change)
    else:
        with pytest.raises(ValueError, match=r"^parameter (steps|repeats|sync_slop_s|guidance) must"):
            changed(now, change, configured=True)
    assert now == DiffusionParameters()
