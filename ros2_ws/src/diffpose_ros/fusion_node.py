#!/usr/bin/env python3
# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Heatmaps, and depth images if wanted, of several cameras in; one set of weighted 3D skeletons out."""

from __future__ import annotations

import itertools
import sys
from functools import partial
from typing import Any

import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose.msg import Heatmaps as HeatmapsMessage
from diffpose_core import PoseEstimator, fusion
from diffpose_core.identity import FusedIdentities
from diffpose_ros import synchroniser
from diffpose_ros.conversions import aligned_depth, heatmaps_from_message
from diffpose_ros.extrinsics import Extrinsics, FileExtrinsics, TfExtrinsics, relative
from diffpose_ros.inference import InferenceNode, wait_period_s
from diffpose_ros.parameters import FusionParameters
from diffpose_ros.runtime import RESULTS, nanoseconds, run
from diffpose_ros.synchroniser import Synchroniser

Group = dict[str, synchroniser.View]


class FusionNode(InferenceNode[FusionParameters]):
    """Subscribes, in the namespace of every camera, ``human_pose2d/heatmaps`` and, with ``use_depth``, ``depth/image``.

    Its inputs are instants: what all cameras saw at one time. Results: see the base class.
    """

    def __init__(self) -> None:
        super().__init__(FusionParameters)
        self.extrinsics: Extrinsics | None = None
        self.timer: Any = None
        self._ids = itertools.count()
        self.identities = FusedIdentities(ids=self._ids)

    def configure(self) -> None:
        """Read where the cameras are."""
        p = self.parameters
        if p.extrinsics_file:
            self.extrinsics = FileExtrinsics(p.extrinsics_file, p.target_frame, p.cameras)
        else:
            self.extrinsics = TfExtrinsics(self, p.target_frame, "extrinsics_file is empty")
        self.health.facts |= {
            "cameras": ", ".join(p.cameras), "target_frame": p.target_frame, "extrinsics": p.extrinsics_file or "TF",
        }  # fmt: skip
        self.done_publishers = {
            name: self.advertise(Header, f"{name}/human_pose2d/done", RESULTS, steady=False) for name in p.cameras
        }
        self.instants = Synchroniser(p.cameras, p.with_depth, p.sync_slop_s, p.sync_wait_s, self.on_late)
        super().configure()

    def on_parameters(self) -> None:
        """Wait as long for the other cameras as is wanted now."""
        super().on_parameters()
        self.instants.set_limits(self.parameters.sync_slop_s, self.parameters.sync_wait_s)
        if self.timer is not None:
            self.repeat(self.timer, wait_period_s(self.parameters))

    def activate(self) -> None:
        """Subscribe."""
        super().activate()
        self.timer = self.every(wait_period_s(self.parameters), self.on_timer)

    def listen(self) -> None:
        """Subscribe every camera's heatmaps, and the depth images that are used."""
        p = self.parameters
        for name in p.cameras:
            self.subscribe(HeatmapsMessage, f"{name}/human_pose2d/heatmaps", partial(self.on_heatmaps, name), RESULTS)
            if name in p.with_depth:
                self.subscribe_depth(f"{name}/depth/image", partial(self.on_depth, name))

    def deactivate(self) -> None:
        """Wait for nothing."""
        super().deactivate()
        self.timer = None

    def forget(self) -> int:
        """Let go of heatmaps that wait for others (parts of inputs, counted by themselves) and of who was seen."""
        dropped = super().forget()
        self.identities = FusedIdentities(ids=self._ids)  # others: the worker may be at work with these
        if self.extrinsics is not None:
            self.health.count("heatmaps dropped before their instant was complete", self.instants.clear())
        return dropped

    def cleanup(self) -> None:
        """Listen to TF no more."""
        super().cleanup()
        if isinstance(self.extrinsics, TfExtrinsics):
            self.extrinsics.close()
        self.extrinsics = None

    def on_heatmaps(self, name: str, message: HeatmapsMessage) -> None:
        """Bring together what the cameras saw at this instant."""
        self.health.count(f"heatmaps of {name}")
        stamp_ns = nanoseconds(message.header.stamp)
        if reason := self.unsound(stamp_ns):
            self.health.received()  # it would have been a whole instant, or part of one
            self.health.refused(f"camera {name}: {reason}")
        else:
            self.hand_over(self.instants.heatmaps(name, stamp_ns, message, self.now_ns()))

    def on_depth(self, name: str, message: Image) -> None:
        """Match it to heatmaps that wait, or keep it."""
        if self.depth_is_sound(message):
            self.hand_over(self.instants.depth(name, nanoseconds(message.header.stamp), message, self.now_ns()))

    def on_timer(self) -> None:
        """Let go of instants of which something did not come."""
        self.hand_over(self.instants.ready(self.now_ns()))

    def on_late(self, name: str) -> None:
        """Count heatmaps that no instant took."""
        self.health.degraded(f"late heatmaps of camera {name}", "their instant was over: is sync_wait_s too short?")

    def hand_over(self, groups: list[Group]) -> None:
        """Pass instants to the worker."""
        for group in groups:
            self.health.received()
            self.offer(group, min(view.stamp_ns for view in group.values()))

    def done(self, item: Group) -> None:
        """Tell the detectors."""
        for name, view in item.items():
            self.done_publishers[name].publish(Header(stamp=view.heatmaps.header.stamp))

    def process(self, item: Group) -> Time:
        """Fuse and publish."""
        p = self.parameters
        views, sources = self._views(item)
        # The prior knows people as level cameras see them: upright along the y axis of an optical frame.
        target_from_reference = views[0].reference_from_camera
        if p.target_z_up:
            target_from_reference = fusion.level_frame(target_from_reference)
        views = [
            fusion.View(v.heatmaps, v.camera, relative(target_from_reference, v.reference_from_camera), v.depth_m)
            for v in views
        ]

        def fuse(estimator: PoseEstimator, hypotheses: int, generator: torch.Generator) -> fusion.Fusion:
            return fusion.fuse(estimator, views, hypotheses, generator)

        fused, effort = self.in_time(max(len(view.heatmaps) for view in views), fuse)
        seen = [  # camera -> what it saw, of every person
            {
                name: source.persons[i]
                for (name, source), i in zip(sources.items(), members, strict=True)
                if i is not None
            }
            for members in fused.members
        ]
        scores = [max(person.score for person in by_camera.values()) for by_camera in seen]
        order = sorted(range(len(scores)), key=lambda person: -scores[person])
        stamp = min((source.header.stamp for source in sources.values()), key=nanoseconds)
        header = Header(stamp=stamp, frame_id=p.target_frame)
        ids = self.identities.update(
            [{name: person.id for name, person in seen[n].items()} for n in order],
            1e-9 * min(view.stamp_ns for view in item.values()),  # of instants these rise
        )
        posterior = fused.posterior.of(order).transformed(target_from_reference)
        self.publish(posterior, header, ids, [scores[person] for person in order], effort)
        for by_camera in seen:
            self.health.count(f"persons_seen_by_{len(by_camera)}")
        return stamp

    def _views(self, group: Group) -> tuple[list[fusion.View], dict[str, HeatmapsMessage]]:
        """Return the views that can be used, in target_frame, and their messages; count and name the others."""
        views, sources, lacking = [], {}, {}
        for name in self.parameters.cameras:
            try:
                if name not in group:
                    raise ValueError("no heatmaps within sync_slop_s of the others'")
                message = group[name].heatmaps
                views.append(self._view(name, message, group[name].depth))
                sources[name] = message
            except ValueError as error:
                lacking[name] = str(error)
        if not views:
            raise ValueError("; ".join(f"camera {name}: {reason}" for name, reason in lacking.items()))
        for name, reason in lacking.items():
            self.lacks(f"without camera {name}", reason)
        return views, sources

    def _view(self, name: str, message: HeatmapsMessage, depth: Image | None) -> fusion.View:
        assert self.extrinsics is not None
        heatmaps, camera = heatmaps_from_message(message)
        target_from_camera = self.extrinsics(name, message.header)
        depth_m = None if depth is None else aligned_depth(depth, message)
        if depth is None and name in self.parameters.with_depth:
            self.lacks(f"without depth of camera {name}", "no image within sync_slop_s of its heatmaps")
        return fusion.View(heatmaps, camera, target_from_camera, depth_m)


if __name__ == "__main__":
    sys.exit(run(FusionNode))
