# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What RViz is told to draw."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from diffpose_core import H36M17, PosePosterior
from diffpose_core.observation import INFERRED
from diffpose_ros.markers import MarkerBuilder, quaternion


def posterior(persons=2, samples=30):
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(persons, samples, 17, 3, generator=generator) * torch.tensor([0.1, 0.2, 0.4])
    joints = joints + torch.tensor([0.0, 0.0, 3.0]) + torch.randn(1, 1, 17, 3, generator=generator)
    log_weights = torch.log_softmax(torch.randn(persons, samples, generator=generator), 1)
    status = torch.zeros(persons, 17, dtype=torch.long)
    status[0, H36M17.index("LWrist")] = INFERRED
    return PosePosterior(joints, log_weights, status)


def build(post, **changes):
    settings_ = {"max_skeletons": 20, "ellipsoid_sigmas": 1.0, "lifetime_s": 1.5} | changes
    header = Header(frame_id="camera_optical_frame")
    return MarkerBuilder(**settings_)(post, header, list(range(len(post))), [0.5] * len(post)).markers


def test_the_first_marker_deletes_and_all_share_the_frame():
    markers = build(posterior())
    assert markers[0].action == Marker.DELETEALL
    assert {m.header.frame_id for m in markers} == {"camera_optical_frame"}
    assert len(markers) == 1 + 2 * (2 + 17 + 1)
    assert len({(m.ns, m.id) for m in markers[1:]}) == len(markers) - 1
    assert (markers[1].lifetime.sec, markers[1].lifetime.nanosec) == (1, 500000000)


def test_skeletons_fade_with_their_weight():
    post = posterior()
    lines = next(m for m in build(post, max_skeletons=30) if m.ns == "hypotheses")
    bones = len(H36M17.edges)
    assert len(lines.points) == len(lines.colors) == 30 * bones * 2
    alphas = np.array([c.a for c in lines.colors])[:: 2 * bones]
    weights = np.sort(post.weights[0].numpy())[::-1]
    assert (np.diff(alphas) <= 0).all()
    np.testing.assert_allclose(alphas[0], 0.35, atol=1e-6)
    np.testing.assert_allclose((alphas - 0.04) / 0.31, weights / weights[0], atol=1e-5)


def test_only_so_many_skeletons_are_drawn():
    lines = next(m for m in build(posterior(), max_skeletons=3) if m.ns == "hypotheses")
    assert len(lines.points) == 3 * len(H36M17.edges) * 2


def test_ellipsoids_are_the_covariances():
    post = posterior()
    spheres = [m for m in build(post, ellipsoid_sigmas=2.0) if m.ns == "covariance"]
    assert len(spheres) == 34
    for n, marker in enumerate(spheres):
        p, j = divmod(n, 17)
        o, c = marker.pose.orientation, marker.pose.position
        rotation = Rotation.from_quat([o.x, o.y, o.z, o.w]).as_matrix()
        axes = np.array([marker.scale.x, marker.scale.y, marker.scale.z]) / 2 / 2.0
        covariance = rotation @ np.diag(axes**2) @ rotation.T
        np.testing.assert_allclose(covariance, post.covariance[p, j].numpy(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose([c.x, c.y, c.z], post.mean[p, j].numpy(), rtol=1e-5)


def test_what_was_not_seen_looks_different():
    markers = build(posterior())
    wrist = H36M17.index("LWrist")
    spheres = [m for m in markers if m.ns == "covariance"]
    hidden, seen = spheres[wrist], spheres[17 + wrist]
    assert (hidden.color.r, hidden.color.g, hidden.color.b) != (seen.color.r, seen.color.g, seen.color.b)
    first, second = (m for m in markers if m.ns == "mean")
    assert len(second.points) == 2 * len(H36M17.edges)
    assert len(first.points) == 2 * (len(H36M17.edges) - 1) + 6  # the bone to the wrist is dashed


@pytest.mark.parametrize("up", [(0.0, -1.0, 0.0), (0.0, 0.0, 1.0)])
def test_the_label_is_above_the_head_whichever_axis_is_up(up):
    post = posterior(1)
    head = post.joints[:, :, :1] + 0.7 * torch.tensor(up)
    post.joints[:, :, H36M17.index("HeadTop")] = head[:, :, 0]
    label = next(m for m in build(post) if m.ns == "label").pose.position
    pelvis = post.mean[0, 0].numpy()
    np.testing.assert_allclose([label.x, label.y, label.z], pelvis + 0.95 * np.array(up), atol=1e-4)


def test_nobody_means_nothing_is_left_on_the_screen():
    markers = build(PosePosterior(torch.zeros(0, 5, 17, 3), torch.zeros(0, 5), torch.zeros(0, 17, dtype=torch.long)))
    assert [m.action for m in markers] == [Marker.DELETEALL]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_quaternions(seed):
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    back = Rotation.from_quat(quaternion(rotation)).as_matrix()
    np.testing.assert_allclose(back, rotation, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quaternions_of_half_turns(axis):
    turn = -np.eye(3)
    turn[axis, axis] = 1
    np.testing.assert_allclose(Rotation.from_quat(quaternion(turn)).as_matrix(), turn, atol=1e-12)
