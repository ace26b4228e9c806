# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A webcam, on a device whose frames come when the test says so, wait to be fetched, and stop."""

import queue
import time

import cv2
import numpy as np
import pytest

from diffpose_ros import webcam
from diffpose_ros.webcam import Webcam, WebcamLost

LIMIT_S, PERIOD_S = 30.0, 0.1
LOST, BAD = object(), 99


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
        if self.number < 0:
            raise cv2.error("driver")
        return self.number != BAD, np.full((2, 3, 3), self.number, np.uint8)

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
    while (frame := camera.read(PERIOD_S)) is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    return int(frame[0].mean()), frame[1]


def test_the_newest_frame_comes_once_and_with_its_own_stamp(camera, driver):
    assert camera.read(PERIOD_S) is None  # somebody asks from now on
    for number in range(1, 5):
        driver.frames.put((number, 100 * number))
    while newest(camera) != (4, 400):
        pass
    assert camera.read(PERIOD_S) is None
    driver.frames.put((5, 500))
    assert newest(camera) == (5, 500)


def test_what_was_taken_while_nobody_asked_is_not_shown(camera, driver, monkeypatch):
    monkeypatch.setattr(webcam, "UNASKED_S", 0.0)
    assert camera.read(0.1) is None
    driver.frames.put((1, 100))
    time.sleep(0.5)
    assert camera.read(LIMIT_S) is None
    driver.frames.put((2, 200))
    assert newest(camera) == (2, 200)


def test_who_asks_rarely_is_answered_too(camera, driver, monkeypatch):
    monkeypatch.setattr(webcam, "UNASKED_S", 0.0)
    assert camera.read(LIMIT_S) is None
    driver.frames.put((1, 100))
    time.sleep(0.5)
    assert newest(camera) == (1, 100)


def test_a_frame_that_cannot_be_decoded_is_refused(camera, driver):
    assert camera.read(PERIOD_S) is None
    driver.frames.put((BAD, 100))
    with pytest.raises(ValueError, match="webcam /dev/video7 gave a frame that cannot be decoded"):
        newest(camera)
    driver.frames.put((2, 200))
    assert newest(camera) == (2, 200)


def test_a_driver_that_fails_is_lost_and_opened_again(camera, driver):
    assert camera.read(PERIOD_S) is None
    driver.frames.put((-1, 100))
    with pytest.raises(WebcamLost):
        newest(camera)
    driver.frames.put((2, 200))
    assert newest(camera) == (2, 200)
    assert driver.opened == 2


def test_a_lost_device_is_told_once_and_opened_again_when_it_is_back(camera, driver):
    assert camera.read(PERIOD_S) is None
    driver.there = False
    driver.frames.put(LOST)
    end = time.monotonic() + LIMIT_S
    while driver.opened < 4:  # it goes on trying
        assert time.monotonic() < end
        time.sleep(0.001)
    with pytest.raises(WebcamLost, match="webcam /dev/video7 gave no frame"):
        newest(camera)
    assert camera.read(PERIOD_S) is None
    driver.there = True
    driver.frames.put((9, 900))
    assert newest(camera) == (9, 900)


def test_a_device_that_is_not_there_is_refused(driver):
    driver.there = False
    with pytest.raises(ValueError, match="parameter source: 7 is no webcam"):
        Webcam("7", driver.open, lambda: 0)
