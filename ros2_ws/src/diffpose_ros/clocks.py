# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The clock that never jumps nor stops, and when one is set back, as when a recording begins again."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration

BACKWARDS = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
"""For ``create_jump_callback``: by however little, or when the clock becomes another."""


def steady() -> Clock:
    """Return a clock for timers that must go on whatever the node's own clock does."""
    return Clock(clock_type=ClockType.STEADY_TIME)
