# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A webcam's newest frame, and when it was taken. Knows nothing of ROS.

Drivers hold some frames back and hand out the oldest: who reads more slowly than they come gets old ones, after a
pause as old as the pause. So a thread takes them all.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

RETRY_S = 1.0
"""Time between attempts to open a device again that was lost."""
UNASKED_S = 1.0
"""Frames are decoded until nobody has asked for one for so long, or for two periods."""
END_S = 8.0
"""OpenCV waits for up to 10 s for a frame of a device that hangs; a node may not take that long to end."""


class Device(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool:
        """Whether there is such a device."""

    def grab(self) -> bool:
        """Wait for the next frame and take it."""

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decode the frame that was taken."""

    def release(self) -> None:
        """Let go of the device."""


class WebcamLost(Exception):
    """The device gives no frames any more; it is opened again as soon as it is back."""


class Webcam:
    """Takes frames from a device until it is closed.

    Args:
        name: of the device, for messages.
        open_device: opens it.
        now_ns: the clock of the stamps.

    Raises:
        ValueError: it cannot be opened.
    """

    def __init__(self, name: str, open_device: Callable[[], Device], now_ns: Callable[[], int]) -> None:
        self._name, self._open, self._now_ns = name, open_device, now_ns
        self._device = open_device()
        if not self._device.isOpened():
            raise ValueError(f"parameter source: {name} is no webcam that OpenCV can open")
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._newest: tuple[np.ndarray, int] | Exception | None = None
        self._wanted_until_s = -math.inf
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self, period_s: float) -> tuple[np.ndarray, int] | None:
        """Return the newest frame, [H, W, 3] uint8 blue green red, and its stamp, ns; None if there is no newer one.

        Args:
            period_s: when it will be asked again. Who asks much later finds nothing of the time between.

        Raises:
            WebcamLost: once for every time that it was lost.
            ValueError: once for every frame that could not be decoded, and was the newest.
        """
        now_s = time.monotonic()
        with self._lock:
            paused = now_s > self._wanted_until_s
            self._wanted_until_s = now_s + max(UNASKED_S, 2 * period_s)
            newest, self._newest = self._newest, None
        if isinstance(newest, Exception):
            raise newest
        return None if paused else newest

    def close(self) -> None:
        """Let go of the device."""
        self._closed.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                found = self._device.grab()
                if found:
                    self._take(self._now_ns())
            except Exception:  # whatever a driver does, it is the same to us
                found = False
            if not found:
                text = f"webcam {self._name} gave no frame; it is opened again as soon as it is there"
                with self._lock:
                    self._newest = WebcamLost(text)
                self._open_again()
        self._device.release()

    def _take(self, taken_ns: int) -> None:
        with self._lock:
            wanted = time.monotonic() <= self._wanted_until_s
        if wanted:
            found, image = self._device.retrieve()
            undecodable = f"webcam {self._name} gave a frame that cannot be decoded"
            with self._lock:
                self._newest = (image, taken_ns) if found else ValueError(undecodable)

    def _open_again(self) -> None:
        self._device.release()
        while not self._closed.wait(RETRY_S):
            try:
                self._device = self._open()
                if self._device.isOpened():
                    return
            except Exception:  # it is tried again, and that it is lost was told
                continue
