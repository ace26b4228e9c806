#!/usr/bin/env python3
"""Heatmaps in, and a depth image if wanted; weighted 3D skeletons with uncertainty out."""

from __future__ import annotations

import sys

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps as HeatmapsMessage
from diffpose_core.likelihood import DepthImage, HeatmapLikelihood, Likelihood
from diffpose_ros.conversions import aligned_depth, heatmaps_from_message
from diffpose_ros.extrinsics import TfExtrinsics
from diffpose_ros.inference import THREADS, InferenceNode
from diffpose_ros.parameters import DiffusionParameters
from diffpose_ros.runtime import RESULTS, nanoseconds, run
from diffpose_ros.synchroniser import Synchroniser, View

CAMERA = "camera"


class DiffusionNode(InferenceNode[DiffusionParameters]):
    """Subscribes ``human_pose2d/heatmaps`` and, with ``use_depth``, ``depth/image``; results: see the base class."""

    def __init__(self) -> None:
        super().__init__(DiffusionParameters)
        p = self.parameters
        self.target = (
            TfExtrinsics(self, p.target_frame, f"target_frame is {p.target_frame!r}") if p.target_frame else None
        )
        self.health.facts["target_frame"] = p.target_frame or "that of the camera"
        self.create_subscription(HeatmapsMessage, "human_pose2d/heatmaps", self.on_heatmaps, RESULTS)
        if p.use_depth:
            self.pairs = Synchroniser([CAMERA], [CAMERA], p.sync_slop_s, p.sync_wait_s, self.on_late)
            self.subscribe_depth("depth/image", self.on_depth)
            self.create_timer(max(p.sync_wait_s / 4, 0.01), self.on_timer)
        self.get_logger().info(f"ready: {self.health.facts}")

    def on_heatmaps(self, message: HeatmapsMessage) -> None:
        """Hand over to the worker, or wait for the depth image of this instant."""
        self.health.received()
        if not self.parameters.use_depth:
            self.offer((message, None))
            return
        self.hand_over(self.pairs.heatmaps(CAMERA, nanoseconds(message.header.stamp), message, self.now_ns()))

    def on_depth(self, message: Image) -> None:
        """Match it to heatmaps that wait, or keep it."""
        self.hand_over(self.pairs.depth(CAMERA, nanoseconds(message.header.stamp), message, self.now_ns()))

    def on_timer(self) -> None:
        """Let go of heatmaps whose depth image did not come."""
        self.hand_over(self.pairs.ready(self.now_ns()))

    def on_late(self, camera: str) -> None:
        """Count heatmaps that came when newer ones were served already."""
        self.health.dropped("newer heatmaps were served before they came")

    def hand_over(self, groups: list[dict[str, View]]) -> None:
        """Pass heatmaps and what depth came with them to the worker."""
        for group in groups:
            self.offer((group[CAMERA].heatmaps, group[CAMERA].depth))

    def process(self, item: tuple[HeatmapsMessage, Image | None]) -> Time:
        """Infer and publish."""
        message, depth = item
        heatmaps, camera = heatmaps_from_message(message)
        # First: a frame without a transform must not cost an inference.
        target_from_camera = self.target(CAMERA, message.header) if self.target else None
        likelihoods: list[Likelihood] = [HeatmapLikelihood(heatmaps, camera)]
        if depth is not None:
            likelihoods.append(DepthImage(aligned_depth(depth, message), camera, len(heatmaps)))
        elif self.parameters.use_depth:
            self.health.degraded("without depth", "no image within sync_slop_s of the heatmaps")
        posterior = self.estimate(
            lambda generator: self.estimator.infer(likelihoods, self.parameters.num_hypotheses, generator),
            self.parameters.seed,
        )
        header = message.header
        if target_from_camera is not None:
            posterior = posterior.transformed(target_from_camera)
            header = Header(stamp=header.stamp, frame_id=self.parameters.target_frame)
        self.publish(posterior, header, [p.id for p in message.persons], [p.score for p in message.persons])
        return message.header.stamp


if __name__ == "__main__":
    sys.exit(run(DiffusionNode, THREADS))
