#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Heatmaps in, and a depth image if wanted; weighted 3D skeletons with uncertainty out."""

from __future__ import annotations

import sys
from typing import Any

import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps as HeatmapsMessage
from diffpose_core import PoseEstimator, PosePosterior
from diffpose_core.likelihood import DepthImage, HeatmapLikelihood, Likelihood
from diffpose_ros.conversions import aligned_depth, heatmaps_from_message
from diffpose_ros.extrinsics import TfExtrinsics
from diffpose_ros.inference import InferenceNode, wait_period_s
from diffpose_ros.parameters import DiffusionParameters
from diffpose_ros.runtime import RESULTS, nanoseconds, run
from diffpose_ros.synchroniser import Synchroniser, View

CAMERA = "camera"


class DiffusionNode(InferenceNode[DiffusionParameters]):
    """Subscribes ``human_pose2d/heatmaps`` and, with ``use_depth``, ``depth/image``; results: see the base class."""

    def __init__(self) -> None:
        super().__init__(DiffusionParameters)
        p = self.parameters
        self.pairs = Synchroniser([CAMERA], [CAMERA], p.sync_slop_s, p.sync_wait_s, self.on_late)
        self.timer: Any = None
        self.target: TfExtrinsics | None = None

    def configure(self) -> None:
        """Listen to TF, if the results are wanted in another frame than the camera's."""
        frame = self.parameters.target_frame
        if frame:
            self.target = TfExtrinsics(self, frame, f"target_frame is {frame!r}")
        self.health.facts["target_frame"] = frame or "that of the camera"
        self.done_publisher = self.advertise(Header, "human_pose2d/done", RESULTS, steady=False)
        super().configure()

    def cleanup(self) -> None:
        """Listen to TF no more."""
        super().cleanup()
        if self.target is not None:
            self.target.close()
        self.target = None

    def on_parameters(self) -> None:
        """Wait as long for depth images as is wanted now."""
        super().on_parameters()
        p = self.parameters
        self.pairs.set_limits(p.sync_slop_s, p.sync_wait_s)
        if self.timer is not None:
            self.repeat(self.timer, wait_period_s(p))

    def activate(self) -> None:
        """Look now and then for depth images that did not come."""
        super().activate()
        if self.parameters.use_depth:
            self.timer = self.every(wait_period_s(self.parameters), self.on_timer)

    def listen(self) -> None:
        """Subscribe heatmaps, and depth images where they are used."""
        self.subscribe(HeatmapsMessage, "human_pose2d/heatmaps", self.on_heatmaps, RESULTS)
        if self.parameters.use_depth:
            self.subscribe_depth("depth/image", self.on_depth)

    def deactivate(self) -> None:
        """Wait for nothing."""
        super().deactivate()
        self.timer = None

    def forget(self) -> int:
        """Let go of heatmaps that wait for their depth image, too."""
        return super().forget() + self.pairs.clear()

    def on_heatmaps(self, message: HeatmapsMessage) -> None:
        """Hand over to the worker, or wait for the depth image of this instant."""
        self.health.received()
        stamp_ns = nanoseconds(message.header.stamp)
        if not self.parameters.use_depth:
            self.offer((message, None), stamp_ns)
        elif reason := self.unsound(stamp_ns):
            self.health.refused(reason)
        else:
            self.hand_over(self.pairs.heatmaps(CAMERA, stamp_ns, message, self.now_ns()))

    def on_depth(self, message: Image) -> None:
        """Match it to heatmaps that wait, or keep it."""
        if self.depth_is_sound(message):
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
            self.offer((group[CAMERA].heatmaps, group[CAMERA].depth), group[CAMERA].stamp_ns)

    def done(self, item: tuple[HeatmapsMessage, Image | None]) -> None:
        """Tell the detector."""
        self.done_publisher.publish(Header(stamp=item[0].header.stamp))

    def process(self, item: tuple[HeatmapsMessage, Image | None]) -> Time:
        """Infer and publish."""
        message, depth = item
        p = self.parameters
        heatmaps, camera = heatmaps_from_message(message)
        # First: a frame without a transform must not cost an inference.
        target_from_camera = self.target(CAMERA, message.header) if self.target else None
        likelihoods: list[Likelihood] = [HeatmapLikelihood(heatmaps, camera)]
        if depth is not None:
            likelihoods.append(DepthImage(aligned_depth(depth, message), camera, len(heatmaps)))
        elif p.use_depth:
            self.lacks("without depth", "no image within sync_slop_s of the heatmaps")

        def infer(estimator: PoseEstimator, hypotheses: int, generator: torch.Generator) -> PosePosterior:
            return estimator.infer(likelihoods, hypotheses, generator)

        posterior, effort = self.in_time(len(heatmaps), infer)
        header, ids = message.header, [q.id for q in message.persons]
        if target_from_camera is not None:
            posterior = posterior.transformed(target_from_camera)
            header = Header(stamp=header.stamp, frame_id=p.target_frame)
        self.publish(posterior, header, ids, [q.score for q in message.persons], effort)
        return message.header.stamp


if __name__ == "__main__":
    sys.exit(run(DiffusionNode))
