# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What happens to a node in the midst of a long inference: the clock is set, heatmaps come, it is deactivated."""

import sys
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock

from diffpose.msg import Hypotheses
from diffpose.srv import Complete
from diffpose_core import PosePrior

sys.path.insert(0, str(Path(__file__).parent))
import scene
from managed import ACTIVATE, DEACTIVATE, Managed

NAME = "long/diffusion_node"
HEATMAPS, HYPOTHESES = "/long/human_pose2d/heatmaps", "/long/human_pose3d/hypotheses"
SERVICE = "/long/human_pose3d/complete"
LONG, SHORT = 800, 1
"""Steps of an inference that takes several seconds (diagnostics tell of it once a second), and of a short one."""


@pytest.fixture(scope="module")
def diffusion(client, start):
    client.listen(Hypotheses, HYPOTHESES)
    start("diffusion_node", "long", device="cpu", num_hypotheses=50, steps=SHORT, use_sim_time=True, temporal=False)
    return Managed(client, NAME)


@pytest.fixture(scope="module")
def people():
    return scene.people()


def set_clock(client, second):
    client.publish("/clock", Clock(clock=Time(sec=second)))
    client.spin(0.2)


def counts(client):
    return {n: client.count(NAME, n) for n in ("received", "processed", "dropped", "refused", "failed")}


def serves(client, people, second):
    """Heatmaps of this stamp are served."""
    processed = client.count(NAME, "processed")
    client.messages[HYPOTHESES].clear()
    client.publish(HEATMAPS, scene.heatmaps("left", people, Time(sec=second)))
    client.wait(lambda: client.messages[HYPOTHESES], "hypotheses")
    assert [m.header.stamp.sec for m in client.messages[HYPOTHESES]] == [second]
    client.wait_count(NAME, "processed", processed + 1)


def test_what_was_begun_before_the_clock_was_set_back_is_not_published(diffusion, people):
    client = diffusion.client
    set_clock(client, 100)
    serves(client, people, 99)
    assert diffusion.set(steps=LONG) == [""]
    client.messages[HYPOTHESES].clear()
    client.publish(HEATMAPS, scene.heatmaps("left", people, Time(sec=100)))
    client.wait_count(NAME, "received", 2)
    set_clock(client, 50)
    client.wait_count(NAME, "dropped: the clock was set back", 1)
    assert client.messages[HYPOTHESES] == []
    assert diffusion.set(steps=SHORT) == [""]
    serves(client, people, 50)
    assert counts(client) == {"received": 3, "processed": 2, "dropped": 1, "refused": 0, "failed": 0}


def test_what_has_become_too_old_while_it_was_worked_on_is_not_published(diffusion, people):
    client = diffusion.client
    before = counts(client)
    assert diffusion.set(max_age_s=5.0, steps=LONG) == ["", ""]
    client.messages[HYPOTHESES].clear()
    client.publish(HEATMAPS, scene.heatmaps("left", people, Time(sec=50)))
    client.wait_count(NAME, "received", before["received"] + 1)
    set_clock(client, 56)
    client.wait_count(NAME, "dropped: older than max_age_s", 1)
    assert client.messages[HYPOTHESES] == []
    assert diffusion.set(steps=SHORT) == [""]
    serves(client, people, 51)
    assert diffusion.set(max_age_s=0.0) == [""]
    assert counts(client) == before | {
        "received": before["received"] + 2, "processed": before["processed"] + 1, "dropped": before["dropped"] + 1,
    }  # fmt: skip


def ask(client, num_hypotheses=50):
    """Begin a completion."""
    if SERVICE not in client._services:
        client._services[SERVICE] = client.node.create_client(Complete, SERVICE)
    client.wait(client._services[SERVICE].service_is_ready, "the service")
    joints = PosePrior.from_pretrained().sample(1)[0].flatten().tolist()
    request = Complete.Request(skeleton="H36M17", joints=joints, known=[True] * 17, std=[0.01])
    request.num_hypotheses = num_hypotheses
    return client._services[SERVICE].call_async(request)


def test_heatmaps_are_received_during_a_completion_and_served_after_it(diffusion, people):
    client = diffusion.client
    before = counts(client)
    assert diffusion.set(steps=LONG) == [""]
    answer = ask(client, num_hypotheses=150)
    client.spin(0.5)  # it is in work by now, and keeps its steps
    assert diffusion.set(steps=SHORT) == [""]
    client.messages[HYPOTHESES].clear()
    for second in (46, 47, 48):
        client.publish(HEATMAPS, scene.heatmaps("left", people, Time(sec=second)))
    client.wait_count(NAME, "received", before["received"] + 3)
    assert not answer.done()
    client.wait(answer.done, "the completion")
    assert (answer.result().success, answer.result().message) == (True, "")
    assert answer.result().hypotheses.steps == LONG
    client.wait(lambda: [m for m in client.messages[HYPOTHESES] if m.header.stamp.sec == 48], "the newest")
    client.wait_count(NAME, "completions", 1)

    def settled():
        now = counts(client)
        return now["received"] == sum(now.values()) - now["received"]

    client.wait(settled, "every one to be accounted for")
    assert (client.count(NAME, "refused"), client.count(NAME, "failed")) == (0, 0)


def test_a_node_is_deactivated_during_a_completion(diffusion, people):
    """It ends the completion, then obeys; afterwards it works as before."""
    client = diffusion.client
    assert diffusion.set(steps=LONG) == [""]
    answer = ask(client, num_hypotheses=150)
    client.spin(0.5)
    assert not answer.done()
    assert diffusion.change(DEACTIVATE)
    assert diffusion.state == "inactive"
    client.wait_count(NAME, "completions", 2)
    assert diffusion.set(steps=SHORT) == [""]
    assert diffusion.change(ACTIVATE)
    client.wait(lambda: client.node.count_subscribers(HEATMAPS) == 1, "somebody to listen")
    client.spin(0.5)
    serves(client, people, 49)
    answer = ask(client)
    client.wait(answer.done, "the completion")
    assert answer.result().success
    assert answer.result().hypotheses.steps == SHORT
    assert client.count(NAME, "failed") == client.count(NAME, "completions_failed") == 0
