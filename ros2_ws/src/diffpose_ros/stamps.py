# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Which stamps can be worked with. Knows nothing of ROS."""

from __future__ import annotations

FUTURE_S = 0.5
"""Clocks of two machines differ by less; a stamp further ahead tells that one of them is not set."""
CLOCK_SET_BACK = "the clock was set back"
TOO_OLD = "older than max_age_s"
"""Why inputs are dropped."""


class BadStamp(ValueError):
    """The stamp says nothing that could be true."""


class PassedOver(Exception):
    """The input is good, and its time is over; the text is the reason it is counted with."""


def check_stamp(stamp_ns: int, now_ns: int, max_age_s: float) -> None:
    """Check a stamp against the node's clock.

    Args:
        stamp_ns: when the image was taken.
        now_ns: the node's clock.
        max_age_s: 0 for no limit.

    Raises:
        BadStamp: it is zero or negative, or further ahead than clocks differ.
        PassedOver: it is older than the limit.
    """
    age_s = (now_ns - stamp_ns) * 1e-9
    if stamp_ns <= 0:
        raise BadStamp("stamp is zero or negative: nobody can tell how old that is, nor find its transforms")
    if age_s < -FUTURE_S:
        raise BadStamp(f"stamp is {-age_s:.3g} s in the future: are the machines' clocks alike, is use_sim_time right?")
    if max_age_s and age_s > max_age_s:
        raise PassedOver(TOO_OLD)
