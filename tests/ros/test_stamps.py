# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Stamps that cannot be true do not disturb what is matched by stamps."""

import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses
from diffpose_core import Camera
from diffpose_ros import conversions


def empty_heatmaps(header):
    info = conversions.camera_info(Camera.from_field_of_view(64, 48, 60), header)
    names = list(conversions.SKELETONS["COCO17"].joints)
    return Heatmaps(
        header=header, camera_info=info, skeleton="COCO17", joint_names=names, tile_height=64, tile_width=48
    )


def test_one_image_from_the_future_spoils_no_pairs(client, start):
    node = "ahead/diffusion_node"
    start("diffusion_node", "ahead", use_depth=True, depth_reliability="reliable", sync_wait_s=5.0)
    client.listen(Hypotheses, "/ahead/human_pose3d/hypotheses")

    def depth(stamp):
        message = Image(header=Header(stamp=stamp, frame_id="cam"), height=48, width=64, encoding="16UC1", step=128)
        message.data.frombytes(bytes(128 * 48))
        client.publish("/ahead/depth/image", message)

    def heatmaps(stamp):
        client.publish("/ahead/human_pose2d/heatmaps", empty_heatmaps(Header(stamp=stamp, frame_id="cam")))

    def served(processed, refused):
        """Heatmaps that come before their depth image still wait for it, whatever was refused before."""
        now = client.stamp()
        heatmaps(now)
        depth(now)
        client.wait_count(node, "processed", processed)
        counts = client.health[node]
        names = ("received", "refused", "dropped", "failed")
        assert [counts[name] for name in names] == [str(processed + refused), str(refused), "0", "0"]

    now = client.stamp()
    ahead = Time(sec=now.sec + 3600, nanosec=0)
    depth(ahead)
    client.wait_count(node, "degraded: depth image refused", 1)
    heatmaps(ahead)
    client.wait_count(node, "refused", 1)
    assert "in the future" in client.health[node]["last_complaint"]
    served(processed=1, refused=1)
    assert "degraded: without depth" not in client.health[node]
    # Before 1970 was nobody.
    depth(Time(sec=-1))
    client.wait_count(node, "degraded: depth image refused", 2)
    heatmaps(Time(sec=-1))
    client.wait_count(node, "refused", 2)
    assert "stamp is zero or negative" in client.health[node]["last_complaint"]
    served(processed=2, refused=2)


def nobody(header):
    return Hypotheses(header=header, skeleton="H36M17", num_hypotheses=5, num_joints=17)


@pytest.fixture(scope="module")
def marker(client, start):
    """A marker node, and what publishes to it."""
    start("marker_node", "stamped")
    return lambda stamp: client.publish("/stamped/human_pose3d/hypotheses", nobody(Header(stamp=stamp, frame_id="cam")))


def test_a_negative_stamp_is_refused_and_the_next_message_served(client, marker):
    node = "stamped/marker_node"
    marker(Time(sec=-1))
    client.wait_count(node, "refused", 1)
    assert client.health[node]["last_complaint"].startswith("refused: stamp is zero or negative")
    marker(client.stamp())
    client.wait_count(node, "processed", 1)
    counts = client.health[node]
    names = ("received", "processed", "dropped", "refused", "failed")
    assert [counts[name] for name in names] == ["2", "1", "0", "1", "0"]


def test_a_complaint_that_names_a_value_is_logged_once(client, marker, logs):
    """Every message of a machine whose clock is ahead tells another time."""
    node = "stamped/marker_node"
    before = client.count(node, "received")
    for ahead_s in (20, 300, 4000):
        now = client.stamp()
        marker(Time(sec=now.sec + ahead_s, nanosec=now.nanosec))
        client.spin(0.2)
    client.wait_count(node, "received", before + 3)
    client.wait_count(node, "refused", 2)
    lines = [line for line in (logs / "stamped.marker_node.log").read_text().splitlines() if "in the future" in line]
    assert len(lines) == 1, lines
