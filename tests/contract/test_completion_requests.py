# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Requests for completion are taken or refused by name."""

import numpy as np
import pytest
import torch

from diffpose.srv import Complete
from diffpose_ros.completion import MAX_SKELETONS, completion_from_request


def a_request(persons=2, **changes):
    joints = np.arange(persons * 51, dtype=np.float32)
    joints[1] = np.nan  # of a joint that is not known
    known = [False, *[True] * 16] * persons
    values = {"skeleton": "H36M17", "joints": joints.tolist(), "known": known, "std": [0.02]} | changes
    return Complete.Request(**values)


def test_a_request():
    found = completion_from_request(a_request(), 50)
    assert found.joints.shape == (2, 17, 3)
    assert found.joints[1, 16].tolist() == [99.0, 100.0, 101.0]
    assert found.known.tolist() == [[False, *[True] * 16]] * 2
    torch.testing.assert_close(found.std, torch.full((2, 17), 0.02))
    assert (found.num_hypotheses, found.root_relative) == (50, False)


def test_everything_can_be_said():
    std = np.linspace(0.01, 0.34, 34).tolist()
    found = completion_from_request(a_request(std=std, num_hypotheses=7, root_relative=True), 50)
    assert found.std[1, 16] == pytest.approx(0.34)
    assert (found.num_hypotheses, found.root_relative) == (7, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"skeleton": "COCO17"}, "skeleton must be H36M17, got 'COCO17'"),
        ({"known": []}, "known must hold a positive multiple of 17 values, got 0"),
        ({"known": [True] * 33}, "known must hold a positive multiple of 17 values, got 33"),
        ({"known": [True] * 17 + [False] * 17}, "known must hold at least one joint of person 1"),
        ({"joints": [0.0] * 51}, "joints must hold 2 x 17 x 3 = 102 values as known says, got 51"),
        ({"std": []}, "std must hold 1 or 34 values, got 0"),
        ({"std": [0.1] * 17}, "std must hold 1 or 34 values, got 17"),
        ({"num_hypotheses": 60000}, f"num_hypotheses x persons must be at most {MAX_SKELETONS}, got 60000 x 2"),
    ],
)
def test_bad_requests_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        completion_from_request(a_request(**changes), 50)
