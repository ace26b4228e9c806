# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core.tracking import MAX_TRACKS, PersonTracker, TrackerConfig

pytest.importorskip("trackers", reason="not installed: trackers (the track extra)")

SIZE = torch.tensor([100.0, 300.0])


def boxes(*corners: tuple[float, float], size: torch.Tensor = SIZE) -> torch.Tensor:
    low = torch.tensor(corners).reshape(-1, 2)
    return torch.cat([low, low + size], -1)


def ids(tracker: PersonTracker, where: torch.Tensor, stamp_s: float, score: float = 0.8) -> list[int]:
    return list(tracker.update(where, torch.full((len(where),), score), stamp_s).values())


def test_people_are_somebody_from_their_first_image_on_in_any_order():
    tracker = PersonTracker()
    assert ids(tracker, boxes((0, 0), (500, 0)), 0.0) == [0, 1]
    assert ids(tracker, boxes((505, 0), (5, 0)), 0.1) == [1, 0]
    assert ids(tracker, boxes((800, 0), (510, 0), (10, 0)), 0.2) == [2, 1, 0]
    assert ids(tracker, boxes((15, 0)), 0.3) == [0]


@pytest.mark.parametrize("rate_hz", [5, 10, 30])
def test_ids_survive_half_a_second_of_nobody(rate_hz: int):
    tracker, period_s = PersonTracker(TrackerConfig(buffer_s=0.5)), 1 / rate_hz
    for t in range(2 * rate_hz):
        assert ids(tracker, boxes((0 + 40 * t * period_s, 0), (500 - 40 * t * period_s, 0)), t * period_s) == [0, 1]
    last = t
    for t in range(last + 1, last + 1 + (rate_hz - 1) // 2):
        assert ids(tracker, boxes(), t * period_s) == []
    back_s = last * period_s + 0.5
    assert ids(tracker, boxes((500 - 40 * back_s, 0), (40 * back_s, 0)), back_s) == [1, 0]


def seen_for_a_second(tracker: PersonTracker, box_at) -> None:
    """Ten images, then four of nobody; the next is of 1.4 s."""
    for t in range(10):
        assert ids(tracker, torch.tensor([box_at(t)]), t / 10) == [0]
    for t in range(10, 14):
        assert ids(tracker, boxes(), t / 10) == []


def test_an_arm_that_sinks_before_its_owner_is_hidden_loses_nobody():
    tracker = PersonTracker()
    # 300 px wide, 30 narrower with every image: half a second later less than nothing would be left of it.
    seen_for_a_second(tracker, lambda t: [0.0, 0.0, 400.0 - 30 * t, 300.0])
    assert ids(tracker, torch.tensor([[0.0, 0.0, 120.0, 300.0]]), 1.4) == [0]


@pytest.mark.parametrize("goes_on", [True, False])
def test_who_walks_into_hiding_may_go_on_or_stand_still(goes_on: bool):
    tracker = PersonTracker()
    seen_for_a_second(tracker, lambda t: [20.0 * t, 0.0, 20 * t + 100.0, 300.0])
    x = 20.0 * (14 if goes_on else 10)
    assert ids(tracker, torch.tensor([[x, 0.0, x + 100, 300.0]]), 1.4) == [0]


def test_who_appears_elsewhere_is_not_the_one_who_went():
    tracker = PersonTracker()
    seen_for_a_second(tracker, lambda t: [0.0, 0.0, 100.0, 300.0])
    assert ids(tracker, boxes((150, 0)), 1.4) == [1]
    assert ids(tracker, boxes((0, 0), (150, 0)), 1.5) == [0, 1]


def test_the_gap_may_be_one_of_the_stream():
    tracker = PersonTracker(TrackerConfig(buffer_s=0.5))
    assert ids(tracker, boxes((0, 0), (500, 0)), 7.0) == [0, 1]
    assert ids(tracker, boxes((500, 0), (0, 0)), 7.5) == [1, 0]
    assert ids(tracker, boxes((500, 0), (0, 0)), 8.1) == [2, 3]


def test_time_that_goes_back_makes_everybody_new_and_time_that_stands_does_not():
    tracker = PersonTracker()
    assert [ids(tracker, boxes((0, 0)), 5.0) for _ in range(3)] == [[0], [0], [0]]
    assert ids(tracker, boxes((0, 0)), 4.9) == [1]
    assert ids(tracker, boxes((0, 0)), 5.0) == [1]
    tracker.reset()
    assert ids(tracker, boxes((0, 0)), 5.1) == [2]


def test_a_low_score_continues_a_person_and_begins_none():
    tracker = PersonTracker(TrackerConfig(min_score=0.25))
    assert ids(tracker, boxes((0, 0)), 0.0, score=0.15) == []
    assert ids(tracker, boxes((0, 0)), 0.1, score=0.25) == [0]
    assert ids(tracker, boxes((2, 0)), 0.2, score=0.15) == [0]
    assert tracker.update(boxes((500, 0), (2, 0)), torch.tensor([0.2, 0.15]), 0.3) == {1: 0}


def test_limits_change_from_the_next_image_on():
    tracker = PersonTracker()
    assert ids(tracker, boxes((0, 0), (500, 0)), 0.0, score=0.4) == [0, 1]
    tracker.adjust(0.5, 3)
    assert ids(tracker, boxes((0, 0), (500, 0), (900, 0)), 0.1, score=0.4) == [0, 1]
    tracker.adjust(0.3, 1)
    assert len(ids(tracker, boxes((0, 0), (500, 0), (900, 0)), 0.2, score=0.4)) == 1


def test_the_nearer_are_kept_and_do_not_take_turns():
    tracker = PersonTracker(TrackerConfig(max_persons=2))
    everybody = torch.tensor([[0.0, 0, 70, 200], [300, 0, 400, 300], [600, 0, 730, 400]])
    assert tracker.update(everybody, torch.tensor([0.9, 0.8, 0.7]), 0.0) == {1: 1, 2: 2}
    assert tracker.update(everybody[:2], torch.tensor([0.9, 0.8]), 0.1) == {0: 0, 1: 1}
    # As tall as one who was kept, a newcomer waits; clearly taller, nearer that is, it replaces the smallest.
    newcomer = torch.tensor([[900.0, 0, 980, 240]])
    assert tracker.update(torch.cat([everybody[:2], newcomer]), torch.tensor([0.9, 0.8, 0.9]), 0.2) == {0: 0, 1: 1}
    newcomer = torch.tensor([[900.0, 0, 980, 260]])
    assert tracker.update(torch.cat([everybody[:2], newcomer]), torch.tensor([0.9, 0.8, 0.9]), 0.3) == {1: 1, 2: 3}


COORDINATES = st.floats(-500, 2000)
FOUND = st.lists(st.tuples(COORDINATES, COORDINATES, st.floats(1, 900), st.floats(0.1, 1)), max_size=6)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(-5, 20), FOUND), max_size=15), st.integers(1, 4))
def test_ids_are_never_shared_or_given_again(images, most: int):
    tracker = PersonTracker(TrackerConfig(buffer_s=1.0, max_persons=most))
    epoch, before = 0, -math.inf
    born: dict[int, int] = {}
    for stamp_s, found in images:
        epoch, before = epoch + (stamp_s < before), stamp_s
        where = torch.tensor([[x, y, x + s, y + 2 * s] for x, y, s, _ in found]).reshape(-1, 4)
        kept = tracker.update(where, torch.tensor([score for *_, score in found]), stamp_s)
        assert list(kept) == sorted(kept)
        assert set(kept) <= set(range(len(found)))
        assert len(set(kept.values())) == len(kept) <= most
        for number in kept.values():
            assert born.setdefault(number, epoch) == epoch  # nobody outlives a time that goes back


def test_memory_is_bounded_where_time_stands_still():
    tracker = PersonTracker()
    for t in range(3):
        where = boxes(*((2000.0 * i, 5000.0 * t) for i in range(300)))
        tracker.update(where, torch.full((300,), 0.9), 0.0)
    assert len(tracker) == MAX_TRACKS


@pytest.mark.parametrize(
    ("where", "scores", "stamp_s", "told"),
    [
        (torch.zeros(2, 3), torch.zeros(2), 0.0, r"boxes must have shape \*x4, got \(2, 3\)"),
        (boxes((0, 0)), torch.zeros(2), 0.0, r"scores must have shape 1, got \(2,\)"),
        (boxes((math.nan, 0)), torch.zeros(1), 0.0, "boxes holds a value that is not finite"),
        (boxes((0, 0), size=torch.tensor([-1.0, 1.0])), torch.ones(1), 0.0, "boxes must have x_max > x_min"),
        (boxes((0, 0)), torch.ones(1), math.inf, "stamp_s must be finite, got inf"),
    ],
)
def test_what_makes_no_sense_is_refused(where, scores, stamp_s: float, told: str):
    with pytest.raises(ValueError, match=told):
        PersonTracker().update(where, scores, stamp_s)


@pytest.mark.parametrize("bad", [{"buffer_s": -1.0}, {"min_score": 1.5}, {"max_persons": 0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must lie in"):
        TrackerConfig(**bad)
