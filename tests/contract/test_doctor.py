# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the doctor says of graphs that have one fault each."""

from dataclasses import replace

import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose_ros import doctor
from diffpose_ros.doctor import ERROR, NOTE, WARNING, Endpoint, Message, Node, Seen, Status, Topic, examine
from diffpose_ros.observer import message_from_cdr

IMAGE, INFO, HEATMAPS = "/image_raw", "/camera_info", "/human_pose2d/heatmaps"
CAMERA, DETECTOR, DIFFUSION = "/camera", "/detector_node", "/diffusion_node"
RAW, CALIBRATION = doctor.IMAGES[0], doctor.INFO
NOW_NS = 10**18
FACTS = {"rmw": "rmw_fastrtps_cpp", "rmw_profile": "fastdds_shm.xml", "device": "cuda"}


def frames(**changes):
    return tuple(replace(Message(NOW_NS - i * 10**8, "optical"), **changes) for i in range(5))


def well():
    """A graph in which nothing is wrong."""
    return Seen(
        nodes=(Node(DETECTOR, device="auto"), Node(DIFFUSION, device="auto")),
        topics={
            IMAGE: Topic((Endpoint(CAMERA, RAW),), (Endpoint(DETECTOR, RAW, reliable=False),)),
            INFO: Topic((Endpoint(CAMERA, CALIBRATION),), (Endpoint(DETECTOR, CALIBRATION, reliable=False),)),
            HEATMAPS: Topic((Endpoint(DETECTOR, doctor.HEATMAPS),), (Endpoint(DIFFUSION, doctor.HEATMAPS),)),
            "/clock": Topic(),
        },
        messages={IMAGE: frames(), INFO: frames()},
        health={name: Status(0, "working", dict(FACTS), received=10) for name in (DETECTOR, DIFFUSION)},
        now_ns=NOW_NS,
        gpu=True,
    )


def with_topic(name, topic):
    return replace(well(), topics=well().topics | {name: topic})


def with_messages(name, messages):
    return replace(well(), messages=well().messages | {name: messages})


def with_node(**changes):
    return replace(well(), nodes=(replace(well().nodes[0], **changes), well().nodes[1]))


def with_health(**changes):
    return replace(well(), health=well().health | {DETECTOR: replace(well().health[DETECTOR], **changes)})


def test_a_graph_that_is_well():
    assert examine(well()) == []
    assert doctor.report(well(), [], 5.0).endswith("nothing is wrong")


FAULTS = {
    "nobody": (Seen(domain="7"), ERROR, "domain 7", "no node of diffpose is seen", "ROS_DOMAIN_ID"),
    "twice": (
        replace(well(), nodes=(*well().nodes, well().nodes[0])),
        ERROR,
        DETECTOR,
        "2 nodes have this name",
        "namespaces",
    ),
    "no image": (
        with_topic(IMAGE, Topic((), well().topics[IMAGE].subscribers)),
        ERROR,
        IMAGE,
        "no publisher; /detector_node waits for it",
        "image_topic:=",
    ),
    "no camera_info": (
        with_topic(INFO, Topic((), well().topics[INFO].subscribers)),
        ERROR,
        INFO,
        "no publisher; /detector_node waits for it",
        "camera_info_topic:=",
    ),
    "no detector": (
        with_topic(HEATMAPS, Topic((), well().topics[HEATMAPS].subscribers)),
        ERROR,
        HEATMAPS,
        "no publisher; /diffusion_node waits for it",
        "start a detector_node",
    ),
    "no estimator": (
        with_topic(HEATMAPS, Topic(well().topics[HEATMAPS].publishers)),
        ERROR,
        HEATMAPS,
        "nobody takes the heatmaps",
        "start a diffusion_node or a fusion_node",
    ),
    "reliability": (
        with_topic(IMAGE, Topic((Endpoint(CAMERA, RAW, reliable=False),), (Endpoint(DETECTOR, RAW),))),
        ERROR,
        IMAGE,
        "QoS mismatch, reliability: /detector_node never hears /camera",
        "qos_overrides./image_raw.subscription",
    ),
    "durability": (
        with_topic(INFO, Topic((Endpoint(CAMERA, CALIBRATION),), (Endpoint(DETECTOR, CALIBRATION, latched=True),))),
        ERROR,
        INFO,
        "QoS mismatch, durability: /detector_node never hears /camera",
        "volatile",
    ),
    "deadline": (
        with_topic(IMAGE, Topic((Endpoint(CAMERA, RAW, deadline_ns=2),), (Endpoint(DETECTOR, RAW, deadline_ns=1),))),
        ERROR,
        IMAGE,
        "QoS mismatch, deadline",
        "no deadline",
    ),
    "type": (
        with_topic(IMAGE, Topic((Endpoint(CAMERA, "std_msgs/msg/String"),), well().topics[IMAGE].subscribers)),
        ERROR,
        IMAGE,
        "different types: sensor_msgs/msg/Image, std_msgs/msg/String",
        "rename",
    ),
    "K": (
        with_messages(INFO, frames(unset=("K", "P"))),
        ERROR,
        INFO,
        "K is all zeros: the camera is uncalibrated",
        "camera_calibration",
    ),
    "frame": (
        with_messages(INFO, frames(frame_id="other")),
        ERROR,
        INFO,
        "frame_id is 'other', that of /image_raw is 'optical'",
        "another camera",
    ),
    "stamps": (
        with_messages(INFO, tuple(replace(m, stamp_ns=m.stamp_ns - 5) for m in frames())),
        ERROR,
        INFO,
        "no stamp is that of an image on /image_raw, of 5 and 5 seen",
        "camera_info_mode latest",
    ),
    "latched": (
        replace(
            with_topic(INFO, Topic((Endpoint(CAMERA, CALIBRATION, latched=True),), well().topics[INFO].subscribers)),
            messages={IMAGE: frames(), INFO: (Message(NOW_NS - 1, "optical"),)},
        ),
        ERROR,
        INFO,
        "no stamp is that of an image on /image_raw, of 1 and 5 seen",
        "camera_info_mode latched",
    ),
    "P": (
        replace(with_messages(INFO, frames(unset=("P",))), nodes=with_node(rectified=True).nodes),
        ERROR,
        INFO,
        "P is all zeros: the camera is uncalibrated",
        "camera_calibration",
    ),
    "silent": (with_messages(IMAGE, ()), ERROR, IMAGE, "nothing came, though /camera publishes it", "running"),
    "old": (
        with_messages(IMAGE, (Message(NOW_NS - 60 * 10**9, "optical"),)),
        WARNING,
        IMAGE,
        "stamps are 60 s behind this machine's clock",
        "use_sim_time",
    ),
    "ahead": (
        with_messages(IMAGE, tuple(replace(m, stamp_ns=m.stamp_ns + 2 * 10**9) for m in frames())),
        WARNING,
        IMAGE,
        "stamps are 1.6 s ahead of this machine's clock",
        "NTP",
    ),
    "unconfigured": (
        with_node(state="unconfigured"),
        ERROR,
        DETECTOR,
        "is unconfigured",
        f"ros2 lifecycle set {DETECTOR} configure",
    ),
    "inactive": (
        with_node(state="inactive"),
        ERROR,
        DETECTOR,
        "is inactive",
        f"ros2 lifecycle set {DETECTOR} activate",
    ),
    "finalized": (with_node(state="finalized"), ERROR, DETECTOR, "is finalized", "start it again"),
    "mute": (with_node(state=None), ERROR, DETECTOR, "does not answer", "loading"),
    "no clock": (with_node(sim_time=True), ERROR, DETECTOR, "nobody publishes /clock", "use_sim_time"),
    "complaint": (
        with_health(level=2, message="output /x: NotReceived; refused: K: the camera is uncalibrated"),
        ERROR,
        DETECTOR,
        "refused: K: the camera is uncalibrated",
        "cameracalibrator",
    ),
    "overload": (with_health(dropped=8), NOTE, DETECTOR, "8 of 10 inputs were dropped", "num_hypotheses"),
    "rmw": (
        with_health(values=FACTS | {"rmw": "rmw_other"}),
        WARNING,
        DETECTOR,
        "runs on rmw_other",
        "rmw_fastrtps_cpp",
    ),
    "profile": (
        with_health(values=FACTS | {"rmw_profile": "none"}),
        WARNING,
        DETECTOR,
        "rmw_fastrtps_cpp without a profile",
        "FASTDDS_DEFAULT_PROFILES_FILE to the package's config/fastdds_shm.xml",
    ),
    "profile of Cyclone DDS": (
        with_health(values=FACTS | {"rmw": "rmw_cyclonedds_cpp", "rmw_profile": "none"}),
        WARNING,
        DETECTOR,
        "rmw_cyclonedds_cpp without a profile",
        "CYCLONEDDS_URI to the package's config/cyclonedds.xml",
    ),
    "buffers": (
        replace(with_health(values=FACTS | {"rmw": "rmw_cyclonedds_cpp"}), socket_bytes=212992),
        WARNING,
        "this machine",
        "a socket gets 212992 bytes at most: images are lost with rmw_cyclonedds_cpp",
        "net.core.rmem_max",
    ),
    "shared memory": (
        replace(well(), shm_bytes=64 * 2**20),
        WARNING,
        "this machine",
        "shared memory (/dev/shm) has 64 MiB, 2 nodes need 136",
        "--shm-size",
    ),
    "cpu": (with_health(values=FACTS | {"device": "cpu"}), WARNING, DETECTOR, "runs on the CPU, though", "CUDA"),
    "no diagnostics": (
        replace(well(), health={DIFFUSION: well().health[DIFFUSION]}),
        WARNING,
        DETECTOR,
        "publishes no diagnostics",
        "",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name):
    seen, level, where, what, mend = FAULTS[name]
    found = [f for f in examine(seen) if f.where == where and what in f.what]
    assert [f.level for f in found] == [level]
    assert mend in found[0].mend
    assert f"{level.upper()}: {where}: " in doctor.report(seen, examine(seen), 5.0)


@pytest.mark.parametrize("name", [n for n in FAULTS if n not in ("nobody", "twice", "buffers", "ahead")])
def test_no_other_fault_is_found(name):
    assert len(examine(FAULTS[name][0])) == 1


@pytest.mark.parametrize(
    ("message", "mend"),
    [
        ("cannot configure: device cuda:0 is not there", "set device to cpu, or install a torch that has CUDA"),
        ("cannot configure: weights file none.pt does not exist", "set the parameter weights"),
        ("cannot configure: checkpoint a.safetensors is damaged", "set the parameter prior"),
    ],
)
def test_what_stands_in_the_way_of_configuring(message, mend):
    seen = replace(with_health(level=2, message=message), nodes=with_node(state="unconfigured").nodes)
    (finding,) = examine(seen)
    assert finding.what == f"is unconfigured: {message}"
    assert finding.mend.startswith(mend)
    assert finding.mend.endswith(f"then ros2 lifecycle set {DETECTOR} configure")


@pytest.mark.parametrize(("mode", "fault"), [("latest", "stamps"), ("latched", "latched")])
def test_stamps_need_not_be_equal_where_the_newest_calibration_holds(mode, fault):
    seen = replace(FAULTS[fault][0], nodes=with_node(camera_info_mode=mode).nodes)
    assert examine(seen) == []


def test_rectified_images_need_no_k():
    seen = replace(with_messages(INFO, frames(unset=("K",))), nodes=with_node(rectified=True).nodes)
    assert examine(seen) == []


def test_a_fault_is_told_once():
    complaint = f"input {IMAGE}: NotReceived: nothing for 2.0 s, and there is no publisher"
    seen = replace(with_health(level=2, message=complaint), topics=FAULTS["no image"][0].topics)
    assert examine(seen) == examine(FAULTS["no image"][0])


def test_errors_come_first():
    seen = replace(
        with_health(level=1, message="slow", dropped=8), nodes=(well().nodes[0], replace(well().nodes[1], state=None))
    )
    assert [f.level for f in examine(seen)] == [ERROR, WARNING, NOTE]
    assert doctor.report(seen, examine(seen), 5.0).endswith("1 error, 1 warning")


@pytest.mark.parametrize("frame_id", ["", "camera_optical_frame", "ümläut"])
def test_the_header_is_read_without_the_image(frame_id):
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message

    image = Image(header=Header(stamp=Time(sec=12, nanosec=34), frame_id=frame_id), height=1, width=1, data=[1, 2, 3])
    assert message_from_cdr(serialize_message(image)) == Message(12_000_000_034, frame_id)
