# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Who is who from image to image: ByteTrack on the detector's boxes.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", 2110.06864, as implemented by the
package ``trackers`` (Roboflow, Apache-2.0), which predicts boxes over the true time between images. Boxes of high score
are matched to tracks first; those of low score then continue tracks that are left, but begin none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from diffpose_core.checks import checked

REFERENCE_HZ = 30
"""Rate in whose periods ``trackers`` counts; images may come at any other, and irregularly."""
BUFFER_RATIO = 0.2
"""Boxes are widened by this share of their size at either side before their overlap is taken: without, somebody who
begins to walk while hidden, or who is seen a few times a second, overlaps with the own prediction no more."""
MIN_OVERLAP = 0.1
DAMPING_S = 1.0
"""Time constant with which predicted boxes slow down, until they are seen again."""
KEPT_BONUS = 1.25
"""Who was kept in the last image counts so many times as large: two people of alike size must not take turns."""
MAX_TRACKS = 500
"""Tracks remembered; beyond it those longest unseen are forgotten."""
SAME_TIME_S = 1e-6
"""Taken to lie between images of the same stamp."""


def _upright_motion() -> type[Any]:
    """Return the motion of people's boxes: centres go on and slow down, sizes stay.

    With a velocity of every edge, a limb that was moving when its owner was hidden turned the box inside out within
    half a second.
    """
    from trackers.utils.state_representations import XCYCWHStateEstimator

    class UprightMotion(XCYCWHStateEstimator):  # type: ignore[misc]  # the package has no types
        def clamp_velocity(self, frame_step: float = 1.0) -> None:  # called before every prediction
            self.kf.state[4:6] *= math.exp(-frame_step / (REFERENCE_HZ * DAMPING_S))
            self.kf.state[6:] = 0.0

    return UprightMotion


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the tracker.

    Attributes:
        buffer_s: somebody unseen for so long, to a thirtieth of a second more, keeps the id.
        min_score: smallest score of a box that may begin a track, 0..1.
        max_persons: persons kept of an image. The larger ones go first, for they are nearer: by the longer side of the
            box, which of those kept before counts 1.25 times.

    Raises:
        ValueError: naming the field that is out of range.
    """

    buffer_s: float = 1.0
    min_score: float = 0.25
    max_persons: int = 16

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {"buffer_s": (0, 60), "min_score": (0, 1), "max_persons": (1, 1000)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {value}")


class PersonTracker:
    """Gives people ids that last as long as they are seen, and are never given twice.

    Args:
        config: settings; the defaults if None.
        ids: where new ids come from, each once; 0, 1, 2... if None.

    Raises:
        ImportError: the package ``trackers`` is not installed.
    """

    def __init__(self, config: TrackerConfig | None = None, ids: Iterator[int] | None = None) -> None:
        from trackers import BIoU, ByteTrackTracker

        self.config = config or TrackerConfig()
        self._tracker = ByteTrackTracker(
            lost_track_buffer=math.floor(self.config.buffer_s * REFERENCE_HZ) + 1,  # sums of periods are rounded
            frame_rate=REFERENCE_HZ,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=MIN_OVERLAP,
            iou=BIoU(BUFFER_RATIO),
            state_estimator_class=_upright_motion(),
        )
        self._ids = itertools.count() if ids is None else ids
        self._kept: set[int] = set()
        self._stamp_s = self._clock_s = -math.inf

    def __len__(self) -> int:
        """Return the number of people remembered, seen or not."""
        return len(self._tracker.tracks)

    def adjust(self, min_score: float, max_persons: int) -> None:
        """Change the limits from the next image on; see :class:`TrackerConfig`."""
        self.config = replace(self.config, min_score=min_score, max_persons=max_persons)

    def reset(self) -> None:
        """Forget everybody. Ids go on: whoever comes next is somebody else."""
        self._tracker.reset()
        self._kept = set()
        self._stamp_s = self._clock_s = -math.inf

    def update(self, boxes: Tensor, scores: Tensor, stamp_s: float) -> dict[int, int]:
        """Find the people of earlier images in this one.

        A stamp before the last one, as when a recording begins again, makes everybody new.

        Args:
            boxes: [P, 4] px, x_min, y_min, x_max, y_max; also of scores below ``min_score``.
            scores: [P] in 0..1.
            stamp_s: of the image, seconds.

        Returns:
            Row of the box -> id, of the persons kept, by rising row.

        Raises:
            ValueError: boxes or scores of another shape or not finite, a box without extent, or a stamp not finite.
        """
        import supervision

        config = self.config  # once: another thread may adjust it
        self._tracker.track_activation_threshold = self._tracker.high_conf_det_threshold = config.min_score
        boxes = checked("boxes", boxes, (None, 4))
        scores = checked("scores", scores, (len(boxes),))
        if len(boxes) and (boxes[:, 2:] <= boxes[:, :2]).any():
            raise ValueError(f"boxes must have x_max > x_min and y_max > y_min, got {boxes.tolist()}")
        if not math.isfinite(stamp_s):
            raise ValueError(f"stamp_s must be finite, got {stamp_s}")
        if stamp_s < self._stamp_s:
            self.reset()
        self._clock_s = max(stamp_s, self._clock_s + SAME_TIME_S)
        self._stamp_s = stamp_s
        rows = np.arange(len(boxes))
        confidence = scores.double().numpy()
        found = supervision.Detections(boxes.double().numpy(), confidence=confidence, data={"row": rows})
        told = self._tracker.update(found, timestamp=self._clock_s)
        ids = dict(zip(told.data["row"].tolist(), told.tracker_id.tolist(), strict=True)) if len(told) else {}
        # It numbers a track when that is seen again; here whoever is seen once is somebody.
        begun = [row for row, number in ids.items() if number < 0 and confidence[row] >= config.min_score]
        fresh = [track for track in self._tracker.tracks if track.tracker_id < 0]
        for row, track in zip(begun, fresh, strict=True):
            ids[row] = track.tracker_id = next(self._ids)
        self._tracker.tracks = sorted(self._tracker.tracks, key=lambda t: t.time_since_update)[:MAX_TRACKS]
        people = {row: number for row, number in ids.items() if number >= 0}
        return self._choose(boxes, people, config.max_persons)

    def _choose(self, boxes: Float[Tensor, "P 4"], ids: dict[int, int], most: int) -> dict[int, int]:
        """Return so many at most, and remember who."""
        sides = (boxes[:, 2:] - boxes[:, :2]).amax(-1).tolist()
        order = sorted(ids, key=lambda row: sides[row] * (KEPT_BONUS if ids[row] in self._kept else 1), reverse=True)
        rows = sorted(order[:most])
        self._kept = {ids[row] for row in rows}
        return {row: ids[row] for row in rows}
