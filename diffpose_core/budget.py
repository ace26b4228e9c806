# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""How many steps and hypotheses an inference may take, so that it ends in time.

Its time is modelled as

    unit * steps * (persons * hypotheses + OVERHEAD)

(docs/performance.md), and the unit is measured from frame to frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OVERHEAD = 70
"""What a step takes whatever the number of hypotheses, as so many of them: measured on two CPU cores."""
MIN_STEPS = 5
MIN_HYPOTHESES = 10
RECOVERY = 0.2
"""Weight of a frame that took less than expected; one that took more is believed at once."""


@dataclass(frozen=True)
class Effort:
    """What one inference takes.

    Attributes:
        steps: noise levels visited.
        hypotheses: skeletons per person.
        reduced: whether that is less than what was asked for.
    """

    steps: int
    hypotheses: int
    reduced: bool = False


class TimeBudget:
    """Chooses the effort of every frame: fewer steps first, down to ``MIN_STEPS``, then fewer hypotheses.

    Less than the minimum of both is never chosen, so that a budget too small for it is exceeded.

    Args:
        budget_s: time an inference may take, seconds; 0 for any.
        steps: at most.
        hypotheses: at most, per person.

    Raises:
        ValueError: a negative or infinite budget, or fewer than one step or hypothesis.
    """

    def __init__(self, budget_s: float, steps: int, hypotheses: int) -> None:
        if not (math.isfinite(budget_s) and budget_s >= 0):
            raise ValueError(f"budget_s must be finite and not negative, got {budget_s}")
        for name, value in (("steps", steps), ("hypotheses", hypotheses)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.budget_s, self.full = budget_s, Effort(steps, hypotheses)
        self._unit_s: float | None = None

    def expected_s(self, persons: int, effort: Effort) -> float | None:
        """Return how long an inference will take, seconds; None before the first was measured."""
        return None if self._unit_s is None else self._unit_s * _work(persons, effort.steps, effort.hypotheses)

    def choose(self, persons: int) -> Effort:
        """Return the effort for so many persons."""
        full = self.full
        expected_s = self.expected_s(persons, full)
        if self.budget_s == 0 or persons == 0 or expected_s is None or expected_s <= self.budget_s:
            return full
        assert self._unit_s is not None  # else nothing would be expected
        affordable = self.budget_s / self._unit_s
        fewest = min(MIN_STEPS, full.steps)
        steps = int(affordable / _work(persons, 1, full.hypotheses))
        if steps >= fewest:
            return Effort(min(steps, full.steps), full.hypotheses, steps < full.steps)
        hypotheses = int((affordable / fewest - OVERHEAD) / persons)
        hypotheses = min(max(hypotheses, MIN_HYPOTHESES), full.hypotheses)
        return Effort(fewest, hypotheses, fewest < full.steps or hypotheses < full.hypotheses)

    def record(self, persons: int, effort: Effort, elapsed_s: float) -> None:
        """Learn from an inference that took so long, seconds.

        Raises:
            ValueError: a time that is negative or not finite.
        """
        if not (math.isfinite(elapsed_s) and elapsed_s >= 0):
            raise ValueError(f"elapsed_s must be finite and not negative, got {elapsed_s}")
        if persons == 0 or elapsed_s == 0:
            return
        unit_s = elapsed_s / _work(persons, effort.steps, effort.hypotheses)
        if self._unit_s is not None and unit_s < self._unit_s:
            unit_s = self._unit_s + RECOVERY * (unit_s - self._unit_s)
        self._unit_s = unit_s


def _work(persons: int, steps: int, hypotheses: int) -> float:
    return steps * (persons * hypotheses + OVERHEAD)
