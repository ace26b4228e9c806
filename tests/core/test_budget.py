# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core.budget import MIN_HYPOTHESES, MIN_STEPS, OVERHEAD, Effort, TimeBudget

PERSONS = st.integers(1, 30)
TIMES_S = st.floats(1e-5, 100)


def test_without_a_budget_or_a_measured_time_everything_is_taken():
    free = TimeBudget(0.0, 10, 50)
    free.record(1, free.full, 100.0)
    assert free.choose(8) == Effort(10, 50)
    assert TimeBudget(1e-6, 10, 50).choose(8) == Effort(10, 50)


def test_steps_go_first_and_hypotheses_after_them():
    budget = TimeBudget(0.1, 10, 50)
    budget.record(1, budget.full, 0.12)  # 0.1 ms for a hypothesis and step
    assert budget.choose(1) == Effort(8, 50, True)
    assert budget.choose(2) == Effort(5, 50, True)
    assert budget.choose(3) == Effort(5, 43, True)
    assert budget.choose(20) == Effort(5, 10, True)


def test_slower_is_believed_at_once_and_faster_by_and_by():
    budget = TimeBudget(0.1, 10, 50)
    budget.record(1, budget.full, 0.1)
    budget.record(1, budget.full, 0.2)
    assert budget.expected_s(1, budget.full) == pytest.approx(0.2)
    budget.record(1, budget.full, 0.1)
    assert budget.expected_s(1, budget.full) == pytest.approx(0.18)
    for _ in range(40):
        budget.record(1, budget.full, 0.05)
    assert budget.choose(1) == budget.full


@given(TIMES_S, st.integers(1, 40), st.integers(1, 200), st.lists(st.tuples(PERSONS, TIMES_S), min_size=1), PERSONS)
def test_the_effort_is_the_largest_that_ends_in_time(budget_s, steps, hypotheses, frames, persons):
    budget = TimeBudget(budget_s, steps, hypotheses)
    for count, elapsed_s in frames:
        effort = budget.choose(count)
        budget.record(count, effort, elapsed_s)
        # What was just measured is never taken for less than it took.
        assert budget.expected_s(count, effort) >= elapsed_s * (1 - 1e-9)
    effort = budget.choose(persons)
    least = Effort(min(MIN_STEPS, steps), min(MIN_HYPOTHESES, hypotheses))
    assert least.steps <= effort.steps <= steps
    assert least.hypotheses <= effort.hypotheses <= hypotheses
    assert effort.reduced == ((effort.steps, effort.hypotheses) != (steps, hypotheses))
    assert effort.hypotheses == hypotheses or effort.steps == least.steps
    if (effort.steps, effort.hypotheses) != (least.steps, least.hypotheses):
        assert budget.expected_s(persons, effort) <= budget_s * (1 + 1e-9)
    for more in (Effort(effort.steps + 1, effort.hypotheses), Effort(effort.steps, effort.hypotheses + 1)):
        if more.steps <= steps and more.hypotheses <= hypotheses:
            assert budget.expected_s(persons, more) > budget_s * (1 - 1e-9)


@given(st.lists(st.floats(1e-4, 1e-2), min_size=20, max_size=60), PERSONS)
def test_frames_are_late_only_when_the_machine_has_just_become_slower(units_s, persons):
    budget, known = TimeBudget(0.3, 25, 50), 0.0
    for unit_s in units_s:
        effort = budget.choose(persons)
        took_s = unit_s * effort.steps * (persons * effort.hypotheses + OVERHEAD)
        smallest = (effort.steps, effort.hypotheses) == (MIN_STEPS, MIN_HYPOTHESES)
        if known and unit_s <= known and not smallest:
            assert took_s <= 0.3 * (1 + 1e-9)
        budget.record(persons, effort, took_s)
        known = unit_s


@pytest.mark.parametrize(
    ("arguments", "told"),
    [((-1.0, 10, 50), "budget_s"), ((float("nan"), 10, 50), "budget_s"), ((1.0, 0, 50), "steps"), ((1.0, 1, 0), "hyp")],
)
def test_bad_settings_are_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        TimeBudget(*arguments)


def test_bad_times_are_refused():
    budget = TimeBudget(1.0, 10, 50)
    with pytest.raises(ValueError, match="elapsed_s must be finite and not negative, got -1"):
        budget.record(1, budget.full, -1.0)
