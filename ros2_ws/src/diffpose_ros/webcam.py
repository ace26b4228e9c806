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
"""Frames are decoded until nobody has asked for one for so long."""
END_S = 15.0
"""OpenCV waits for up to 10 s for a frame of a device that hangs."""


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
        self._newest: tuple[np.ndarray, int] | None = None
        self._lost = False
        self._asked_s = -math.inf
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self) -> tuple[np.ndarray, int] | None:
        """Return the newest frame, [H, W, 3] uint8 blue green red, and its stamp, ns; None if there is no newer one.

        Raises:
            WebcamLost: once for every time that it was lost.
        """
        now_s = time.monotonic()
        with self._lock:
            paused, self._asked_s = now_s - self._asked_s > UNASKED_S, now_s
            newest, self._newest = self._newest, None
            lost, self._lost = self._lost, False
        if lost:
            raise WebcamLost(f"webcam {self._name} gave no frame; it is opened again as soon as it is there")
        return None if paused else newest

    def close(self) -> None:
        """Let go of the device."""
        self._closed.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._device.grab():
                self._take(self._now_ns())
            else:
                with self._lock:
                    self._lost, self._newest = True, None
                self._open_again()
        self._device.release()

    def _take(self, taken_ns: int) -> None:
        with self._lock:
            asked = time.monotonic() - self._asked_s <= UNASKED_S
        if asked:
            found, image = self._device.retrieve()
            with self._lock:
                self._newest = (image, taken_ns) if found else None

    def _open_again(self) -> None:
        self._device.release()
        while not self._closed.wait(RETRY_S):
            self._device = self._open()
            if self._device.isOpened():
                return
