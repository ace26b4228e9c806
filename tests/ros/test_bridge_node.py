# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The bridge node and the frame of the results, as processes; against the true packages where they are installed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.time import Time as RclpyTime
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, Hypotheses, PersonHeatmaps
from diffpose_core import COCO17, PosePosterior, PosePrior
from diffpose_core.kinematics import ANGLES, body_rotation, joint_angles
from diffpose_ros import conversions

sys.path.insert(0, str(Path(__file__).parent))
import scene

COMES_WITH = "comes with a ROS distribution, not with the wheels"
FRAME = "left_optical_frame"


def posterior(persons=2, samples=10):
    generator = torch.Generator().manual_seed(0)
    poses = PosePrior.from_pretrained().sample(persons, generator=generator) + torch.tensor([0.2, 0.1, 3.0])
    joints = poses[:, None] + 0.03 * torch.randn(persons, samples, 17, 3, generator=generator)
    log_weights = torch.full((persons, samples), 1 / samples).log()
    return PosePosterior(
        joints, log_weights, torch.zeros(persons, 17, dtype=torch.long), log_evidence=torch.zeros(persons)
    )


def hypotheses(stamp, ids=(3, 12), frame_id=FRAME, post=None):
    post = post or posterior(len(ids))
    header = Header(stamp=stamp, frame_id=frame_id)
    return conversions.hypotheses_message(post, header, list(ids), [0.9] * len(ids))[0]


def heatmaps(stamp, ids=(3, 12)):
    """What a detector says of the same persons: COCO17 keypoints; the tiles are never looked at."""
    message = Heatmaps(header=Header(stamp=stamp, frame_id=FRAME), skeleton=COCO17.name)
    message.camera_info.width, message.camera_info.height = 640, 480
    for number in ids:
        person = PersonHeatmaps(id=number, score=0.8, box=[63.5, 47.5, 191.5, 431.5])
        person.keypoints = [value for _ in COCO17.joints for value in (127.5 + number, 239.5)]
        person.visibility = [0.5] * len(COCO17)
        person.log_density = [0.0] * 1000
        message.persons.append(person)
    return message


def change(client, node, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    assert client.call(ChangeState, f"/{node}/change_state", request).success


def topics_of(client, name, namespace):
    """Topics that a node publishes or subscribes, and its services."""
    node = client.node
    return {
        topic
        for ask in (
            node.get_publisher_names_and_types_by_node,
            node.get_subscriber_names_and_types_by_node,
            node.get_service_names_and_types_by_node,
        )
        for topic, _ in ask(name, namespace)
    }


def now(client):
    return client.node.get_clock().now().to_msg()


@pytest.mark.parametrize(
    ("parameter", "package"),
    [("publish_tf", "tf2_ros"), ("publish_humans", "hri_msgs"), ("publish_detections", "vision_msgs")],
)
def test_what_is_not_installed_is_refused_by_name(run_once, parameter, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    status, output = run_once("bridge_node", **{parameter: True})
    assert status == 1
    assert f"parameter {parameter} is true, and {package}" in output
    assert f"is not installed: No module named '{package}'" in output
    assert "Traceback" not in output


def test_without_tf_no_other_frame_is_promised(run_once):
    if importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    status, output = run_once("diffusion_node", target_frame="map")
    assert status == 1
    assert "parameter target_frame is 'map', and there is no TF to ask: No module named 'tf2_ros'" in output


def test_a_bridge_of_which_nothing_is_asked_says_so(client, start):
    start("bridge_node", "idle")
    client.wait(lambda: client.health.get("idle/bridge_node", {}).get("publishes") == "nothing", "its diagnostics")
    client.publish("/idle/human_pose3d/hypotheses", hypotheses(now(client)))
    client.wait_count("idle/bridge_node", "processed", 1)


def test_frames_of_the_bodies(client, start):
    tf2_ros = pytest.importorskip("tf2_ros", reason=f"tf2_ros {COMES_WITH}")
    buffer = tf2_ros.Buffer(node=client.node)
    tf2_ros.TransformListener(buffer, client.node)
    start("bridge_node", "left", publish_tf=True)
    stamp, post = now(client), posterior()
    client.publish("/left/human_pose3d/hypotheses", hypotheses(stamp, post=post))
    time = RclpyTime.from_msg(stamp)
    client.wait(lambda: buffer.can_transform(FRAME, "r_wrist_left_p12", time), "the last frame")
    for p, number in enumerate((3, 12)):
        for j, name in ((0, "body"), (3, "r_ankle"), (13, "l_wrist")):
            transform = buffer.lookup_transform(FRAME, f"{name}_left_p{number}", time).transform
            t, q = transform.translation, transform.rotation
            np.testing.assert_allclose([t.x, t.y, t.z], post.mean[p, j].numpy(), atol=1e-5)
            turn = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
            np.testing.assert_allclose(turn, body_rotation(post.mean[p].double()).numpy(), atol=1e-5)
    # A frame that begins nowhere, ids that are none, and a person who faces both ways.
    node = "left/bridge_node"
    client.publish("/left/human_pose3d/hypotheses", hypotheses(now(client), frame_id=""))
    client.wait_count(node, "refused", 1)
    assert "header.frame_id must name a frame" in client.health[node]["last_complaint"]
    client.publish("/left/human_pose3d/hypotheses", hypotheses(now(client), ids=(3, 3)))
    client.wait_count(node, "refused", 2)
    assert "ids of persons must differ, got [3, 3]" in client.health[node]["last_complaint"]
    both = post.of([0])
    both.joints[:, ::2] = (both.joints[:, ::2] - both.joints[:, ::2, :1]) * torch.tensor([-1.0, 1, -1]) + post.mean[
        0, 0
    ]
    client.publish("/left/human_pose3d/hypotheses", hypotheses(now(client), (40,), post=both))
    client.wait_count(node, "degraded: a body faces nowhere", 1)
    client.wait_count(node, "processed", 2)
    assert not buffer.can_transform(FRAME, "body_left_p40", RclpyTime())


def test_bodies_of_rep_155(client, start):
    messages = pytest.importorskip("hri_msgs.msg", reason=f"hri_msgs {COMES_WITH}")
    bodies, node = "/humans/bodies", "bridge_node"
    kinds = {
        "skeleton2d": messages.Skeleton2D,
        "roi": messages.NormalizedRegionOfInterest2D,
        "joint_states": JointState,
    }
    client.listen(messages.IdsList, f"{bodies}/tracked")
    for number in (3, 12):
        for name, kind in kinds.items():
            client.listen(kind, f"{bodies}/p{number}/{name}")
    start("bridge_node", publish_humans=True, lost_after_s=1.5)
    lists = client.messages[f"{bodies}/tracked"]

    def see(with_heatmaps=True, ids=(3, 12)):
        stamp = now(client)
        if with_heatmaps:
            client.publish("/human_pose2d/heatmaps", heatmaps(stamp, ids))
        client.publish("/human_pose3d/hypotheses", hypotheses(stamp, ids))
        client.wait(lambda: lists and lists[-1].header.stamp == stamp, "the list of bodies")
        return stamp

    def complete(stamp):
        newest = [client.messages[f"{bodies}/p{n}/{name}"][-1:] for n in (3, 12) for name in kinds]
        return all(m and m[0].header.stamp == stamp for m in newest)

    see()  # the first messages of a new topic may come before its publisher is known
    client.spin(1.0)
    stamp = see()
    client.wait(lambda: complete(stamp), "every topic of both bodies")
    assert list(lists[-1].ids) == ["p3", "p12"]
    angles = joint_angles(posterior().mean.double())
    for p, number in enumerate((3, 12)):
        state, points, region = (
            client.messages[f"{bodies}/p{number}/{name}"][-1] for name in ("joint_states", "skeleton2d", "roi")
        )
        assert list(state.name) == [f"{name}_p{number}" for name in ANGLES]
        np.testing.assert_allclose(state.position, angles[p].numpy(), atol=1e-4)
        nose = points.skeleton[messages.Skeleton2D.NOSE]
        assert (nose.x, nose.y, nose.c) == pytest.approx(((128 + number) / 640, 0.5, 0.5))
        values = (region.xmin, region.ymin, region.xmax, region.ymax, region.c)
        assert values == pytest.approx((0.1, 0.1, 0.3, 0.9, 0.8))
    # Hypotheses without heatmaps: no points of the image, and it is counted.
    see(with_heatmaps=False)
    client.wait_count(node, "degraded: without heatmaps", 1)
    # Nothing comes any more: nobody is tracked. And they come back.
    client.wait(lambda: list(lists[-1].ids) == [], "the empty list")
    see()
    assert list(lists[-1].ids) == ["p3", "p12"]
    # Another who publishes the one list of bodies.
    other = client.node.create_publisher(messages.IdsList, f"{bodies}/tracked", 1)
    client.spin(1.0)
    see()
    client.wait_count(node, f"degraded: another node publishes {bodies}/tracked", 1)
    client.node.destroy_publisher(other)
    # Topics of those who are gone go away, although nothing comes; who comes back has them again.
    see()
    client.spin(4.0)
    assert f"{bodies}/p3/roi" in topics_of(client, node, "/")
    gone = {f"{bodies}/p{n}/{name}" for n in (3, 12) for name in kinds}
    client.wait(lambda: not gone & topics_of(client, node, "/"), "the topics of both to go")
    see(ids=(12,))
    assert f"{bodies}/p3/roi" not in topics_of(client, node, "/")
    assert f"{bodies}/p12/roi" in topics_of(client, node, "/")
    # A bridge that is deactivated leaves nobody behind; cleaned up, no topic; and it can begin again.
    change(client, node, Transition.TRANSITION_DEACTIVATE)
    client.wait(lambda: list(lists[-1].ids) == [], "the empty list")
    client.wait(lambda: f"{bodies}/p12/roi" not in topics_of(client, node, "/"), "the topics of p12 to go")
    change(client, node, Transition.TRANSITION_CLEANUP)
    client.wait(lambda: f"{bodies}/tracked" not in topics_of(client, node, "/"), "the list's topic to go")
    change(client, node, Transition.TRANSITION_CONFIGURE)
    change(client, node, Transition.TRANSITION_ACTIVATE)
    client.spin(1.0)
    see()
    assert list(lists[-1].ids) == ["p3", "p12"]


def test_detections(client, start):
    messages = pytest.importorskip("vision_msgs.msg", reason=f"vision_msgs {COMES_WITH}")
    flat, deep = "/seen/human_pose2d/detections", "/seen/human_pose3d/detections"
    client.listen(messages.Detection2DArray, flat)
    client.listen(messages.Detection3DArray, deep)
    start("bridge_node", "seen", publish_detections=True, id_prefix="person")
    stamp = now(client)
    client.publish("/seen/human_pose2d/heatmaps", heatmaps(stamp))
    client.publish("/seen/human_pose3d/hypotheses", hypotheses(stamp))
    client.wait(lambda: client.messages[flat] and client.messages[deep], "detections")
    for topic in (flat, deep):
        message = client.messages[topic][0]
        assert (message.header.stamp, message.header.frame_id) == (stamp, FRAME)
        assert [d.id for d in message.detections] == ["person3", "person12"]
    pose = client.messages[deep][0].detections[1].results[0].pose
    p, post = pose.pose.position, posterior()
    np.testing.assert_allclose([p.x, p.y, p.z], post.mean[1, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(
        np.reshape(pose.covariance, (6, 6))[:3, :3], post.covariance[1, 0].numpy(), rtol=1e-3, atol=1e-7
    )


def test_results_in_another_frame(client, start):
    """No result while the transform is missing; then the result of the camera's frame, turned into the target's."""
    tf2_ros = pytest.importorskip("tf2_ros", reason=f"tf2_ros {COMES_WITH}")
    people, results = scene.people(), {}
    for space, frame in (("here", ""), ("there", "map")):
        client.listen(Hypotheses, f"/{space}/human_pose3d/hypotheses")
        start("diffusion_node", space, target_frame=frame, num_hypotheses=10, device="cpu")
    node = "there/diffusion_node"
    client.publish("/there/human_pose2d/heatmaps", scene.heatmaps("left", people, now(client)))
    client.wait_count(node, "refused", 1)
    assert f"no transform from '{FRAME}' to 'map'" in client.health[node]["last_complaint"]
    message = TransformStamped(child_frame_id=FRAME)
    message.header.frame_id = "map"
    t, q = message.transform.translation, message.transform.rotation
    (t.x, t.y, t.z), (q.x, q.y, q.z, q.w) = scene.POSES["left"]
    tf2_ros.StaticTransformBroadcaster(client.node).sendTransform(message)
    client.spin(1.0)
    stamp = now(client)
    for space in ("here", "there"):
        client.publish(f"/{space}/human_pose2d/heatmaps", scene.heatmaps("left", people, stamp))
        messages = client.messages[f"/{space}/human_pose3d/hypotheses"]
        client.wait(lambda messages=messages: messages, f"hypotheses of {space}")
        results[space] = messages[0]
    assert [results[s].header.frame_id for s in ("here", "there")] == [FRAME, "map"]
    assert results["there"].header.stamp == stamp
    pose = scene.transform(*scene.POSES["left"])
    for one, other in zip(results["here"].persons, results["there"].persons, strict=True):
        for name in ("mean", "joints"):
            points = torch.tensor(getattr(one, name)).reshape(-1, 3) @ pose[:, :3].T + pose[:, 3]
            np.testing.assert_allclose(points, np.reshape(getattr(other, name), (-1, 3)), atol=1e-4)
        turned = []
        for values in np.reshape(one.covariance, (-1, 6)):
            xx, xy, xz, yy, yz, zz = values
            full = pose[:, :3].numpy() @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ pose[:, :3].numpy().T
            turned.append([full[a, b] for a, b in conversions.UPPER])
        np.testing.assert_allclose(turned, np.reshape(other.covariance, (-1, 6)), rtol=1e-2, atol=1e-5)
    # And another camera's frame, of which TF knows nothing, is refused still.
    client.publish("/there/human_pose2d/heatmaps", scene.heatmaps("right", people, now(client)))
    client.wait_count(node, "refused", 2)
    assert client.count(node, "failed") == 0
    # Cleaned up, it listens to TF no more.
    change(client, node, Transition.TRANSITION_DEACTIVATE)
    assert "/tf" in topics_of(client, "diffusion_node", "/there")
    change(client, node, Transition.TRANSITION_CLEANUP)
    left = {"/tf", "/tf_static", "/there/tf2_frames"}
    client.wait(lambda: not left & topics_of(client, "diffusion_node", "/there"), "the subscriptions of TF to go")
