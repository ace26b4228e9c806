# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with a running graph, in plain words: from what was seen of it to findings. Knows nothing of ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from diffpose_ros import middleware
from diffpose_ros.graph import PACKAGE
from diffpose_ros.pairing import LATCHED, LATEST, PER_FRAME
from diffpose_ros.stamps import FUTURE_S

ERROR, WARNING, NOTE = "error", "warning", "note"
ESTIMATORS = ("diffusion_node", "fusion_node")
KINDS = ("camera_node", "detector_node", *ESTIMATORS, "marker_node", "bridge_node")
HEATMAPS = f"{PACKAGE}/msg/Heatmaps"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO = "sensor_msgs/msg/CameraInfo"
FEWEST = 3
"""Messages of each kind, before it is said that their stamps are never equal."""
LONG_AGO_S = 10.0
"""Age of stamps that makes one wonder; what is ahead of the nodes' clock is refused by them."""
DROPPED_SHARE = 0.5
LEAST_BUFFER = 4 * 2**20
"""Bytes that the kernel should grant a socket where images go over UDP."""
SEGMENT = 68 * 2**20
"""Bytes of shared memory that a node takes with the package's profile."""


@dataclass(frozen=True)
class Finding:
    """Something wrong, where, and how to mend it; a note is not wrong."""

    level: str
    where: str
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscriber of a topic; ``deadline_ns`` 0: none."""

    node: str
    kind: str
    reliable: bool = True
    latched: bool = False
    deadline_ns: int = 0


@dataclass(frozen=True)
class Topic:
    """All that publish and subscribe a topic."""

    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class Message:
    """What was looked at of an image or a calibration; ``unset`` are the matrices of the latter that are all zeros."""

    stamp_ns: int
    frame_id: str
    unset: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """One of our nodes: its full name, its state, None if it does not answer, and some of its parameters."""

    name: str
    state: str | None = "active"
    sim_time: bool = False
    device: str = ""
    camera_info_mode: str = PER_FRAME
    rectified: bool = False

    @property
    def kind(self) -> str:
        """Which of our nodes it is."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Status:
    """The newest ``health`` of a node, and how many inputs it received and dropped while it was watched."""

    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)
    received: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Seen:
    """What was seen of a graph.

    Attributes:
        nodes: those of ours.
        topics: those that our nodes publish or subscribe, by name.
        messages: images and calibrations, by topic.
        health: by the node's name.
        now_ns: wall clock when it ended.
        domain: ``ROS_DOMAIN_ID``.
        gpu: this machine has one.
        socket_bytes: largest receive buffer that the kernel grants.
        shm_bytes: size of /dev/shm.
    """

    nodes: tuple[Node, ...] = ()
    topics: dict[str, Topic] = field(default_factory=dict)
    messages: dict[str, tuple[Message, ...]] = field(default_factory=dict)
    health: dict[str, Status] = field(default_factory=dict)
    now_ns: int = 0
    domain: str = "0"
    gpu: bool = False
    socket_bytes: int = LEAST_BUFFER
    shm_bytes: int = 2**34


def examine(seen: Seen) -> list[Finding]:
    """Return what is wrong, errors first."""
    if not seen.nodes:
        ask = (
            "is it started, and are ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and RMW_IMPLEMENTATION the same there?"
        )
        return [Finding(ERROR, f"domain {seen.domain}", "no node of diffpose is seen", ask)]
    topics = [*_topics(seen), *_images(seen)]
    # A node complains of a topic of which more is known here.
    explained = tuple(f" {finding.where}: " for finding in topics)
    nodes = [f for f in _nodes(seen) if not any(topic in f.what for topic in explained)]
    return sorted(
        dict.fromkeys([*topics, *nodes, *_machine(seen)]), key=lambda f: (ERROR, WARNING, NOTE).index(f.level)
    )


def _nodes(seen: Seen) -> Iterator[Finding]:
    for name, count in Counter(node.name for node in seen.nodes).items():
        if count > 1:
            what = f"{count} nodes have this name: parameters and services reach any of them"
            yield Finding(ERROR, name, what, "end all but one, or give them namespaces")
    for node in seen.nodes:
        status = seen.health.get(node.name)
        yield from _state(node, status)
        if status is None:
            if node.state is not None:
                yield Finding(WARNING, node.name, "publishes no diagnostics", "is /diagnostics remapped?")
            continue
        if node.state == "active" and status.level > 0:
            yield Finding(ERROR if status.level > 1 else WARNING, node.name, status.message, _mend(status.message))
        if status.received and status.dropped > DROPPED_SHARE * status.received:
            what = f"{status.dropped} of {status.received} inputs were dropped: newer ones came first"
            yield Finding(NOTE, node.name, what, "it works on the newest; for more, lower num_hypotheses or steps")
        if node.sim_time and not seen.topics.get("/clock", Topic()).publishers:
            what = "use_sim_time is true, and nobody publishes /clock: its time stands still"
            yield Finding(ERROR, node.name, what, "play the recording with --clock, or set use_sim_time to false")


def _state(node: Node, status: Status | None) -> Iterator[Finding]:
    if node.state is None:
        yield Finding(
            ERROR, node.name, "does not answer", "is it still loading its models? Look again, then at its log"
        )
    elif node.state in ("unconfigured", "inactive"):
        broken = status is not None and status.level > 1
        reason = f": {status.message}" if status is not None and broken else ""
        step = "configure" if node.state == "unconfigured" else "activate"
        hint = _mend(reason) if broken else ""
        mend = f"{hint + '; then ' if hint else ''}ros2 lifecycle set {node.name} {step}"
        yield Finding(ERROR, node.name, f"is {node.state}{reason}", mend)
    elif node.state != "active":
        yield Finding(ERROR, node.name, f"is {node.state}", "start it again" if node.state == "finalized" else "")


def _mend(message: str) -> str:
    """Return what helps against the reasons that nodes give."""
    hints = {
        "cuda": "set device to cpu, or install a torch that has CUDA (`python -c 'import torch; "
        "print(torch.cuda.is_available())'` must say True)",
        "weights": "set the parameter weights to a file that exists and is trusted (docs/parameters.md)",
        ".safetensors": "set the parameter prior to a checkpoint that is whole; empty: the packaged one",
        "parameter source": "set the parameter source to a file, folder or webcam that exists",
        "there is no TF": "start what publishes the transform, or set extrinsics_file",
        "no transform": "start what publishes the transform, or set extrinsics_file",
        "camera_info": "see the findings on camera_info; its stamps must be those of the images",
        "is uncalibrated": "calibrate the camera: ros2 run camera_calibration cameracalibrator",
    }
    return next((hint for word, hint in hints.items() if word in message), "")


def _topics(seen: Seen) -> Iterator[Finding]:
    ours = {node.name for node in seen.nodes}
    for name, topic in seen.topics.items():
        waiting = sorted({s.node for s in topic.subscribers if s.node in ours})
        if waiting and not topic.publishers:
            kind = next(s.kind for s in topic.subscribers if s.node in ours)
            yield Finding(ERROR, name, f"no publisher; {', '.join(waiting)} waits for it", _source_of(kind))
        made = [p for p in topic.publishers if p.node in ours]
        if not topic.subscribers and any(p.kind == HEATMAPS for p in made):
            mend = "start a diffusion_node or a fusion_node in the same namespace"
            yield Finding(ERROR, name, "nobody takes the heatmaps: no node infers 3D poses", mend)
        if len(kinds := {e.kind for e in (*topic.publishers, *topic.subscribers)}) > 1:
            yield Finding(ERROR, name, f"has different types: {', '.join(sorted(kinds))}", "rename one of the topics")
        for publisher in topic.publishers:
            for subscriber in topic.subscribers:
                if ours & {publisher.node, subscriber.node}:
                    yield from _fit(name, publisher, subscriber)


def _source_of(kind: str) -> str:
    if kind == HEATMAPS:
        return "start a detector_node in the same namespace"
    if kind in (*IMAGES, INFO):
        return "start the camera's driver, or name its topics: image_topic:=... camera_info_topic:=..."
    return "start the node that publishes it, in the same namespace" if kind.startswith(PACKAGE) else ""


def _fit(topic: str, publisher: Endpoint, subscriber: Endpoint) -> Iterator[Finding]:
    """Find the policies by which DDS does not connect the two: the subscriber asks for more than is offered."""
    who = f"{subscriber.node} never hears {publisher.node}"
    override = f"parameter qos_overrides.{topic}.subscription"
    if subscriber.reliable and not publisher.reliable:
        what = f"QoS mismatch, reliability: {who}: reliable is asked for, best effort is offered"
        yield Finding(
            ERROR, topic, what, f"make the publisher reliable, or the subscriber best effort ({override}.reliability)"
        )
    if subscriber.latched and not publisher.latched:
        what = f"QoS mismatch, durability: {who}: transient local is asked for, volatile is offered"
        yield Finding(ERROR, topic, what, "make the subscriber volatile, or the publisher transient local")
    if subscriber.deadline_ns and not 0 < publisher.deadline_ns <= subscriber.deadline_ns:
        what = f"QoS mismatch, deadline: {who}: a shorter one is asked for than is offered"
        yield Finding(ERROR, topic, what, "ask for no deadline")


def _images(seen: Seen) -> Iterator[Finding]:
    for node in seen.nodes:
        if node.kind != "detector_node":
            continue
        heard = {name: t for name, t in seen.topics.items() if any(s.node == node.name for s in t.subscribers)}
        kinds = {name: next(s.kind for s in t.subscribers if s.node == node.name) for name, t in heard.items()}
        for name in (n for n, kind in kinds.items() if kind in (*IMAGES, INFO)):
            yield from _stream(name, heard[name], kinds[name], seen, node)
        infos = [n for n, kind in kinds.items() if kind == INFO]
        for image in (n for n, kind in kinds.items() if kind in IMAGES):
            for info in infos:
                yield from _pair(image, info, heard[info], seen, node)


def _stream(name: str, topic: Topic, kind: str, seen: Seen, node: Node) -> Iterator[Finding]:
    messages = seen.messages.get(name, ())
    if not messages:
        if topic.publishers:
            who = ", ".join(sorted({p.node for p in topic.publishers}))
            yield Finding(ERROR, name, f"nothing came, though {who} publishes it", "is the camera running?")
        return
    last = messages[-1]
    matrix = "P" if node.rectified else "K"
    if kind == INFO and matrix in last.unset:
        mend = "calibrate the camera (ros2 run camera_calibration cameracalibrator) and load the result in its driver"
        yield Finding(ERROR, name, f"{matrix} is all zeros: the camera is uncalibrated", mend)
    if not last.frame_id:
        yield Finding(ERROR, name, "header.frame_id is empty", "set the driver's frame id to its optical frame")
    if last.stamp_ns == 0:
        yield Finding(ERROR, name, "header.stamp is zero", "let the driver stamp its images")
    elif not node.sim_time:
        mend = "set the clocks alike (NTP, PTP); of a recording: use_sim_time:=true"
        off_s = (seen.now_ns - last.stamp_ns) * 1e-9
        if off_s > LONG_AGO_S:
            yield Finding(WARNING, name, f"stamps are {off_s:.0f} s behind this machine's clock", mend)
        elif off_s < -FUTURE_S:
            what = f"stamps are {-off_s:.1f} s ahead of this machine's clock: nodes refuse more than {FUTURE_S:g} s"
            yield Finding(WARNING, name, what, mend)


def _pair(image: str, info: str, info_topic: Topic, seen: Seen, node: Node) -> Iterator[Finding]:
    images, infos = seen.messages.get(image, ()), seen.messages.get(info, ())
    if not images or not infos:
        return
    frames = images[-1].frame_id, infos[-1].frame_id
    if frames[0] != frames[1]:
        what = f"frame_id is {frames[1]!r}, that of {image} is {frames[0]!r}"
        yield Finding(ERROR, info, what, "is it the calibration of another camera? camera_info_topic:=...")
    latched = any(p.latched for p in info_topic.publishers)
    equal = {m.stamp_ns for m in images} & {m.stamp_ns for m in infos}
    enough = len(images) >= FEWEST and (latched or len(infos) >= FEWEST)
    if node.camera_info_mode == PER_FRAME and enough and not equal:
        what = f"no stamp is that of an image on {image}, of {len(infos)} and {len(images)} seen"
        mend = f"let the driver stamp both alike, or start with camera_info_mode {LATCHED if latched else LATEST}"
        yield Finding(ERROR, info, what, mend)


def _machine(seen: Seen) -> Iterator[Finding]:
    for node in seen.nodes:
        values = seen.health[node.name].values if node.name in seen.health else {}
        if wrong := "rmw" in values and middleware.shortcoming(values["rmw"], values["rmw_profile"]):
            yield Finding(WARNING, node.name, *wrong)
        if node.device == "auto" and values.get("device") == "cpu" and seen.gpu:
            mend = "install a torch that has CUDA, or set device to cpu to say that it is meant so"
            yield Finding(WARNING, node.name, "runs on the CPU, though this machine has a GPU", mend)
    used = {h.values["rmw"] for h in seen.health.values() if "rmw" in h.values}
    sharing = [h for h in seen.health.values() if middleware.shares_memory(h.values)]
    needed = SEGMENT * len(sharing)
    if seen.shm_bytes < needed:
        size = f"shared memory (/dev/shm) has {seen.shm_bytes >> 20} MiB"
        what = f"{size}, {len(sharing)} nodes need {needed >> 20}: images are lost"
        yield Finding(WARNING, "this machine", what, "docker run --shm-size=1g, or --ipc=host")
    through_sockets = used - middleware.SHARING_MEMORY
    if through_sockets and seen.socket_bytes < LEAST_BUFFER:
        lossy = ", ".join(sorted(through_sockets))
        what = f"a socket gets {seen.socket_bytes} bytes at most: images are lost with {lossy}"
        yield Finding(WARNING, "this machine", what, f"sysctl -w net.core.rmem_max={2 * LEAST_BUFFER}")


def report(seen: Seen, findings: list[Finding], seconds: float) -> str:
    """Return the findings as text."""
    lines = [f"{len(seen.nodes)} nodes seen in domain {seen.domain} within {seconds:g} s"]
    for node in seen.nodes:
        lines.append(f"  {node.name}: {node.state or 'no answer'}")
    for finding in findings:
        lines += ["", f"{finding.level.upper()}: {finding.where}: {finding.what}"]
        lines += [f"  -> {finding.mend}"] if finding.mend else []
    wrong = Counter(f.level for f in findings)
    count = ", ".join(f"{wrong[level]} {level}{'s' * (wrong[level] > 1)}" for level in (ERROR, WARNING) if wrong[level])
    return "\n".join([*lines, "", count or "nothing is wrong"])
