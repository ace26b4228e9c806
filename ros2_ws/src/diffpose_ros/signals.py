# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How a process is told to stop. Knows nothing of ROS."""

from __future__ import annotations

import signal
from collections.abc import Iterable


def stop_on(signals: Iterable[signal.Signals]) -> list[int]:
    """Return a list, to be looked at now and then, that stays empty until one of these signals comes.

    No ``threading.Event``: a handler may interrupt whoever holds its lock.
    """
    came: list[int] = []
    for number in signals:
        signal.signal(number, lambda number, _: came.append(number))
    return came
