# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Where frames come from: still images and video files; webcams open here, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from diffpose_ros.webcam import Webcam

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def open_source(source: str, frames_per_image: int, loop: bool, now_ns: Callable[[], int]) -> FrameSource | Webcam:
    """Open files or, by a device path or a number, a webcam.

    Args:
        source: what to open.
        frames_per_image: how many frames a still image is held for.
        loop: begin again at the end of files.
        now_ns: the clock of the stamps of a webcam.

    Raises:
        ValueError: there is no such source, or it holds nothing that can be read.
    """
    if not source.isdecimal() and not source.startswith("/dev/"):
        return FrameSource(source, frames_per_image, loop)
    device = int(source) if source.isdecimal() else source
    return Webcam(source, lambda: cv2.VideoCapture(device), now_ns)


class FrameSource:
    """Reads frames of files one by one.

    Args:
        source: image file, folder of images, or video file.
        frames_per_image: how many frames a still image is held for.
        loop: begin again at the end of files.

    Raises:
        ValueError: there is no such source, or it holds nothing that can be read.
    """

    def __init__(self, source: str, frames_per_image: int, loop: bool) -> None:
        self.source, self.loop = source, loop
        self._capture: cv2.VideoCapture | None = None
        self._images: list[Path] = []
        self._hold, self._next = frames_per_image, 0
        self._held: tuple[int, np.ndarray] | None = None
        path = Path(source)
        if not source:
            raise ValueError("parameter source must name an image, a folder, a video or a webcam, got ''")
        if path.is_dir():
            self._images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not self._images:
                raise ValueError(f"parameter source: the folder {source} holds no image ({', '.join(IMAGE_SUFFIXES)})")
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            if not path.is_file():
                raise ValueError(f"parameter source: there is no file {source}")
            self._images = [path]
        else:
            if not path.is_file():
                raise ValueError(f"parameter source: there is no file {source}")
            self._capture = cv2.VideoCapture(source)
            if not self._capture.isOpened():
                raise ValueError(f"parameter source: {source} is neither an image nor a video that OpenCV can open")

    def read(self) -> np.ndarray | None:
        """Return the next frame, [H, W, 3] uint8 blue green red, or None at the end.

        Raises:
            ValueError: this image cannot be read; the next call goes on behind it.
        """
        return self._read_image() if self._capture is None else self._read_capture(self._capture)

    def _read_image(self) -> np.ndarray | None:
        index, self._next = self._next // self._hold, self._next + 1
        if index == len(self._images):
            if not self.loop:
                self._next -= 1
                return None
            index, self._next = 0, 1
        if self._held is None or self._held[0] != index:
            reason = ""
            try:
                image = cv2.imread(str(self._images[index]), cv2.IMREAD_COLOR)
            except cv2.error as error:  # it announces more pixels than OpenCV takes
                image, reason = None, f": {error.err}"
            if image is None:
                self._next = (index + 1) * self._hold
                raise ValueError(f"image file {self._images[index]} cannot be read{reason}")
            self._held = (index, image)
        return self._held[1]

    def _read_capture(self, capture: cv2.VideoCapture) -> np.ndarray | None:
        found, image = capture.read()
        if not found and self.loop:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found, image = capture.read()
        return image if found else None
