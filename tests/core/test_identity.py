# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""People keep their ids while any camera keeps them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core.identity import FusedIdentities


def test_people_are_numbered_and_found_again_in_any_order():
    who = FusedIdentities()
    assert who.update([{"left": 5, "right": 2}, {"left": 7}], 0.0) == [0, 1]
    assert who.update([{"left": 7}, {"right": 2, "left": 5}], 0.1) == [1, 0]


def test_one_camera_that_loses_somebody_changes_nothing():
    who = FusedIdentities()
    assert who.update([{"left": 5, "right": 2}], 0.0) == [0]
    assert who.update([{"right": 2}], 0.1) == [0]
    assert who.update([{"left": 9, "right": 2}], 0.2) == [0]
    assert who.update([{"left": 9}], 0.3) == [0]


def test_most_cameras_decide():
    who = FusedIdentities()
    assert who.update([{"a": 0, "b": 0, "c": 0}, {"a": 1, "b": 1, "c": 1}], 0.0) == [0, 1]
    assert who.update([{"a": 1, "b": 0, "c": 0}, {"a": 0, "b": 1, "c": 1}], 0.1) == [0, 1]


def test_of_two_that_were_one_the_one_of_more_cameras_keeps_the_id():
    who = FusedIdentities()
    assert who.update([{"a": 0, "b": 0, "c": 0}], 0.0) == [0]
    assert who.update([{"c": 0}, {"a": 0, "b": 0}], 0.1) == [1, 0]


def test_who_is_unseen_for_too_long_is_somebody_new():
    who = FusedIdentities(buffer_s=1.0)
    assert who.update([{"a": 0}], 0.0) == [0]
    assert who.update([], 0.5) == []
    assert who.update([{"a": 0}], 1.0) == [0]
    assert who.update([{"a": 0}], 2.1) == [1]


def test_a_recording_that_begins_again_makes_everybody_new():
    who = FusedIdentities()
    assert who.update([{"a": 0}], 10.0) == [0]
    assert who.update([{"a": 0}], 9.9) == [1]


@pytest.mark.parametrize(
    ("persons", "stamp_s", "words"),
    [
        ([{}], 0.0, "seen by at least one camera"),
        ([{"a": 3}, {"a": 3}], 0.0, r"got \('a', 3\) twice"),
        ([{"a": 3}], math.nan, "stamp_s must be finite, got nan"),
    ],
)
def test_bad_input_is_refused(persons, stamp_s, words):
    with pytest.raises(ValueError, match=words):
        FusedIdentities().update(persons, stamp_s)


def test_a_negative_buffer_is_refused():
    with pytest.raises(ValueError, match="buffer_s must not be negative, got -1"):
        FusedIdentities(-1)


@given(
    st.lists(
        st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 4), min_size=1), max_size=4).filter(
            lambda people: len({k for p in people for k in p.items()}) == sum(map(len, people))
        ),
        max_size=8,
    )
)
def test_ids_differ_and_whoever_stays_the_same_keeps_his(instants):
    who, before = FusedIdentities(), {}
    for n, people in enumerate(instants):
        ids = who.update(people, 0.1 * n)
        assert len(set(ids)) == len(people)
        now = {tuple(sorted(p.items())): number for p, number in zip(people, ids, strict=True)}
        if now.keys() == before.keys():
            assert now == before
        before = now
