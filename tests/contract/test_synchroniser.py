# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What belongs to one instant comes together, in order, and nothing is waited for in vain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_ros.synchroniser import JUMP_BACK_S, KEPT, LATEST_S, Synchroniser

MS = 10**6


class Trial:
    """A synchroniser with a slop of 20 ms and a wait of 200 ms, fed in milliseconds."""

    def __init__(self, cameras="ab", with_depth=""):
        self.late = []
        self.subject = Synchroniser(list(cameras), list(with_depth), 0.02, 0.2, self.late.append)

    def heatmaps(self, camera, stamp, now):
        return self.shown(self.subject.heatmaps(camera, stamp * MS, f"{camera}{stamp}", now * MS))

    def depth(self, camera, stamp, now):
        return self.shown(self.subject.depth(camera, stamp * MS, f"depth {camera}{stamp}", now * MS))

    def ready(self, now):
        return self.shown(self.subject.ready(now * MS))

    def shown(self, groups):
        return [[v.heatmaps if v.depth is None else (v.heatmaps, v.depth) for v in g.values()] for g in groups]


def test_a_group_leaves_as_soon_as_it_is_complete():
    trial = Trial()
    assert trial.heatmaps("a", 1000, 1050) == []
    assert trial.heatmaps("b", 1010, 1060) == [["a1000", "b1010"]]
    assert trial.ready(5000) == []


def test_stamps_too_far_apart_are_two_instants():
    trial = Trial()
    assert trial.heatmaps("a", 1000, 1050) == []
    # Camera b is further already: what a saw cannot be completed any more.
    assert trial.heatmaps("b", 1030, 1060) == [["a1000"]]
    assert trial.heatmaps("a", 1040, 1070) == [["a1040", "b1030"]]
    assert trial.late == []


def test_a_silent_camera_is_waited_for_so_long_and_no_longer():
    trial = Trial()
    assert trial.heatmaps("a", 1000, 1050) == []
    assert trial.ready(1249) == []
    assert trial.ready(1250) == [["a1000"]]
    assert trial.heatmaps("a", 1100, 1250) == []
    assert trial.ready(1450) == [["a1100"]]


def test_what_comes_after_its_instant_is_reported_and_not_served_alone():
    trial = Trial()
    trial.heatmaps("a", 1000, 1050)
    assert trial.ready(1250) == [["a1000"]]
    assert trial.heatmaps("b", 1005, 1260) == []
    assert trial.late == ["b"]
    assert trial.ready(9999) == []


def test_the_same_stamp_twice_is_one_of_them():
    trial = Trial()
    trial.heatmaps("a", 1000, 1050)
    trial.heatmaps("a", 1000, 1051)
    assert trial.heatmaps("b", 1000, 1052) == [["a1000", "b1000"]]
    assert trial.late == ["a"]


def test_depth_may_come_before_or_after():
    trial = Trial("a", with_depth="a")
    assert trial.depth("a", 980, 990) == []
    assert trial.depth("a", 1005, 1010) == []
    assert trial.heatmaps("a", 1000, 1100) == [[("a1000", "depth a1005")]]
    assert trial.heatmaps("a", 1100, 1110) == []
    assert trial.depth("a", 1095, 1120) == [[("a1100", "depth a1095")]]


def test_depth_that_cannot_come_any_more_is_not_waited_for():
    trial = Trial("a", with_depth="a")
    assert trial.heatmaps("a", 1000, 1100) == []
    assert trial.depth("a", 1030, 1101) == [["a1000"]]


def test_depth_that_does_not_come_is_waited_for_so_long():
    trial = Trial("a", with_depth="a")
    assert trial.heatmaps("a", 1000, 1100) == []
    assert trial.ready(1299) == []
    assert trial.ready(1300) == [["a1000"]]


def test_each_camera_has_its_own_depth():
    trial = Trial(with_depth="ab")
    trial.depth("b", 1000, 1001)
    trial.heatmaps("a", 1000, 1002)
    trial.heatmaps("b", 1000, 1003)
    assert trial.depth("a", 1001, 1004) == [[("a1000", "depth a1001"), ("b1000", "depth b1000")]]


def test_a_camera_without_depth_is_not_asked_for_it():
    trial = Trial(with_depth="b")
    trial.heatmaps("a", 1000, 1002)
    trial.depth("b", 1000, 1003)
    assert trial.heatmaps("b", 1000, 1004) == [["a1000", ("b1000", "depth b1000")]]


def test_memory_is_bounded():
    trial = Trial(with_depth="ab")
    groups = []
    for n in range(10 * KEPT):  # nobody's clock advances, camera b is silent
        groups += trial.heatmaps("a", 1000 + 30 * n, 1000)
        trial.depth("a", 1000000 + n, 1000)
    assert len(groups) == 9 * KEPT
    assert len(trial.subject._cameras["a"].depths) <= KEPT


def test_a_recording_that_is_played_again_is_served_again():
    trial = Trial()
    again = 1000 + round(JUMP_BACK_S * 1000) + 1
    for stamp in (again, 1000):
        trial.heatmaps("a", stamp, 50000)
        assert trial.heatmaps("b", stamp, 50001) == [[f"a{stamp}", f"b{stamp}"]]
    assert trial.late == []


def test_a_camera_far_behind_the_others_is_late_and_not_a_recording_played_again():
    trial = Trial()
    behind = round(JUMP_BACK_S * 1000) + 500
    for stamp in (1000, 1100, 1200):
        trial.heatmaps("a", stamp + behind, stamp)
        trial.ready(stamp + 500)
        assert trial.heatmaps("b", stamp, stamp + 501) == []
    assert trial.late == ["b"] * 3


def test_a_camera_that_was_ahead_of_time_does_not_silence_the_others():
    trial = Trial()
    trial.heatmaps("a", 1000 + round(LATEST_S * 1000) + 100, 1000)
    assert len(trial.ready(1200)) == 1
    assert trial.heatmaps("b", 1010, 1210) == []
    assert trial.ready(1410) == [["b1010"]]


@pytest.mark.parametrize("cameras", ["a", "ab", "abc"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_traffic(cameras, data):
    """Frames every 100 ms, stamps within 10 ms of each other, some lost, arriving up to 300 ms later in any order."""
    frames = [
        (1000 + 100 * n + data.draw(st.integers(0, 10)), data.draw(st.integers(0, 300)), camera)
        for n in range(data.draw(st.integers(1, 12)))
        for camera in cameras
        if data.draw(st.integers(0, 9)) > 0
    ]
    trial, groups = Trial(cameras), []
    for stamp, delay, camera in sorted(frames, key=lambda f: f[0] + f[1]):
        groups += trial.ready(stamp + delay)
        groups += trial.heatmaps(camera, stamp, stamp + delay)
    groups += trial.ready(10**6)
    seen = [message for group in groups for message in group]
    assert len(seen) == len(set(seen))
    assert len(seen) + len(trial.late) == len(frames)
    stamps = [[int(message[1:]) for message in group] for group in groups]
    assert all(max(s) - min(s) <= 20 for s in stamps)
    assert [min(s) for s in stamps] == sorted(min(s) for s in stamps)
    prompt = [f for f in frames if f[1] < 90]  # the next frame of a camera does not overtake it
    if prompt == frames:  # then nothing comes too late, and all that was seen at one time is together
        assert trial.late == []
        assert sorted(len(g) for g in groups) == sorted(
            sum((f[0] - 1000) // 100 == n for f in frames) for n in {(f[0] - 1000) // 100 for f in frames}
        )
