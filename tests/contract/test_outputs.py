# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Skeletons as TF frames, as bodies of REP 155 and as detections, against the true message types where they are."""

import math

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from diffpose.msg import Heatmaps, PersonHeatmaps, PersonHypotheses
from diffpose_core import COCO17, H36M17, PosePosterior, PosePrior
from diffpose_core.kinematics import ANGLES, body_rotation, joint_angles
from diffpose_ros import rep155, transforms, vision

HEADER = Header(stamp=Time(sec=5, nanosec=7), frame_id="camera_optical_frame")
COMES_WITH = "comes with a ROS distribution, not with the wheels"


def posterior(persons=2, samples=20, spread_m=0.03):
    """People of the prior before a camera: x right, y down, z forward."""
    generator = torch.Generator().manual_seed(0)
    poses = PosePrior.from_pretrained().sample(persons, generator=generator) + torch.tensor([0.2, 0.1, 3.0])
    joints = poses[:, None] + spread_m * torch.randn(persons, samples, 17, 3, generator=generator)
    log_weights = torch.log_softmax(torch.randn(persons, samples, generator=generator), 1)
    return PosePosterior(joints, log_weights, torch.zeros(persons, 17, dtype=torch.long))


def facing_both_ways():
    """Half of the hypotheses face the camera, the other half turn their back on it: the hips of the mean coincide."""
    one = posterior(1, 1).joints
    turned = (one - one[:, :, :1]) * torch.tensor([-1.0, 1.0, -1.0]) + one[:, :, :1]
    return PosePosterior(
        torch.cat([one, turned], 1), torch.full((1, 2), 0.5).log(), torch.zeros(1, 17, dtype=torch.long)
    )


def heatmaps(skeleton=COCO17, width=640, height=480):
    """One person, of whom the left wrist is outside the image."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform((0, 0), (width - 1, height - 1), (len(skeleton), 2)).astype(np.float32)
    person = PersonHeatmaps(id=3, score=0.75, box=np.array([-20.0, 9.5, 319.5, 600.0], np.float32))
    if skeleton is COCO17:
        keypoints[COCO17.index("left_wrist")] = (width + 31.5, 239.5)
    person.keypoints.frombytes(keypoints.tobytes())
    person.visibility.frombytes(np.linspace(0.1, 0.9, len(skeleton), dtype=np.float32).tobytes())
    message = Heatmaps(header=HEADER, skeleton=skeleton.name, persons=[person])
    message.camera_info.width, message.camera_info.height = width, height
    return message, keypoints


def pose_of(message):
    t, q = message.transform.translation, message.transform.rotation
    return np.array([t.x, t.y, t.z]), Rotation.from_quat([q.x, q.y, q.z, q.w])


def test_the_frames_of_a_body_are_where_its_joints_are():
    post = posterior()
    messages = transforms.skeleton_transforms(post, HEADER, ["p0", "p7"], joints=True)
    assert len(messages) == 2 * 17
    frames = {m.child_frame_id: m for m in messages}
    assert len(frames) == 2 * 17
    assert all(m.header.stamp == HEADER.stamp for m in messages)
    for p, body_id in enumerate(["p0", "p7"]):
        body = frames[f"body_{body_id}"]
        assert body.header.frame_id == "camera_optical_frame"
        origin, axes = pose_of(body)
        np.testing.assert_allclose(origin, post.mean[p, 0].numpy(), atol=1e-6)
        for joint, name in (("LWrist", "l_wrist"), ("RAnkle", "r_ankle"), ("Thorax", "torso"), ("HeadTop", "head_top")):
            message = frames[f"{name}_{body_id}"]
            assert message.header.frame_id == f"body_{body_id}"
            offset, turn = pose_of(message)
            place = origin + axes.apply(offset)
            np.testing.assert_allclose(place, post.mean[p, H36M17.index(joint)].numpy(), atol=1e-5)
            assert turn.magnitude() == 0


def test_the_body_looks_forward_and_stands_upright():
    """In body axes the left hip is at the left and the spine above; the axes are right-handed."""
    post = posterior(1)
    messages = transforms.skeleton_transforms(post, HEADER, ["p0"], joints=True)
    offset = {m.child_frame_id: pose_of(m)[0] for m in messages}
    left, right, spine = (offset[f"{name}_p0"] for name in ("l_hip", "r_hip", "spine"))
    np.testing.assert_allclose(left - right, [0, np.linalg.norm(left - right), 0], atol=1e-6)
    assert spine[2] > 0.1
    assert abs(spine[0]) < 1e-6
    # Of a person of the prior, upright before a level camera, up is against its y axis.
    assert pose_of(messages[0])[1].apply([0.0, 0.0, 1.0])[1] < -0.8


def test_without_joints_there_is_the_body_alone():
    messages = transforms.skeleton_transforms(posterior(), HEADER, ["p0", "p1"], joints=False)
    assert [m.child_frame_id for m in messages] == ["body_p0", "body_p1"]


def test_who_faces_nowhere_has_no_frame():
    both = PosePosterior.concatenate([facing_both_ways(), posterior(1, 2)])
    messages = transforms.skeleton_transforms(both, HEADER, ["p4", "p5"], joints=False)
    assert [m.child_frame_id for m in messages] == ["body_p5"]


def test_nobody():
    nobody = posterior(1).of([])
    assert transforms.skeleton_transforms(nobody, HEADER, [], joints=True) == []
    assert [len(a) for a in (*vision.boxes(nobody), *vision.body_poses(nobody))] == [0, 0, 0, 0, 0]
    assert joint_angles(nobody.mean).shape == (0, 17)


@pytest.mark.parametrize(
    ("namespace", "prefix"), [("", "p"), ("/", "p"), ("/left", "left_p"), ("/robot/left", "robot_left_p")]
)
def test_ids_begin_with_a_letter_and_tell_the_camera(namespace, prefix):
    assert rep155.body_prefix(namespace) == prefix


def test_ids_are_those_of_the_persons():
    persons = [PersonHypotheses(id=4), PersonHypotheses(id=0)]
    assert rep155.body_ids("left_p", persons) == ["left_p4", "left_p0"]
    with pytest.raises(ValueError, match=r"persons\[1\]\.id must not be negative, got -1"):
        rep155.body_ids("p", [PersonHypotheses(id=4), PersonHypotheses(id=-1)])
    with pytest.raises(ValueError, match=r"ids of persons must differ, got \[4, 4\]"):
        rep155.body_ids("p", [PersonHypotheses(id=4), PersonHypotheses(id=4)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"skeleton": "H36M17"}, "skeleton must be COCO17, got 'H36M17'"),
        ({"keypoints": [0.0] * 33}, r"persons\[0\]\.keypoints must hold 34 values, got 33"),
        ({"visibility": []}, r"persons\[0\]\.visibility must hold 17 values, got 0"),
        ({"keypoints": [float("nan")] * 34}, r"persons\[0\]\.keypoints holds a value that is not finite"),
        ({"box": [0.0, 0.0, float("inf"), 1.0]}, r"persons\[0\]\.box holds a value that is not finite"),
        ({"width": 0}, "camera_info width and height must be positive, got 0 x 480"),
    ],
)
def test_heatmaps_of_which_no_points_can_be_made(changes, words):
    source, _ = heatmaps()
    rep155.check_points(source)
    for name, value in changes.items():
        target = {"skeleton": source, "width": source.camera_info}.get(name, source.persons[0])
        setattr(target, name, value)
    with pytest.raises(ValueError, match=words):
        rep155.check_points(source)


def test_points_of_the_image():
    """The border of the outermost pixels is 0 and 1; what lies beyond is moved there."""
    points, inside = rep155.normalised(np.array([[-0.5, -0.5], [319.5, 239.5], [639.5, 479.5], [700, -1]]), 640, 480)
    np.testing.assert_allclose(points, [[0, 0], [0.5, 0.5], [1, 1], [1, 0]])
    assert inside.tolist() == [True, True, True, False]


def test_points_of_a_skeleton():
    message, keypoints = heatmaps()
    visibility = np.asarray(message.persons[0].visibility)
    points = rep155.skeleton_points(keypoints, visibility, 640, 480)
    assert points.shape == (18, 3)
    for name in ("nose", "right_wrist", "left_eye", "right_ear", "left_ankle"):
        source = COCO17.index(name)
        expected = [*(keypoints[source] + 0.5) / (640, 480), visibility[source]]
        np.testing.assert_allclose(points[rep155.POINTS.index(name)], expected, rtol=1e-6, err_msg=name)
    shoulders = [COCO17.index("left_shoulder"), COCO17.index("right_shoulder")]
    neck = [*(keypoints[shoulders].mean(0) + 0.5) / (640, 480), visibility[shoulders].min()]
    np.testing.assert_allclose(points[1], neck, rtol=1e-6)
    # Outside the image: on its border, and known not to be seen.
    np.testing.assert_allclose(points[rep155.POINTS.index("left_wrist")], [1.0, 0.5, 0.0])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_points_lie_in_the_image_whatever_the_detector_says(seed):
    rng = np.random.default_rng(seed)
    points = rep155.skeleton_points(rng.normal(size=(17, 2)) * 2000, rng.uniform(size=17), 640, 480)
    assert ((points >= 0) & (points <= 1)).all()


def test_joint_states_have_the_names_of_the_bodys_own_model():
    angles = joint_angles(posterior(1).mean[0])
    message = rep155.joint_state(HEADER, "p3", angles.tolist())
    assert message.name[:2] == ["waist_p3", "l_y_shoulder_p3"]
    assert len(message.name) == len(message.position) == len(ANGLES) == 17
    np.testing.assert_allclose(message.position, angles.numpy())
    assert message.header == HEADER


def test_messages_of_rep_155():
    messages = pytest.importorskip("hri_msgs.msg", reason=f"hri_msgs {COMES_WITH}")
    source, keypoints = heatmaps()
    skeleton = rep155.skeleton2d(source.persons[0], source)
    assert isinstance(skeleton, messages.Skeleton2D)
    assert skeleton.header == HEADER
    for name in rep155.POINTS:
        index = getattr(messages.Skeleton2D, name.upper())
        assert rep155.POINTS[index] == name
        if name not in ("neck", "left_wrist"):
            x, y = (keypoints[COCO17.index(name)] + 0.5) / (640, 480)
            assert (skeleton.skeleton[index].x, skeleton.skeleton[index].y) == (pytest.approx(x), pytest.approx(y))
    region = rep155.region(source.persons[0], source)
    assert isinstance(region, messages.NormalizedRegionOfInterest2D)
    assert region.header == HEADER
    values = (region.xmin, region.ymin, region.xmax, region.ymax, region.c)
    assert values == pytest.approx((0.0, 10 / 480, 0.5, 1.0, 0.75))
    ids = rep155.tracked(HEADER, ["p3", "p4"])
    assert (isinstance(ids, messages.IdsList), ids.header, list(ids.ids)) == (True, HEADER, ["p3", "p4"])


def test_boxes_hold_the_body():
    post = posterior()
    low, high = vision.boxes(post)
    mean = post.mean.numpy()
    assert (low < mean.min(1) - 0.03).all()
    assert (high > mean.max(1) + 0.03).all()
    assert (high - low < mean.max(1) - mean.min(1) + 0.3).all()


def test_a_bodys_pose_has_the_covariance_of_the_hypotheses():
    """Hypotheses that differ by known turns about the frame's axes."""
    rng = np.random.default_rng(0)
    pose = posterior(1, 1).joints[0, 0].double().numpy()
    stds_rad, samples = np.array([0.05, 0.2, 0.1]), 4000
    turns = Rotation.from_rotvec(rng.normal(size=(samples, 3)) * stds_rad)
    joints = np.einsum("sab,jb->sja", turns.as_matrix(), pose - pose[0]) + pose[0]
    joints += rng.normal(size=(samples, 1, 3)) * [0.02, 0.01, 0.3]
    post = PosePosterior(
        torch.tensor(joints)[None].float(), torch.full((1, samples), 1 / samples).log(),
        torch.zeros(1, 17, dtype=torch.long),
    )  # fmt: skip
    position, rotation, covariance = (a[0] for a in vision.body_poses(post))
    np.testing.assert_allclose(position, pose[0], atol=0.02)
    expected = body_rotation(torch.tensor(pose)).numpy()
    assert Rotation.from_matrix(rotation @ expected.T).magnitude() < 0.02
    np.testing.assert_allclose(np.diag(covariance) ** 0.5, [0.02, 0.01, 0.3, *stds_rad], rtol=0.06)
    np.testing.assert_allclose(covariance[:3, :3], post.covariance[0, 0].numpy())
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert (covariance[:3, 3:] == 0).all()


def test_where_a_body_faces_may_be_unknown():
    _, rotation, covariance = (a[0] for a in vision.body_poses(facing_both_ways()))
    np.testing.assert_array_equal(rotation, np.eye(3))
    np.testing.assert_allclose(covariance[3:, 3:], np.pi**2 * np.eye(3))


def test_a_hypothesis_that_faces_nowhere_tells_nothing_of_the_rotation():
    """Of weight 0, such as what pads a message: it changes nothing. Of weight: the others share it."""
    post = posterior(persons=1)
    _, rotation, covariance = (a[0] for a in vision.body_poses(post))
    joints = torch.cat([post.joints, torch.zeros_like(post.joints[:, :1])], 1)
    log_weights = torch.cat([post.log_weights, torch.full((1, 1), -math.inf)], 1)
    padded = vision.body_poses(PosePosterior(joints, log_weights, post.status))
    np.testing.assert_allclose(padded[1][0], rotation, atol=1e-6)
    np.testing.assert_allclose(padded[2][0], covariance, atol=1e-6)
    half = torch.cat([post.log_weights, torch.zeros(1, 1)], 1) - math.log(2)
    turns = vision.body_poses(PosePosterior(joints, half, post.status))[2][0, 3:, 3:]
    assert 0 < np.trace(turns) < 1.5 * np.trace(covariance[3:, 3:])


def test_detections_of_the_image():
    messages = pytest.importorskip("vision_msgs.msg", reason=f"vision_msgs {COMES_WITH}")
    source, _ = heatmaps()
    result = vision.detections2d(source, ["p3"])
    assert isinstance(result, messages.Detection2DArray)
    (detection,) = result.detections
    assert (result.header, detection.header, detection.id) == (HEADER, HEADER, "p3")
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y, box.center.theta) == (149.75, 304.75, 0.0)
    assert (box.size_x, box.size_y) == (339.5, 590.5)
    (hypothesis,) = detection.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ("person", 0.75)


def test_detections_in_space():
    messages = pytest.importorskip("vision_msgs.msg", reason=f"vision_msgs {COMES_WITH}")
    post = posterior()
    result = vision.detections3d(post, HEADER, ["p3", "p4"], [0.9, 0.5])
    assert isinstance(result, messages.Detection3DArray)
    assert [(d.id, d.results[0].hypothesis.score) for d in result.detections] == [("p3", 0.9), ("p4", 0.5)]
    low, high = vision.boxes(post)
    for p, detection in enumerate(result.detections):
        c, s = detection.bbox.center, detection.bbox.size
        np.testing.assert_allclose([c.position.x, c.position.y, c.position.z], (low[p] + high[p]) / 2)
        np.testing.assert_allclose([s.x, s.y, s.z], high[p] - low[p])
        assert c.orientation.w == 1.0
        pose = detection.results[0].pose
        o = pose.pose.orientation
        np.testing.assert_allclose(
            Rotation.from_quat([o.x, o.y, o.z, o.w]).as_matrix(),
            body_rotation(post.mean[p].double()).numpy(),
            atol=1e-6,
        )
        np.testing.assert_allclose(np.reshape(pose.covariance, (6, 6)), vision.body_poses(post)[2][p])
