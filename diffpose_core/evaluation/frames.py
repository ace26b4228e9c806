# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Which frames are scored, cut into batches that do not depend on who works on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diffpose_core.camera import Camera
from diffpose_core.data.prepared import PreparedPoses, RecordingInfo
from diffpose_core.data.synthetic import SyntheticConfig, synthesize
from diffpose_core.evaluation.protocol import Protocol

BATCH = 16
"""Frames of one camera that are estimated together."""
FrameList = Mapping[str, AbstractSet[int]]
"""Recording's name to numbers of frames."""


@dataclass(frozen=True)
class Batch:
    """Frames of one camera, one person in each.

    Attributes:
        camera: the true one.
        joints: [P, 17, 3] true joints, metres, optical frame.
        recordings: which one each frame is of.
        frames: [P] its number in it.
        keypoints: [P, 17, 2] px, of the prepared file; None without.
        confidence: [P, 17] 0 to 1; None without keypoints.
    """

    camera: Camera
    joints: Float[Tensor, "P 17 3"]
    recordings: list[RecordingInfo]
    frames: Int[Tensor, "P"]
    keypoints: Float[Tensor, "P 17 2"] | None = None
    confidence: Float[Tensor, "P 17"] | None = None

    def __len__(self) -> int:
        return len(self.joints)


@dataclass(frozen=True)
class FramePlan:
    """The frames of a file that a protocol scores.

    Attributes:
        data: the file.
        recordings: those that are scored.
        batches: indices of poses, [at most BATCH] each, and the camera's number; None of a synthetic one.
    """

    data: PreparedPoses
    recordings: list[RecordingInfo]
    batches: list[tuple[int | None, Int[Tensor, "_"]]]

    def __len__(self) -> int:
        return sum(len(poses) for _, poses in self.batches)

    @classmethod
    def of(
        cls, data: PreparedPoses, protocol: Protocol, split: str = "test", only: FrameList | None = None,
        max_frames: int = 0,
    ) -> FramePlan:  # fmt: skip
        """Choose frames.

        Args:
            data: the file.
            protocol: which recordings and which of their frames.
            split: whose subjects.
            only: if given, no others than these frames; the protocol's stride is then not applied.
            max_frames: if above 0, at most so many, evenly spread.

        Raises:
            ValueError: no frame is left, a list is needed and not given, ``only`` names a recording or frame that is
                not there, or a recording has no camera where the protocol needs one.
        """
        if protocol.listed and only is None:
            raise ValueError(f"frame_list must be given: {protocol.title} are those of a list")
        recordings = [r for r in data.of_split(split) if protocol.takes(r.name) and (only is None or r.name in only)]
        if only is not None and (unknown := sorted(set(only) - {r.name for r in recordings})):
            raise ValueError(f"{data.path}: split {split!r} has no recording {unknown[0]!r} ({len(unknown)} such)")
        if protocol.views == "recorded" and (blind := [r.name for r in recordings if r.camera is None]):
            raise ValueError(
                f"{data.path}: recording {blind[0]!r} has no camera ({len(blind)} such); the protocol needs them"
            )
        poses, cameras = list[Tensor](), list[int | None]()
        for recording in recordings:
            frames = data.frames[recording.first : recording.first + recording.length]
            if only is None and protocol.views == "synthetic":
                taken = torch.arange(len(frames)) % protocol.stride == 0
            elif only is None:
                taken = frames % protocol.stride == 0
            else:
                taken = torch.isin(frames, torch.tensor(sorted(only[recording.name]), dtype=frames.dtype))
                if int(taken.sum()) != len(only[recording.name]):
                    raise ValueError(
                        f"{data.path}: {recording.name!r} lacks {len(only[recording.name]) - int(taken.sum())} of the "
                        f"{len(only[recording.name])} frames asked for"
                    )
            poses.append(recording.first + taken.nonzero()[:, 0])
            camera = recording.camera if protocol.views == "recorded" else None
            cameras += [camera] * len(poses[-1])
        if not cameras:
            raise ValueError(f"{data.path}: the protocol takes no frame of split {split!r}")
        chosen = torch.cat(poses)
        if 0 < max_frames < len(chosen):
            spread = ((torch.arange(max_frames) + 0.5) * len(chosen) / max_frames).long()
            chosen, cameras = chosen[spread], [cameras[i] for i in spread.tolist()]
        batches = []
        for camera in dict.fromkeys(cameras):
            mine = chosen[torch.tensor([c == camera for c in cameras])]
            batches += [(camera, part) for part in mine.split(BATCH)]
        return cls(data, recordings, batches)

    def read(self, number: int, generator: torch.Generator) -> Batch:
        """Read a batch; ``generator`` draws synthetic cameras, the same for the same seed."""
        camera_number, poses = self.batches[number]
        world, frames = self.data.joints[poses], self.data.frames[poses]
        recordings = list(self._recordings_of(poses))
        if camera_number is None:
            scene = synthesize(world, SyntheticConfig(), generator)
            return Batch(scene.camera, scene.joints, recordings, frames)
        assert self.data.camera_from_world is not None
        pose = self.data.camera_from_world[poses]
        joints = torch.einsum("pij,pkj->pki", pose[..., :3], world) + pose[:, None, :, 3]
        keypoints = confidence = None
        if self.data.keypoints is not None and self.data.keypoint_confidence is not None:
            keypoints, confidence = self.data.keypoints[poses], self.data.keypoint_confidence[poses]
        return Batch(self.data.cameras[camera_number], joints, recordings, frames, keypoints, confidence)

    def _recordings_of(self, poses: Tensor) -> Iterator[RecordingInfo]:
        starts = torch.tensor([r.first for r in self.recordings])
        for at in (torch.searchsorted(starts, poses, right=True) - 1).tolist():
            yield self.recordings[at]
