#!/usr/bin/env python3
"""Heatmaps in, weighted 3D skeletons with uncertainty out."""

from __future__ import annotations

import sys

import torch
from builtin_interfaces.msg import Time

from diffpose.msg import Heatmaps as HeatmapsMessage
from diffpose.msg import Hypotheses, SkeletonDefinition
from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PoseEstimator, PosePrior, SamplerConfig
from diffpose_ros.conversions import heatmaps_from_message, hypotheses_message, skeleton_message
from diffpose_ros.parameters import DiffusionParameters
from diffpose_ros.runtime import LATCHED, RESULTS, WorkerNode, choose_device, run, set_threads


class DiffusionNode(WorkerNode[DiffusionParameters]):
    """Subscribes ``human_pose2d/heatmaps``; publishes ``human_pose3d/hypotheses`` and ``human_pose3d/skeleton``."""

    def __init__(self) -> None:
        super().__init__(DiffusionParameters)
        p = self.parameters
        device = choose_device(self, p.device)
        threads = set_threads(p.num_threads)
        prior = PosePrior.from_pretrained(p.prior or None)
        sampler = SamplerConfig(guidance=p.guidance, steps=p.steps, repeats=p.repeats, precision=p.precision)
        self.estimator = PoseEstimator(prior, device, sampler)
        self.health.facts |= {
            "device": device, "threads": str(threads), "prior": p.prior or "packaged", "prior_sha256": prior.sha256,
            "guidance": p.guidance, "steps": str(p.steps), "repeats": str(p.repeats),
            "num_hypotheses": str(p.num_hypotheses), "precision": p.precision,
        }  # fmt: skip
        self._warm_up()
        self.publisher = self.create_publisher(Hypotheses, "human_pose3d/hypotheses", RESULTS)
        self.skeleton_publisher = self.create_publisher(SkeletonDefinition, "human_pose3d/skeleton", LATCHED)
        self.skeleton_publisher.publish(skeleton_message(H36M17))
        self.create_subscription(HeatmapsMessage, "human_pose2d/heatmaps", self.on_heatmaps, RESULTS)
        self.get_logger().info(f"ready: {self.health.facts}")

    def _warm_up(self) -> None:
        """Run once before the first frame: the first inference of a process takes seconds."""
        pixels = 100 + 200 * torch.rand(1, len(COCO17), 2, generator=torch.Generator().manual_seed(0))
        still = Heatmaps.from_keypoints(
            pixels, 25 * torch.eye(2).expand(1, len(COCO17), 2, 2), torch.ones(1, len(COCO17))
        )
        self.estimator(still, Camera.from_field_of_view(640, 480), self.parameters.num_hypotheses)

    def on_heatmaps(self, message: HeatmapsMessage) -> None:
        """Hand over to the worker."""
        self.health.received()
        self.offer(message)

    def process(self, message: HeatmapsMessage) -> Time:
        """Infer and publish."""
        heatmaps, camera = heatmaps_from_message(message)
        generator = torch.Generator(self.estimator.device).manual_seed(self.parameters.seed)
        posterior = self.estimator(heatmaps, camera, self.parameters.num_hypotheses, generator)
        result, missing = hypotheses_message(posterior, message)
        self.publisher.publish(result)
        self.health.count("persons", len(result.persons))
        self.health.count("persons_missing", missing)
        return message.header.stamp


if __name__ == "__main__":
    sys.exit(run(DiffusionNode))
