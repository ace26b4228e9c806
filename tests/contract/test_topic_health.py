# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The state of a topic, by arrivals at times that the test sets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_ros.topic_health import (
    ERROR,
    ERROR_RATE,
    GOOD,
    NOT_RECEIVED,
    OK,
    TIMEOUT,
    WARN,
    WARN_RATE,
    Expected,
    TopicHealth,
)  # fmt: skip

TEN_HZ = Expected(warn_rate_hz=8.0, error_rate_hz=4.0, timeout_s=0.15)


def flowing(period_s, count=30, steady=True):
    topic = TopicHealth("/image", "input", 0.0, steady)
    for i in range(count):
        topic.seen(100 + i * period_s)
    return topic, 100 + (count - 1) * period_s


@pytest.mark.parametrize(
    ("rate_hz", "state", "level"),
    [(10.0, OK, GOOD), (8.1, OK, GOOD), (7.9, WARN_RATE, WARN), (4.1, WARN_RATE, WARN), (3.9, ERROR_RATE, ERROR)],
)
def test_the_rate(rate_hz, state, level):
    topic, now_s = flowing(1 / rate_hz)
    assert topic.rate_hz(now_s) == pytest.approx(rate_hz)
    assert (topic.state(TEN_HZ, now_s), topic.level(TEN_HZ, now_s)) == (state, level)


def test_nothing_is_expected_without_limits():
    topic, now_s = flowing(10.0)
    assert topic.state(Expected(), now_s + 1e6) == OK
    assert topic.level(Expected(), now_s + 1e6) == GOOD


def test_silence_is_a_timeout_within_two_periods():
    topic, last_s = flowing(0.1)
    assert topic.state(TEN_HZ, last_s + 0.14) == OK
    assert topic.state(TEN_HZ, last_s + 0.16) == TIMEOUT
    assert topic.level(TEN_HZ, last_s + 0.16) == ERROR
    assert topic.describe(TEN_HZ, last_s + 0.16, 1) == "Timeout: nothing for 0.2 s"
    assert topic.describe(TEN_HZ, last_s + 0.16, 0) == "Timeout: nothing for 0.2 s, and there is no publisher"
    topic.seen(last_s + 0.2)
    assert topic.state(TEN_HZ, last_s + 0.2) == OK


def test_how_long_until_silence_is_a_timeout():
    topic, last_s = flowing(0.1)
    assert topic.deadline_s(TEN_HZ, last_s + 0.1) == pytest.approx(0.05)
    assert topic.deadline_s(TEN_HZ, last_s + 0.2) == math.inf  # it is one already
    assert topic.deadline_s(Expected(), last_s) == math.inf
    assert TopicHealth("/image", "input", 100.0).deadline_s(TEN_HZ, 100.1) == pytest.approx(0.05)
    latched, last_s = flowing(0.1, count=1, steady=False)
    assert latched.deadline_s(TEN_HZ, last_s) == math.inf


def test_what_never_came_is_an_error_once_the_timeout_is_over():
    topic = TopicHealth("/image", "input", 100.0)
    assert (topic.state(TEN_HZ, 100.1), topic.level(TEN_HZ, 100.1)) == (NOT_RECEIVED, WARN)
    assert (topic.state(TEN_HZ, 100.2), topic.level(TEN_HZ, 100.2)) == (NOT_RECEIVED, ERROR)
    assert topic.level(Expected(), 1e6) == WARN
    topic.incompatible["reliability"] += 1
    assert topic.describe(TEN_HZ, 100.2, 1) == "NotReceived: nothing for 0.2 s, and QoS does not fit: reliability"
    assert topic.values(100.2)["incompatible_qos: reliability"] == "1"


def test_the_rate_is_not_judged_by_the_first_few():
    topic, now_s = flowing(1.0, count=4)
    assert topic.state(Expected(warn_rate_hz=8.0), now_s) == OK
    topic.seen(now_s + 1.0)
    assert topic.state(Expected(warn_rate_hz=8.0), now_s + 1.0) == WARN_RATE


def test_one_latched_message_is_enough():
    topic, now_s = flowing(0.1, count=1, steady=False)
    assert topic.state(TEN_HZ, now_s + 1000) == OK
    topic.restart(now_s + 1000)
    assert topic.state(TEN_HZ, now_s + 1000) == NOT_RECEIVED
    assert math.isnan(topic.age_s(now_s + 1000))


@given(st.lists(st.floats(0.001, 10), max_size=40), st.floats(0, 100))
def test_the_measured_rate_never_exceeds_the_true_one(gaps_s, later_s):
    topic, now_s, times_s = TopicHealth("/image", "input", 0.0), 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        times_s.append(now_s)
        topic.seen(now_s)
    rate_hz = topic.rate_hz(now_s + later_s)
    assert math.isnan(rate_hz) == (len(times_s) < 2)
    if len(times_s) >= 2:
        assert 0 < rate_hz <= 1 / min(gaps_s) * (1 + 1e-6)
    assert topic.count == len(times_s)
