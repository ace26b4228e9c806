#!/usr/bin/env python3
"""Image and its calibration in, one heatmap per joint and person out."""

from __future__ import annotations

import sys
from collections import OrderedDict

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
        p = self.parameters
        config = DetectorConfig(conf=p.min_score, max_persons=p.max_persons, image_size=p.image_size)
        device = choose_device(self, p.device)
        self.detector = YoloPoseDetector(p.weights or None, device, config, p.allow_unsafe_weights)
        self.decode, decoder = image_decoder()
        self.health.facts |= {
            "device": device, "threads": str(set_threads(p.num_threads)), "image_decoder": decoder,
            "weights": p.weights or "packaged yolo11n-pose.pt",
        }  # fmt: skip
        self.detector(np.zeros((p.image_size, p.image_size, 3), np.uint8))  # the first run is slow: now, not on a frame
        self._images: OrderedDict[tuple[int, int], Image] = OrderedDict()
        self._infos: OrderedDict[tuple[int, int], CameraInfo] = OrderedDict()
        self.publisher = self.create_publisher(Heatmaps, "human_pose2d/heatmaps", RESULTS)
        reliable = (
            ReliabilityPolicy.RELIABLE if p.image_reliability == RELIABILITIES[1] else ReliabilityPolicy.BEST_EFFORT
        )
        qos = QoSProfile(depth=5, reliability=reliable)
        self.create_subscription(Image, "image_raw", self.on_image, qos)
        self.create_subscription(CameraInfo, "camera_info", self.on_info, qos)
        self.get_logger().info(f"ready: {self.health.facts}")

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
        image, info = item
        pixels = self.decode(image)
        camera_from_info(info, image.width, image.height)  # refused here, before the costly part
        message = heatmaps_message(self.detector(pixels), image.header, info)
        self.publisher.publish(message)
        self.health.count("persons", len(message.persons))
        return image.header.stamp


if __name__ == "__main__":
    sys.exit(run(DetectorNode))
