#!/usr/bin/env python3
"""Image and its calibration in, one heatmap per joint and person out."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from diffpose.msg import Heatmaps
from diffpose_core.detector import DetectorConfig, YoloPoseDetector
from diffpose_ros.conversions import camera_from_info, heatmaps_message, image_decoder
from diffpose_ros.parameters import RELIABILITIES, DetectorParameters
from diffpose_ros.runtime import RESULTS, WorkerNode, choose_device, run, set_threads

PAIRING_DEPTH = 10
"""Images or calibrations kept until the one with the same stamp arrives."""


class DetectorNode(WorkerNode[DetectorParameters]):
    """Pairs ``image_raw`` with the ``camera_info`` of the same stamp; publishes ``human_pose2d/heatmaps``."""

    def __init__(self) -> None:
        super().__init__(DetectorParameters)
        self.detector: YoloPoseDetector | None = None
        self._images: OrderedDict[tuple[int, int], Image] = OrderedDict()
        self._infos: OrderedDict[tuple[int, int], CameraInfo] = OrderedDict()

    def configure(self) -> None:
        """Load the network and run it once."""
        p = self.parameters
        device = choose_device(self, p.device)
        config = DetectorConfig(image_size=p.image_size)
        self.detector = YoloPoseDetector(p.weights or None, device, config, p.allow_unsafe_weights, p.precision)
        self.decode, decoder = image_decoder()
        self.health.facts |= {
            "device": device, "threads": str(set_threads(p.num_threads)), "image_decoder": decoder,
            "weights": p.weights or "packaged yolo11n-pose.pt", "weights_sha256": self.detector.weights_sha256,
            "precision": p.precision,
        }  # fmt: skip
        self.detector(np.zeros((p.image_size, p.image_size, 3), np.uint8))  # the first run is slow: now, not on a frame
        self.publisher = self.advertise(Heatmaps, "human_pose2d/heatmaps", RESULTS)

    def on_parameters(self) -> None:
        """Pass the thresholds on."""
        p, detector = self.parameters, self.detector
        assert detector is not None
        detector.config = replace(detector.config, conf=p.min_score, max_persons=p.max_persons)

    def activate(self) -> None:
        """Subscribe."""
        super().activate()
        wanted = self.parameters.image_reliability == RELIABILITIES[1]
        reliable = ReliabilityPolicy.RELIABLE if wanted else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=5, reliability=reliable)
        self.subscribe(Image, "image_raw", self.on_image, qos)
        self.subscribe(CameraInfo, "camera_info", self.on_info, qos)

    def deactivate(self) -> None:
        """Drop images that wait for their calibration."""
        super().deactivate()
        self.drop(len(self._images))
        self._images.clear()
        self._infos.clear()

    def cleanup(self) -> None:
        """Let go of the network."""
        self.detector = None

    def on_image(self, message: Image) -> None:
        """Wait for the calibration of this image, or go on if it is there."""
        self.health.received()
        key = (message.header.stamp.sec, message.header.stamp.nanosec)
        if key in self._infos:
            self.offer((message, self._infos.pop(key)))
            return
        if key in self._images:
            self.health.dropped("another image with the same stamp came")
        self._images[key] = message
        if len(self._images) > PAIRING_DEPTH:
            self._images.popitem(last=False)
            self.health.refused("no camera_info with the stamp of the image: is camera_info_topic right?")

    def on_info(self, message: CameraInfo) -> None:
        """Match the calibration to an image that waits, or keep it."""
        key = (message.header.stamp.sec, message.header.stamp.nanosec)
        if key in self._images:
            self.offer((self._images.pop(key), message))
            return
        self._infos[key] = message
        if len(self._infos) > PAIRING_DEPTH:
            self._infos.popitem(last=False)

    def process(self, item: tuple[Image, CameraInfo]) -> Time:
        """Detect and publish."""
        assert self.detector is not None
        image, info = item
        pixels = self.decode(image)
        camera_from_info(info, image.width, image.height)  # refused here, before the costly part
        message = heatmaps_message(self.detector(pixels), image.header, info)
        self.publisher.publish(message)
        self.health.count("persons", len(message.persons))
        return image.header.stamp


if __name__ == "__main__":
    sys.exit(run(DetectorNode))
