#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Image files, a video or a webcam in, ``image_raw`` and ``camera_info`` out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from diffpose_core import Camera
from diffpose_ros.calibration import load_calibration
from diffpose_ros.conversions import camera_info
from diffpose_ros.images import image_message
from diffpose_ros.managed import ManagedNode
from diffpose_ros.parameters import CameraParameters
from diffpose_ros.runtime import run
from diffpose_ros.sources import FrameSource, open_source
from diffpose_ros.webcam import Webcam, WebcamLost


class CameraNode(ManagedNode[CameraParameters]):
    """Publishes frames at a steady rate, each with the calibration of the same stamp."""

    def __init__(self) -> None:
        super().__init__(CameraParameters)
        self.source: FrameSource | Webcam | None = None
        self.timer: Any = None

    def configure(self) -> None:
        """Open the source and read the calibration."""
        p = self.parameters
        self.source = open_source(p.source, p.frames_per_image, p.loop, self.now_ns)
        self.calibration = load_calibration(p.calibration_file) if p.calibration_file else None
        if self.calibration is None:
            self.get_logger().warning(
                f"no calibration_file: the camera is GUESSED from a horizontal field of view of "
                f"{p.horizontal_fov_deg:g} degrees; distances scale with the error of that guess"
            )
        calibration = p.calibration_file or f"guessed from {p.horizontal_fov_deg:g} degrees field of view"
        self.health.facts |= {"source": p.source, "calibration": calibration}
        # Reliable serves every subscriber; one that wants best effort gets it.
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self.image_publisher = self.advertise(Image, "image_raw", qos)
        self.info_publisher = self.advertise(CameraInfo, "camera_info", qos)

    def activate(self) -> None:
        """Begin to publish."""
        self.timer = self.every(1 / self.parameters.rate_hz, self.publish_frame)

    def deactivate(self) -> None:
        """Forget the timer."""
        self.timer = None

    def cleanup(self) -> None:
        """Let go of the source."""
        if isinstance(self.source, Webcam):
            self.source.close()
        self.source = None

    def on_parameters(self) -> None:
        """Publish at the rate that is wanted now."""
        if self.timer is not None:
            self.repeat(self.timer, 1 / self.parameters.rate_hz)

    def publish_frame(self) -> None:
        """Publish the next frame, once images and calibrations have subscribers."""
        if not (self.image_publisher.get_subscription_count() and self.info_publisher.get_subscription_count()):
            self.health.idle = "images and calibrations do not both have a subscriber"
            return
        if self.health.idle:
            self.health.wake()
        try:
            frame = self._frame()
        except (ValueError, WebcamLost) as error:
            self.health.received()
            (self.health.refused if isinstance(error, ValueError) else self.health.failed)(str(error))
            return
        if frame is None:
            return
        self.health.received()
        image, taken_ns = frame
        try:
            header = Header(stamp=Time(nanoseconds=taken_ns).to_msg(), frame_id=self.parameters.frame_id)
            info = camera_info(self._camera(image.shape[1], image.shape[0]), header)
        except ValueError as error:
            self.health.refused(str(error))
            return
        self.info_publisher.publish(info)
        self.image_publisher.publish(image_message(image, header))
        self.health.processed((self.now_ns() - taken_ns) * 1e-9)

    def _frame(self) -> tuple[np.ndarray, int] | None:
        """Return the next frame and when it was taken, ns; None if the webcam has no newer one or the files have ended.

        Raises:
            ValueError: the image cannot be read.
            WebcamLost: the webcam gives none any more.
        """
        assert self.source is not None
        if isinstance(self.source, Webcam):
            return self.source.read(1 / self.parameters.rate_hz)
        taken_ns = self.now_ns()
        image = self.source.read()
        if image is not None:
            return image, taken_ns
        self.timer.cancel()
        self.health.idle = "the source has ended"
        self.health.facts["source"] = f"{self.parameters.source} (ended)"
        self.get_logger().info(f"the source has ended: {self.parameters.source}")
        return None

    def _camera(self, width: int, height: int) -> Camera:
        if self.calibration is None:
            return Camera.from_field_of_view(width, height, self.parameters.horizontal_fov_deg)
        size = (self.calibration.width, self.calibration.height)
        if size != (width, height):
            raise ValueError(f"calibration_file is for {size[0]} x {size[1]} px, the image has {width} x {height}")
        return self.calibration


if __name__ == "__main__":
    sys.exit(run(CameraNode))
