# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import PosePosterior
from diffpose_core.observation import MISSING
from diffpose_core.temporal import TemporalConfig, TemporalFilter

PERSON = torch.randn(17, 3, generator=torch.Generator().manual_seed(9)) * 0.3 + torch.tensor([0.0, 0.0, 3.0])


def posterior(means: list[torch.Tensor], generator: torch.Generator, sd_m: float = 0.05) -> PosePosterior:
    """Sixty hypotheses about each mean."""
    joints = torch.stack([mean + sd_m * torch.randn(60, 17, 3, generator=generator) for mean in means])
    log_weights = torch.log_softmax(torch.randn(len(means), 60, generator=generator), -1)
    return PosePosterior(joints, log_weights, torch.zeros(len(means), 17, dtype=torch.long))


def seen(mean: torch.Tensor, generator: torch.Generator, sd_m: float = 0.05) -> PosePosterior:
    """A frame of one person: the mean is off by the share of the covariance that is fresh."""
    fresh = math.sqrt(TemporalConfig().fresh) * sd_m
    return posterior([mean + fresh * torch.randn(17, 3, generator=generator)], generator, sd_m)


def test_who_is_seen_for_the_first_time_is_left_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    over_time = TemporalFilter()
    post = posterior([PERSON, PERSON + 1], generator)
    first = over_time(post, [4, 7], 1.0)
    assert torch.equal(first.joints, post.joints)
    again = posterior([PERSON, PERSON + 1], generator)
    second = over_time(again, [7, 8], 1.1)  # 7 was another row, 8 is new
    assert torch.equal(second.joints[1], again.joints[1])
    assert not torch.equal(second.joints[0], again.joints[0])
    assert torch.equal(second.log_weights, again.log_weights)
    assert len(over_time) == 3


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_who_stands_still_hardly_trembles_and_is_found(rate_hz: float) -> None:
    generator, over_time = torch.Generator().manual_seed(1), TemporalFilter()
    frames = [seen(PERSON, generator) for _ in range(80)]
    after = [over_time(post, [0], t / rate_hz) for t, post in enumerate(frames)]
    alone, carried = (torch.stack([post.mean[0] for post in each[20:]]) for each in (frames, after))
    assert carried.diff(dim=0).square().mean().sqrt() < 0.4 * alone.diff(dim=0).square().mean().sqrt()
    error = (carried - PERSON).square().mean().sqrt()
    assert error < 0.6 * (alone - PERSON).square().mean().sqrt()
    # What is fresh of the variance is nearly gone, the rest is as it was.
    ratio = after[-1].covariance.diagonal(dim1=-2, dim2=-1).mean() / frames[-1].covariance.diagonal(
        dim1=-2, dim2=-1
    ).mean()  # fmt: skip
    assert 1 - TemporalConfig().fresh < ratio < 1 - 0.6 * TemporalConfig().fresh


def test_the_very_same_frames_give_the_very_same_mean() -> None:
    over_time = TemporalFilter()
    post = posterior([PERSON], torch.Generator().manual_seed(2))
    for t in range(30):
        torch.testing.assert_close(over_time(post, [0], t / 30).mean, post.mean, atol=1e-5, rtol=0)


def test_who_walks_is_followed_without_lag() -> None:
    generator, over_time = torch.Generator().manual_seed(3), TemporalFilter()
    velocity = torch.tensor([1.2, 0.0, -0.8])
    for t in range(60):
        truth = PERSON + velocity * t / 30
        now = over_time(seen(truth, generator), [0], t / 30)
    behind = ((now.mean[0] - truth).mean(0) @ velocity) / velocity.square().sum()
    assert abs(float(behind)) < 1 / 30  # one frame


def test_a_jump_is_followed_at_once() -> None:
    generator, over_time = torch.Generator().manual_seed(4), TemporalFilter()
    for t in range(30):
        over_time(seen(PERSON, generator), [0], t / 30)
    raised = PERSON.clone()
    raised[13] += torch.tensor([0.0, -1.0, 0.0])
    left = []
    for t in (30, 31, 32):
        now = over_time(seen(raised, generator), [0], t / 30)
        left.append(float((now.mean[0, 13] - raised[13]).norm()))
    assert left[0] < 0.35
    assert left[2] < 0.15


def test_gaps_and_stamps_that_go_back_begin_anew() -> None:
    generator, over_time = torch.Generator().manual_seed(5), TemporalFilter(TemporalConfig(max_gap_s=0.5))
    frames = [posterior([PERSON], generator) for _ in range(6)]

    def left_alone(t: int, stamp_s: float) -> bool:
        return torch.equal(over_time(frames[t], [0], stamp_s).joints, frames[t].joints)

    assert left_alone(0, 10.0)
    assert not left_alone(1, 10.5)
    assert left_alone(2, 11.01)
    assert left_alone(3, 11.01)
    assert left_alone(4, 3.0)
    assert not left_alone(5, 3.1)
    over_time.reset()
    assert len(over_time) == 0
    assert left_alone(0, 3.2)


def test_of_whom_nothing_is_known_nothing_is_carried() -> None:
    generator, over_time = torch.Generator().manual_seed(6), TemporalFilter()
    over_time(posterior([PERSON], generator), [0], 0.0)
    nothing = posterior([PERSON + 5], generator, 2.0)
    nothing = replace(nothing, status=torch.full((1, 17), MISSING))
    assert torch.equal(over_time(nothing, [0], 0.1).joints, nothing.joints)
    close = posterior([PERSON], generator)
    torch.testing.assert_close(over_time(close, [0], 0.2).mean[0], PERSON, atol=0.05, rtol=0)


def test_people_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(7)
    both, one = TemporalFilter(), TemporalFilter()
    for t in range(5):
        post = posterior([PERSON, PERSON + 2], generator)
        together = both(post, [1, 2], t / 10)
        torch.testing.assert_close(together.joints[1:], one(post.of([1]), [2], t / 10).joints)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(-1e3, 1e6), st.floats(1e-6, 3), st.integers(1, 70)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_any_frames_give_a_finite_posterior_no_wider_than_alone(frames: list[tuple[float, float, int]], random) -> None:
    generator, over_time = torch.Generator().manual_seed(random.randrange(2**31)), TemporalFilter()
    for stamp_s, sd_m, hypotheses in frames:
        whole = posterior([PERSON, PERSON + random.uniform(-3, 3)], generator, sd_m)
        post = PosePosterior(
            whole.joints[:, :hypotheses], torch.log_softmax(whole.log_weights[:, :hypotheses], -1), whole.status
        )
        ids = random.sample(range(4), 2)
        after = over_time(post, ids, stamp_s)  # a posterior that is not finite is refused by itself
        assert after.joints.shape == post.joints.shape
        pelvis = after.covariance[:, 0].diagonal(dim1=-2, dim2=-1)
        assert (pelvis <= 1.001 * post.covariance[:, 0].diagonal(dim1=-2, dim2=-1) + 1e-6).all()
    assert len(over_time) <= 4


def test_what_makes_no_sense_is_refused() -> None:
    over_time, post = TemporalFilter(), posterior([PERSON, PERSON], torch.Generator().manual_seed(8))
    with pytest.raises(ValueError, match=r"ids must be 2 different numbers, got \[1, 1\]"):
        over_time(post, [1, 1], 0.0)
    with pytest.raises(ValueError, match=r"ids must be 2 different numbers, got \[1\]"):
        over_time(post, [1], 0.0)
    with pytest.raises(ValueError, match="stamp_s must be finite, got nan"):
        over_time(post, [1, 2], math.nan)
    with pytest.raises(ValueError, match=r"limb_damping_s must be positive and finite, got 0\.0"):
        TemporalConfig(limb_damping_s=0.0)
    with pytest.raises(ValueError, match="fresh must lie below 1, got 1"):
        TemporalConfig(fresh=1.0)
