# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A detector waits for the node after it, and for no longer than that makes sense."""

import math
import threading

import pytest

from diffpose_ros.pacing import Pacer

NEVER_S = 1e9


def test_who_never_answered_is_not_waited_for():
    pacer = Pacer(1.0)
    assert pacer.begin_s == -math.inf
    pacer.published(5, 0.04, 100.0)
    assert pacer.begin_s == -math.inf


def test_the_next_image_is_begun_with_half_the_own_time_before_the_answer_is_expected():
    pacer = Pacer(1.0)
    pacer.published(5, 0.04, 100.0)
    pacer.done(5, 100.1)
    assert pacer.begin_s == -math.inf  # nothing is worked on
    pacer.published(6, 0.04, 100.2)
    assert pacer.begin_s == pytest.approx(100.2 + 0.1 - 0.02)


def test_durations_follow_what_is_measured():
    pacer = Pacer(10.0)
    for n in range(100):
        pacer.published(n, 0.1, 100.0 + n)
        pacer.done(n, 100.5 + n)
    pacer.published(100, 0.1, 300.0)
    assert pacer.begin_s == pytest.approx(199.5 + 10)  # silent for so long: not by what it took before
    pacer.done(100, 300.7)
    pacer.published(101, 0.1, 301.0)
    assert pacer.begin_s == pytest.approx(301.0 + 0.5 + 0.2 * (0.7 - 0.5) - 0.05)


def test_who_is_silent_for_too_long_is_waited_for_no_more():
    pacer = Pacer(1.0)
    pacer.published(5, 0.04, 100.0)
    pacer.done(4, 100.1)  # of an older one: somebody is there, and not done
    pacer.published(6, 0.04, 100.2)
    assert pacer.begin_s == pytest.approx(101.1)


def test_a_limit_of_zero_waits_for_nobody():
    pacer = Pacer(0.0)
    pacer.published(5, 0.04, 100.0)
    pacer.done(5, 100.1)
    pacer.published(6, 0.04, 100.2)
    assert pacer.begin_s <= 100.2


@pytest.mark.parametrize(
    "end", [lambda pacer: pacer.done(6, 0.2), lambda pacer: pacer.stop(), lambda pacer: pacer.set_limit(0.0)]
)
def test_an_answer_the_end_or_a_shorter_limit_wakes_who_waits(end):
    pacer = Pacer(NEVER_S)
    pacer.published(5, 0.0, 0.0)
    pacer.done(4, 0.1)
    pacer.published(6, 0.0, 0.1)
    waiting = threading.Thread(target=pacer.wait, daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    end(pacer)
    waiting.join(10.0)
    assert not waiting.is_alive()
