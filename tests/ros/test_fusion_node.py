# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Two cameras, a depth stream, and poses to complete: the nodes as processes, on people whose places are known."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from diffpose.msg import Hypotheses, PersonHypotheses, SkeletonDefinition
from diffpose.srv import Complete
from diffpose_core import H36M17, PosePrior
from diffpose_core.budget import MIN_HYPOTHESES, MIN_STEPS

sys.path.insert(0, str(Path(__file__).parent))
import scene
from managed import Managed

FUSED, ONE = "/human_pose3d/hypotheses", "/rgbd/human_pose3d/hypotheses"
SERVICE = "/rgbd/human_pose3d/complete"
NEAR_M = 0.06


@pytest.fixture(scope="module")
def people():
    return scene.people()


@pytest.fixture(scope="module")
def extrinsics(tmp_path_factory):
    """Where both cameras are."""
    file = tmp_path_factory.mktemp("extrinsics") / "extrinsics.yaml"
    file.write_text(scene.extrinsics())
    return str(file)


@pytest.fixture(scope="module")
def nodes(client, start, extrinsics):
    """The fusion node on two cameras, and the diffusion node of an RGB-D camera in a namespace of its own."""
    client.listen(Hypotheses, FUSED)
    client.listen(Hypotheses, ONE)
    start("fusion_node", extrinsics_file=extrinsics, use_depth=False, device="cpu", sync_wait_s=1.0)
    start("diffusion_node", "rgbd", use_depth=True, device="cpu", sync_wait_s=1.0, depth_reliability="reliable")
    return client


def send(nodes, people, stamp=None, cameras=("left", "right"), **changes):
    """Publish what cameras see; return the one result that comes of it."""
    nodes.messages[FUSED].clear()
    stamp = stamp or nodes.node.get_clock().now().to_msg()
    for name in cameras:
        nodes.publish(f"/{name}/human_pose2d/heatmaps", scene.heatmaps(name, people, stamp, **changes.get(name, {})))
    nodes.wait(lambda: nodes.messages[FUSED], "fused hypotheses")
    return nodes.messages[FUSED][0]


def send_depth(nodes, people, image, source=None):
    """Publish heatmaps and a depth image, in this order; return the result."""
    nodes.messages[ONE].clear()
    nodes.publish("/rgbd/human_pose2d/heatmaps", source or scene.heatmaps("left", people, image.header.stamp))
    nodes.publish("/rgbd/depth/image", image)
    nodes.wait(lambda: nodes.messages[ONE], "hypotheses")
    return nodes.messages[ONE][0]


def now(nodes):
    return nodes.node.get_clock().now().to_msg()


def new_second(nodes, later=1):
    """So many seconds later, the beginning of one: all stamps before are older."""
    begun = now(nodes).sec + later
    nodes.wait(lambda: now(nodes).sec >= begun, "a new second")
    return begun


def test_two_people_are_found_in_the_room(nodes, people):
    """The cameras list the people in different orders: they are told apart by where they stand."""
    stamp = now(nodes)
    message = send(nodes, people, stamp, right={"order": (1, 0), "scores": (0.95, 0.7)})
    assert message.header.frame_id == "map"
    assert message.header.stamp == stamp
    assert (message.skeleton, message.num_hypotheses, message.num_joints) == ("H36M17", 50, 17)
    assert [p.id for p in message.persons] == [0, 1]
    assert [p.score for p in message.persons] == [pytest.approx(0.95), pytest.approx(0.9)]  # falling
    found = sorted(message.persons, key=lambda p: p.mean[0])
    assert [scene.error_m(p, truth) < NEAR_M for p, truth in zip(found, people, strict=True)] == [True, True]
    # The score is that of the camera that was surest of the person.
    nodes.wait_count("fusion_node", "persons_seen_by_2", 2)
    assert [p.score for p in found] == [pytest.approx(0.9), pytest.approx(0.95)]
    assert all(set(p.status) == {PersonHypotheses.OBSERVED} for p in found)
    assert all(np.isfinite(p.log_evidence) for p in found)


def test_people_keep_their_ids_while_a_camera_keeps_them(nodes, people):
    """The cameras list the people in any order, one loses them and finds them again by other ids."""

    def ids(message):
        return [p.id for p in sorted(message.persons, key=lambda p: p.mean[1])]  # across the view of the left camera

    begun = new_second(nodes)
    stamps = [Time(sec=begun, nanosec=n * 10**8) for n in range(4)]  # however long the answers take
    first = ids(send(nodes, people, stamps[0]))
    assert len(set(first)) == 2
    assert ids(send(nodes, people, stamps[1], right={"order": (1, 0)})) == first
    assert ids(send(nodes, people, stamps[2], cameras=("left",))) == first
    nodes.messages[FUSED].clear()
    left, right = (scene.heatmaps(name, people, stamps[3]) for name in ("left", "right"))
    for person in left.persons:
        person.id += 10
    nodes.publish("/left/human_pose2d/heatmaps", left)
    nodes.publish("/right/human_pose2d/heatmaps", right)
    nodes.wait(lambda: nodes.messages[FUSED], "fused hypotheses")
    assert ids(nodes.messages[FUSED][0]) == first


def test_posteriors_are_carried_over_instants_if_wanted(nodes, people):
    node = Managed(nodes, "fusion_node")
    begun = new_second(nodes, 2)  # more than a second with nobody before
    stamps = iter(Time(sec=begun, nanosec=n * 10**8) for n in range(5))

    def seen():
        return sorted(send(nodes, people, next(stamps)).persons, key=lambda p: p.id)

    assert node.set(temporal=False) == [""]
    alone = [seen() for _ in range(2)]
    for one, other in zip(*alone, strict=True):
        np.testing.assert_array_equal(one.joints, other.joints)
    assert node.set(temporal=True) == [""]
    carried = [seen() for _ in range(3)]
    np.testing.assert_array_equal(carried[0][0].joints, alone[0][0].joints)
    # The same heatmaps: the same mean, of which the earlier instants have made surer.
    np.testing.assert_allclose(carried[2][0].mean, alone[0][0].mean, atol=1e-4)
    spread = [np.reshape(person.covariance, (17, 6))[:, [0, 3, 5]].sum() for person in (alone[0][0], carried[2][0])]
    assert spread[1] < 0.95 * spread[0]


def test_the_skeleton_is_latched(nodes):
    nodes.listen(SkeletonDefinition, "/human_pose3d/skeleton", latched=True)
    nodes.wait(lambda: nodes.messages["/human_pose3d/skeleton"], "the latched skeleton")
    assert list(nodes.messages["/human_pose3d/skeleton"][0].joint_names) == list(H36M17.joints)


def test_a_camera_that_stops_is_missed_and_done_without(nodes, people):
    one = {"order": (0,)}
    both = scene.error_m(send(nodes, people, left=one, right=one).persons[0], people[0])
    degraded = nodes.count("fusion_node", "degraded: without camera right")
    alone = [send(nodes, people, cameras=("left",), left=one) for _ in range(2)]
    assert both < 0.3 * scene.error_m(alone[1].persons[0], people[0])
    nodes.wait_count("fusion_node", "degraded: without camera right", degraded + 2)
    assert nodes.health["fusion_node"]["last_complaint"].startswith("degraded: without camera right: no heatmaps")
    assert nodes.count("fusion_node", "degraded: without camera left") == 0
    # And it is welcome back.
    assert scene.error_m(send(nodes, people, left=one, right=one).persons[0], people[0]) < NEAR_M


def test_a_camera_that_sends_nonsense_is_done_without(nodes, people):
    def spoilt(change, words):
        nodes.messages[FUSED].clear()
        before = nodes.count("fusion_node", "degraded")
        stamp = now(nodes)
        good, bad = (scene.heatmaps(name, people, stamp) for name in ("left", "right"))
        change(bad)
        nodes.publish("/left/human_pose2d/heatmaps", good)
        nodes.publish("/right/human_pose2d/heatmaps", bad)
        nodes.wait(lambda: nodes.messages[FUSED], "hypotheses of the other camera")
        nodes.wait_count("fusion_node", "degraded", before + 1)
        assert len(nodes.messages[FUSED][0].persons) == 2
        assert words in nodes.health["fusion_node"]["last_complaint"]

    spoilt(lambda m: setattr(m, "tile_width", 47), "without camera right: persons[0].log_density must hold")
    spoilt(lambda m: setattr(m.header, "frame_id", "roof"), "without camera right: frame_id must be 'right_optical_")
    spoilt(lambda m: setattr(m, "camera_info", CameraInfo()), "without camera right: camera_info")
    assert nodes.count("fusion_node", "failed") == 0


def test_when_no_camera_makes_sense_the_instant_is_refused(nodes, people):
    before = nodes.count("fusion_node", "refused")
    stamp = now(nodes)
    for name in ("left", "right"):
        message = scene.heatmaps(name, people, stamp)
        message.skeleton = "HALPE"
        nodes.publish(f"/{name}/human_pose2d/heatmaps", message)
    nodes.wait_count("fusion_node", "refused", before + 1)
    assert "camera left: skeleton must be one of" in nodes.health["fusion_node"]["last_complaint"]
    assert len(send(nodes, people).persons) == 2


def test_swapped_cameras_have_less_evidence(nodes, people):
    """The same two images, of which each is said to be of the other camera."""
    one = {"order": (0,)}
    right = send(nodes, people, left=one, right=one).persons[0].log_evidence
    nodes.messages[FUSED].clear()
    stamp = now(nodes)
    for name, other in (("left", "right"), ("right", "left")):
        message = scene.heatmaps(other, people, stamp, order=(0,))
        message.header.frame_id = f"{name}_optical_frame"
        nodes.publish(f"/{name}/human_pose2d/heatmaps", message)
    nodes.wait(lambda: nodes.messages[FUSED], "fused hypotheses")
    wrong = nodes.messages[FUSED][0].persons
    # Either the two views are taken for two people, or for one of whom they contradict each other.
    assert len(wrong) == 2 or wrong[0].log_evidence < right - 20


def test_nobody_is_a_result_too(nodes, people):
    message = send(nodes, people, left={"order": ()}, right={"order": ()})
    assert message.persons == []
    assert message.header.frame_id == "map"


def test_depth_shows_how_far_people_are_in_both_encodings(nodes, people):
    results = [send_depth(nodes, people, scene.depth("left", people, now(nodes), e)) for e in ("16UC1", "32FC1")]
    truth = scene.seen_by("left", people)
    for message in results:
        assert message.header.frame_id == "left_optical_frame"
        for person, joints in zip(message.persons, truth, strict=True):
            assert abs(person.mean[2] - float(joints[0, 2])) < 0.08
            assert person.covariance[5] ** 0.5 < 0.08
    # 16UC1 rounds to millimetres.
    first, second = (np.array(m.persons[0].mean) for m in results)
    np.testing.assert_allclose(first, second, atol=0.01)
    processed = nodes.count("rgbd/diffusion_node", "processed")
    nodes.wait_count("rgbd/diffusion_node", "processed", max(processed, 2))
    assert nodes.count("rgbd/diffusion_node", "degraded") == 0


def test_without_depth_it_goes_on_and_says_so(nodes, people):
    nodes.messages[ONE].clear()
    source = scene.heatmaps("left", people, now(nodes))
    nodes.publish("/rgbd/human_pose2d/heatmaps", source)
    nodes.wait(lambda: nodes.messages[ONE], "hypotheses")
    without = nodes.messages[ONE][0].persons[0]
    nodes.wait_count("rgbd/diffusion_node", "degraded: without depth", 1)
    assert "without depth: no image within sync_slop_s" in nodes.health["rgbd/diffusion_node"]["last_complaint"]
    with_depth = send_depth(nodes, people, scene.depth("left", people, now(nodes))).persons[0]
    assert without.covariance[5] > 4 * with_depth.covariance[5]


def test_bad_depth_is_refused_by_name(nodes, people):
    node = "rgbd/diffusion_node"

    def spoilt(words, **changes):
        before = nodes.count(node, "refused")
        image = scene.depth("left", people, now(nodes))
        for name, value in changes.items():
            setattr(image.header if name == "frame_id" else image, name, value)
        nodes.publish("/rgbd/human_pose2d/heatmaps", scene.heatmaps("left", people, image.header.stamp))
        nodes.publish("/rgbd/depth/image", image)
        nodes.wait_count(node, "refused", before + 1)
        assert words in nodes.health[node]["last_complaint"]

    spoilt("depth is 640 x 240 px, camera_info is for 640 x 480", height=240)
    spoilt("depth encoding must be one of 16UC1, 32FC1, got 'mono16'", encoding="mono16")
    spoilt("depth step must be at least width x 4 = 2560, got 1280", encoding="32FC1")
    spoilt("depth frame_id must be that of the heatmaps", frame_id="depth_optical_frame")
    assert nodes.count(node, "failed") == 0
    assert len(send_depth(nodes, people, scene.depth("left", people, now(nodes))).persons) == 2


def test_a_short_budget_holds_for_several_cameras(client, start, people, extrinsics):
    node, topic = "hurried/fusion_node", "/hurried/human_pose3d/hypotheses"
    client.listen(Hypotheses, topic)
    less = {"num_hypotheses": 20, "steps": 6, "time_budget_s": 1e-4}
    start("fusion_node", "hurried", extrinsics_file=extrinsics, device="cpu", sync_wait_s=5.0, **less)

    def effort():
        client.messages[topic].clear()
        stamp = now(client)
        for name in ("left", "right"):
            client.publish(f"/hurried/{name}/human_pose2d/heatmaps", scene.heatmaps(name, people, stamp))
        client.wait(lambda: client.messages[topic], "fused hypotheses")
        (found,) = client.messages[topic]
        assert len(found.persons) == 2
        return found.steps, found.num_hypotheses, found.reduced

    assert effort() == (6, 20, False)  # nothing was measured yet
    assert effort() == (MIN_STEPS, MIN_HYPOTHESES, True)
    client.wait_count(node, "degraded: time budget", 1)
    assert client.health[node]["last_complaint"] == "degraded: time budget: 5 steps, 10 hypotheses"


def test_several_cameras_with_depth(client, start, people, extrinsics):
    """Depth that is missing or bad costs as little as it can, and each is counted."""
    node, topic = "deep/fusion_node", "/deep/human_pose3d/hypotheses"
    client.listen(Hypotheses, topic)
    parameters = {"use_depth": True, "depth_reliability": "reliable", "sync_wait_s": 1.0, "device": "cpu"}
    start("fusion_node", "deep", extrinsics_file=extrinsics, **parameters)

    def look(cameras=("left", "right"), depth=("left", "right"), encoding="16UC1"):
        client.messages[topic].clear()
        stamp = now(client)
        for name in depth:
            client.publish(f"/deep/{name}/depth/image", scene.depth(name, people, stamp, encoding))
        for name in cameras:
            client.publish(f"/deep/{name}/human_pose2d/heatmaps", scene.heatmaps(name, people, stamp))
        client.wait(lambda: client.messages[topic], "fused hypotheses")
        found = client.messages[topic][0].persons
        return [scene.error_m(p, truth) for p, truth in zip(found, people, strict=True)]

    assert max(look()) < NEAR_M
    client.wait_count(node, "processed", 1)
    assert client.count(node, "degraded") == 0
    assert max(look(depth=("left",))) < NEAR_M
    client.wait_count(node, "degraded: without depth of camera right", 1)
    # One camera alone has to know the distance from its depth.
    assert max(look(cameras=("left",), depth=("left",))) < 2 * NEAR_M
    client.wait_count(node, "degraded: without camera right", 1)
    image = scene.depth("right", people, now(client))
    image.encoding = "mono16"
    client.publish("/deep/right/depth/image", image)
    client.publish("/deep/right/human_pose2d/heatmaps", scene.heatmaps("right", people, image.header.stamp))
    client.wait_count(node, "refused", 1)
    assert "camera right: depth encoding must be one of" in client.health[node]["last_complaint"]
    assert max(look(encoding="32FC1")) < NEAR_M


def a_request(**changes):
    """One pose without its left arm."""
    pose = PosePrior.from_pretrained().sample(1, generator=torch.Generator().manual_seed(3))[0]
    joints = pose + torch.tensor([0.3, 0.2, 3.0])
    known = [name not in ("LElbow", "LWrist") for name in H36M17.joints]
    joints[[not k for k in known]] = torch.nan
    request = Complete.Request(skeleton="H36M17", joints=joints.flatten().tolist(), known=known, std=[0.01])
    request.header.frame_id, request.header.stamp = "somewhere", Time(sec=7)
    for name, value in changes.items():
        setattr(request, name, value)
    return request, joints


def test_a_pose_is_completed(nodes):
    request, joints = a_request(num_hypotheses=20, seed=4)
    response = nodes.call(Complete, SERVICE, request)
    assert (response.success, response.message) == (True, "")
    result = response.hypotheses
    assert result.header == request.header
    assert (result.skeleton, result.num_hypotheses, result.num_joints) == ("H36M17", 20, 17)
    person = result.persons[0]
    mean, known = torch.tensor(person.mean).reshape(17, 3), torch.tensor(request.known)
    assert float((mean - joints)[known].norm(dim=-1).max()) < 0.04
    elbow = mean[H36M17.index("LElbow")] - joints[H36M17.index("LShoulder")]
    assert 0.1 < float(elbow.norm()) < 0.45
    inferred = [H36M17.joints[j] for j, s in enumerate(person.status) if s == PersonHypotheses.INFERRED]
    assert inferred == ["LElbow", "LWrist"]
    again = nodes.call(Complete, SERVICE, request)
    assert again.hypotheses.persons[0].joints == person.joints
    nodes.wait_count("rgbd/diffusion_node", "completions", 2)


def test_a_pose_without_a_place_is_completed_about_its_pelvis(nodes):
    request, joints = a_request(root_relative=True)
    pelvis = joints[0].clone()
    request.joints = (joints - pelvis).flatten().tolist()
    response = nodes.call(Complete, SERVICE, request)
    assert response.success
    assert response.hypotheses.num_hypotheses == 50
    mean = torch.tensor(response.hypotheses.persons[0].mean).reshape(17, 3)
    assert mean[0].tolist() == [0.0, 0.0, 0.0]
    known = torch.tensor(request.known)
    assert float((mean - joints + pelvis)[known].norm(dim=-1).max()) < 0.04


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"skeleton": "COCO17"}, "skeleton must be H36M17, got 'COCO17'"),
        ({"known": [True] * 16}, "known must hold a positive multiple of 17 values, got 16"),
        (
            {"known": [True] * 17},
            "joints holds a value that is not finite where known is true, at index (0, 12, 0): nan",
        ),
        ({"joints": [0.0] * 50}, "joints must hold 1 x 17 x 3 = 51 values as known says, got 50"),
        ({"std": [0.0]}, "std must be positive and finite"),
        ({"std": [float("nan")]}, "std must be positive and finite"),
        ({"num_hypotheses": 20000}, "num_hypotheses x persons must be at most 2000, got 20000 x 1"),
    ],
)
def test_bad_requests_are_answered(nodes, changes, words):
    node = "rgbd/diffusion_node"
    before = nodes.count(node, "completions_refused")
    response = nodes.call(Complete, SERVICE, a_request(**changes)[0])
    assert not response.success
    assert words in response.message
    assert response.hypotheses.persons == []
    nodes.wait_count(node, "completions_refused", before + 1)
    assert nodes.count(node, "completions_failed") == 0


def test_images_are_served_while_a_long_completion_runs(nodes, people):
    """Heatmaps that come meanwhile are received, and the newest of them is served after it."""
    request, _ = a_request(num_hypotheses=2000)
    future = nodes._services[SERVICE].call_async(request)
    nodes.messages[ONE].clear()
    received = nodes.count("rgbd/diffusion_node", "received")
    stamps = []
    for _ in range(5):
        image = scene.depth("left", people, now(nodes))
        stamps.append(image.header.stamp)
        nodes.publish("/rgbd/human_pose2d/heatmaps", scene.heatmaps("left", people, stamps[-1]))
        nodes.publish("/rgbd/depth/image", image)
    nodes.wait(lambda: nodes.messages[ONE] and nodes.messages[ONE][-1].header.stamp == stamps[-1], "the newest")
    nodes.wait(future.done, "the completion")
    assert future.result().success
    nodes.wait_count("rgbd/diffusion_node", "received", received + 5)


def test_without_a_file_the_cameras_are_found_in_tf(client, start, people):
    """Before the transforms are known heatmaps are refused; afterwards they are served."""
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS distribution, not with the wheels")
    from geometry_msgs.msg import TransformStamped

    client.listen(Hypotheses, "/tf_room/human_pose3d/hypotheses")
    start("fusion_node", "tf_room", device="cpu", sync_wait_s=1.0)

    def look():
        stamp = now(client)
        for name in ("left", "right"):
            client.publish(f"/tf_room/{name}/human_pose2d/heatmaps", scene.heatmaps(name, people, stamp))

    look()
    client.wait_count("tf_room/fusion_node", "refused", 1)
    assert "no transform from 'left_optical_frame' to 'map'" in client.health["tf_room/fusion_node"]["last_complaint"]
    transforms = []
    for name, (translation, rotation) in scene.POSES.items():
        message = TransformStamped(child_frame_id=f"{name}_optical_frame")
        message.header.frame_id = "map"
        t, q = message.transform.translation, message.transform.rotation
        (t.x, t.y, t.z), (q.x, q.y, q.z, q.w) = translation, rotation
        transforms.append(message)
    broadcaster = tf2_ros.StaticTransformBroadcaster(client.node)
    broadcaster.sendTransform(transforms)
    client.spin(1.0)
    look()
    messages = client.messages["/tf_room/human_pose3d/hypotheses"]
    client.wait(lambda: messages, "fused hypotheses")
    assert all(scene.error_m(p, truth) < NEAR_M for p, truth in zip(messages[0].persons, people, strict=True))


def test_without_a_file_and_without_tf_the_node_ends_and_says_so(run_once):
    if importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    status, output = run_once("fusion_node")
    assert status == 1
    assert "cannot configure: parameter extrinsics_file is empty, and there is no TF to ask: No module named" in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (scene.extrinsics().replace("translation", "position", 1), "cameras.left.translation is missing"),
        (scene.extrinsics(right=(0.0, 0.0, 0.0, 2.0)), "cameras.right: quaternion (x, y, z, w) must have length 1"),
        (scene.extrinsics("odom"), "target_frame is 'odom', the parameter target_frame is 'map'"),
        (None, "extrinsics.yaml"),
    ],
)
def test_wrong_extrinsics_end_the_node_at_once_and_say_which(run_once, tmp_path, text, words):
    path = tmp_path / "extrinsics.yaml"
    if text is not None:
        path.write_text(text)
    status, output = run_once("fusion_node", extrinsics_file=str(path))
    assert status == 1
    assert "cannot configure" in output
    assert words in output
    assert "Traceback" not in output
