# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A webcam, on a device whose frames come when the test says so, wait to be fetched, and stop."""

import queue
import time

import numpy as np
import pytest

from diffpose_ros import webcam
from diffpose_ros.webcam import Webcam, WebcamLost

LIMIT_S = 30.0
LOST = object()


class Driver:
    """Frames that wait to be fetched, each a number; the device may be away."""

    def __init__(self):
        self.frames = queue.Queue()
        self.there, self.opened, self.released = True, 0, 0
        self.clock_ns = 0

    def open(self):
        self.opened += 1
        return self

    def isOpened(self):
        return self.there

    def grab(self):
        frame = self.frames.get(timeout=LIMIT_S)
        if frame is LOST:
            return False
        self.number, self.clock_ns = frame
        return True

    def retrieve(self):
        return True, np.full((2, 3, 3), self.number, np.uint8)

    def release(self):
        self.released += 1


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def camera(driver, monkeypatch):
    monkeypatch.setattr(webcam, "RETRY_S", 0.01)
    camera = Webcam("/dev/video7", driver.open, lambda: driver.clock_ns)
    yield camera
    driver.frames.put(LOST)
    driver.there = False
    camera.close()
    assert driver.released >= 1


def newest(camera):
    """Ask until there is a frame."""
    end = time.monotonic() + LIMIT_S
    while (frame := camera.read()) is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    return int(frame[0].mean()), frame[1]


def test_the_newest_frame_comes_once_and_with_its_own_stamp(camera, driver):
    assert camera.read() is None  # somebody asks from now on
    for number in range(1, 5):
        driver.frames.put((number, 100 * number))
    while newest(camera) != (4, 400):
        pass
    assert camera.read() is None
    driver.frames.put((5, 500))
    assert newest(camera) == (5, 500)


def test_what_was_taken_while_nobody_asked_is_not_shown(camera, driver, monkeypatch):
    assert camera.read() is None
    driver.frames.put((1, 100))
    while driver.clock_ns != 100:
        time.sleep(0.001)
    time.sleep(0.1)  # it is decoded, and waits
    monkeypatch.setattr(webcam, "UNASKED_S", 0.05)
    assert camera.read() is None
    monkeypatch.setattr(webcam, "UNASKED_S", LIMIT_S)
    driver.frames.put((2, 200))
    assert newest(camera) == (2, 200)


def test_a_lost_device_is_told_once_and_opened_again_when_it_is_back(camera, driver):
    assert camera.read() is None
    driver.there = False
    driver.frames.put(LOST)
    end = time.monotonic() + LIMIT_S
    while driver.opened < 4:  # it goes on trying
        assert time.monotonic() < end
        time.sleep(0.001)
    with pytest.raises(WebcamLost, match="webcam /dev/video7 gave no frame"):
        camera.read()
    assert camera.read() is None
    driver.there = True
    driver.frames.put((9, 900))
    assert newest(camera) == (9, 900)


def test_a_device_that_is_not_there_is_refused(driver):
    driver.there = False
    with pytest.raises(ValueError, match="parameter source: 7 is no webcam"):
        Webcam("7", driver.open, lambda: 0)
