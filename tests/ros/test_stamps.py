# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Stamps that cannot be true do not disturb what is matched by stamps."""

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

    now = client.stamp()
    ahead = Time(sec=now.sec + 3600, nanosec=0)
    depth(ahead)
    client.wait_count(node, "degraded: depth image refused", 1)
    heatmaps(ahead)
    client.wait_count(node, "refused", 1)
    assert "in the future" in client.health[node]["last_complaint"]
    # Heatmaps that come before their depth image still wait for it.
    now = client.stamp()
    heatmaps(now)
    depth(now)
    client.wait_count(node, "processed", 1)
    counts = client.health[node]
    assert (counts["received"], counts["refused"], counts["dropped"], counts["failed"]) == ("2", "1", "0", "0")
    assert "degraded: without depth" not in counts
