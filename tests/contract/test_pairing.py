# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""An image and its calibration: every image leaves once, with the right calibration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffpose_ros.pairing import DEPTH, LATCHED, LATEST, MODES, PER_FRAME, Pairing
from diffpose_ros.stamps import BadStamp, PassedOver, check_stamp


def pairing(mode):
    left = []
    return Pairing(mode, left.append, left.append), left


@given(st.sampled_from(MODES), st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=80))
def test_every_image_leaves_once_or_waits(mode, events):
    pairs, left = pairing(mode)
    paired, images = [], 0
    for number, (is_image, stamp) in enumerate(events):
        images += is_image
        pair = pairs.image(stamp, (stamp, number)) if is_image else pairs.info(stamp, stamp)
        if pair is not None:
            paired.append(pair)
    assert images == len(paired) + len(left) + len(pairs)
    assert len({image for image, _ in paired}) == len(paired)
    if mode == PER_FRAME:
        assert all(image[0] == info for image, info in paired)
        assert len(pairs) <= DEPTH
    waiting = len(pairs)
    assert pairs.clear() == waiting
    assert len(pairs) == 0


@pytest.mark.parametrize("mode", [LATEST, LATCHED])
def test_the_newest_calibration_holds(mode):
    pairs, left = pairing(mode)
    assert pairs.image(1, "a") is None
    assert pairs.image(2, "b") is None
    assert left == ["no camera_info yet"]
    assert pairs.info(7, "K") == ("b", "K")
    assert pairs.image(3, "c") == ("c", "K")
    assert pairs.info(8, "L") is None
    assert pairs.clear() == 0
    assert pairs.image(4, "d") == ("d", "L")


def test_an_image_without_calibration_is_refused_when_newer_ones_wait():
    pairs, left = pairing(PER_FRAME)
    for stamp in range(DEPTH + 1):
        assert pairs.image(stamp, stamp) is None
    assert left == ["no camera_info with the stamp of the image: is camera_info_topic right?"]
    assert pairs.info(0, "late") is None
    assert pairs.info(1, "K") == (1, "K")


S = 10**9


def test_stamps():
    check_stamp(100 * S, 100 * S, 0.5)
    check_stamp(100 * S, 100 * S + S // 2, 0.5)
    check_stamp(1, 100 * S, 0.0)
    check_stamp(100 * S + S // 4, 100 * S, 0.5)
    with pytest.raises(PassedOver, match="older than max_age_s"):
        check_stamp(99 * S, 100 * S, 0.5)
    for stamp_ns in (0, -1, -S, -(2**31) * S):
        with pytest.raises(BadStamp, match="stamp is zero or negative"):
            check_stamp(stamp_ns, 100 * S, 0.5)
    with pytest.raises(BadStamp, match="stamp is 4 s in the future"):
        check_stamp(104 * S, 100 * S, 0.0)
