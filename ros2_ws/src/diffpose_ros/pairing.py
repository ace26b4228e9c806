# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Brings an image and its calibration together. Knows nothing of ROS."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

DEPTH = 10
"""Images or calibrations kept until the one with the same stamp arrives."""
PER_FRAME, LATEST, LATCHED = "per_frame", "latest", "latched"
MODES = (PER_FRAME, LATEST, LATCHED)
"""Every image has its own calibration of the same stamp; the newest one holds; likewise, and it was published once."""


class Pairing:
    """Pairs images with calibrations; every image leaves exactly once, or still waits.

    Args:
        mode: of :data:`MODES`.
        on_drop: called with the reason when an image is passed over by design.
        on_refuse: called with the reason when an image had no calibration.
    """

    def __init__(self, mode: str, on_drop: Callable[[str], None], on_refuse: Callable[[str], None]) -> None:
        self._per_frame = mode == PER_FRAME
        self._on_drop, self._on_refuse = on_drop, on_refuse
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._infos: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        """Number of images that wait."""
        return len(self._images)

    def image(self, stamp_ns: int, image: Any) -> tuple[Any, Any] | None:
        """Take an image; return it with its calibration if that is there."""
        if self._per_frame:
            if stamp_ns in self._infos:
                return image, self._infos.pop(stamp_ns)
        elif self._infos:
            return image, next(iter(self._infos.values()))
        if stamp_ns in self._images:
            self._on_drop("another image with the same stamp came")
        self._images[stamp_ns] = image
        self._images.move_to_end(stamp_ns)
        if len(self._images) > (DEPTH if self._per_frame else 1):
            self._images.popitem(last=False)
            if self._per_frame:
                self._on_refuse("no camera_info with the stamp of the image: is camera_info_topic right?")
            else:
                self._on_drop("no camera_info yet")
        return None

    def info(self, stamp_ns: int, info: Any) -> tuple[Any, Any] | None:
        """Take a calibration; return the image that waited for it, if one did."""
        if self._per_frame:
            if stamp_ns in self._images:
                return self._images.pop(stamp_ns), info
            self._infos[stamp_ns] = info
            if len(self._infos) > DEPTH:
                self._infos.popitem(last=False)
            return None
        self._infos = OrderedDict({stamp_ns: info})
        return (self._images.popitem()[1], info) if self._images else None

    def clear(self) -> int:
        """Forget everything but the calibration that holds; return how many images waited."""
        waiting = len(self._images)
        self._images.clear()
        if self._per_frame:
            self._infos.clear()
        return waiting
