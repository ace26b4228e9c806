#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Image and its calibration in, one heatmap per joint and person out."""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from torch import Tensor

from diffpose.msg import Heatmaps
from diffpose_core.detector import DetectorConfig, YoloPoseDetector
from diffpose_core.tracking import PersonTracker, TrackerConfig
from diffpose_ros.conversions import camera_from_info, check_pair, heatmaps_message, rectified_info
from diffpose_ros.images import decode_compressed, image_decoder
from diffpose_ros.pacing import Pacer
from diffpose_ros.pairing import LATCHED as LATCHED_INFO
from diffpose_ros.pairing import Pairing
from diffpose_ros.parameters import COMPRESSED, DetectorParameters
from diffpose_ros.runtime import LATCHED, RESULTS, WorkerNode, choose_device, nanoseconds, reliability, run, set_threads


class DetectorNode(WorkerNode[DetectorParameters]):
    """Pairs ``image_raw`` with the ``camera_info`` of the same stamp; publishes ``human_pose2d/heatmaps``."""

    def __init__(self) -> None:
        super().__init__(DetectorParameters)
        self.detector: YoloPoseDetector | None = None
        self.tracker: PersonTracker | None = None
        self._ids = itertools.count()
        self.pacer = Pacer(0.0)
        self._answers: Any = None

    def configure(self) -> None:
        """Load the network and run it once; know nobody."""
        p = self.parameters
        device = choose_device(self, p.device)
        config = DetectorConfig(image_size=p.image_size)
        self.detector = YoloPoseDetector(p.weights or None, device, config, p.allow_unsafe_weights, p.precision)
        self.tracker = self._know_nobody()
        decode, decoder = image_decoder()
        self.decode = decode_compressed if p.image_transport == COMPRESSED else decode
        self.health.facts |= {
            "device": device, "threads": str(set_threads(p.num_threads)), "image_decoder": decoder,
            "weights": p.weights or "packaged yolo11n-pose.pt", "weights_sha256": self.detector.weights_sha256,
            "precision": p.precision,
        }  # fmt: skip
        self.detector(np.zeros((p.image_size, p.image_size, 3), np.uint8))  # the first run is slow: now, not on a frame
        self.publisher = self.advertise(Heatmaps, "human_pose2d/heatmaps", RESULTS)

    def on_parameters(self) -> None:
        """Pass the thresholds on."""
        p = self.parameters
        assert self.detector is not None
        assert self.tracker is not None
        self.detector.config = replace(self.detector.config, conf=p.min_score, max_persons=p.max_persons)
        self.tracker.adjust(p.min_score, p.max_persons)
        self.pacer.set_limit(p.estimator_wait_s)

    def activate(self) -> None:
        """Listen to the node that infers."""
        self.pacer = Pacer(self.parameters.estimator_wait_s)
        self._answers = self.create_subscription(Header, "human_pose2d/done", self.on_done, RESULTS)
        super().activate()

    def deactivate(self) -> None:
        """Wait for nobody."""
        self.pacer.stop()
        if self._answers is not None:
            self.destroy_subscription(self._answers)
        self._answers = None
        super().deactivate()

    def listen(self) -> None:
        """Subscribe images and calibrations; one from before is not known to hold still."""
        p = self.parameters
        self.pairing = Pairing(p.camera_info_mode, self.health.dropped, self.health.refused)
        qos = QoSProfile(depth=p.image_depth, reliability=reliability(p.image_reliability))
        compressed, latched = p.image_transport == COMPRESSED, p.camera_info_mode == LATCHED_INFO
        # Beside the image topic, wherever that is: a remap reaches a topic of exactly its name alone.
        kind, topic = (CompressedImage, f"{self.resolve_topic_name('image_raw')}/compressed")
        if not compressed:
            kind, topic = Image, "image_raw"
        self.subscribe(kind, topic, self.on_image, qos)
        self.subscribe(CameraInfo, "camera_info", self.on_info, LATCHED if latched else qos, steady=not latched)

    def wanted(self) -> bool:
        """Whether somebody listens to the heatmaps."""
        return self.publisher.get_subscription_count() > 0

    def forget(self) -> int:
        """Let go of images that wait for their calibration, and of who was seen."""
        if self.detector is None:
            return 0
        self.tracker = self._know_nobody()  # another one: the worker may be at work with this
        return self.pairing.clear()

    def _know_nobody(self) -> PersonTracker:
        p = self.parameters
        return PersonTracker(TrackerConfig(p.track_buffer_s, p.min_score, p.max_persons), self._ids)

    def cleanup(self) -> None:
        """Let go of the network."""
        self.detector = self.tracker = None

    def on_image(self, message: Image | CompressedImage) -> None:
        """Wait for the calibration of this image, or go on if it is there."""
        self.health.received()
        self.hand_over(self.pairing.image(nanoseconds(message.header.stamp), message))

    def on_info(self, message: CameraInfo) -> None:
        """Match the calibration to an image that waits, or keep it."""
        self.hand_over(self.pairing.info(nanoseconds(message.header.stamp), message))

    def hand_over(self, pair: tuple[Image | CompressedImage, CameraInfo] | None) -> None:
        """Pass an image and its calibration to the worker."""
        if pair is not None:
            self.offer(pair, nanoseconds(pair[0].header.stamp))

    def on_done(self, header: Header) -> None:
        """The node that infers is done with what was published up to this stamp."""
        self.pacer.done(nanoseconds(header.stamp), time.monotonic())

    def done(self, item: tuple[Image | CompressedImage, CameraInfo]) -> None:
        """Wait until the next image is to be begun with; it is the newest then."""
        self.pacer.wait()

    def process(self, item: tuple[Image | CompressedImage, CameraInfo]) -> Time:
        """Detect, find who is who, and publish."""
        assert self.detector is not None
        started_s = time.monotonic()
        image, info = item
        pixels = self.decode(image)
        check_pair(image, info)
        if self.parameters.rectified:
            info = rectified_info(info)
        camera_from_info(info, pixels.shape[1], pixels.shape[0])  # refused here, before the costly part
        ids: list[int] = []

        def choose(boxes: Tensor, scores: Tensor) -> list[int]:
            assert self.tracker is not None
            kept = self.tracker.update(boxes, scores, 1e-9 * nanoseconds(image.header.stamp))
            ids.extend(kept.values())
            return list(kept)

        message = heatmaps_message(self.detector(pixels, choose), image.header, info, ids)
        self.check_time()
        now_s = time.monotonic()
        self.pacer.published(nanoseconds(image.header.stamp), now_s - started_s, now_s)
        self.publisher.publish(message)
        self.health.count("persons", len(message.persons))
        return image.header.stamp


if __name__ == "__main__":
    sys.exit(run(DetectorNode))
