# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A camera node on a folder of good and bad images: its rate, what it counts, its end."""

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

sys.path.insert(0, str(Path(__file__).parent))
from managed import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Managed

SHADES = {"a": 10, "c": 30, "e": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three good images, between them no image and one that announces 70000 x 70000 pixels."""
    folder = tmp_path_factory.mktemp("it's here")
    for name, grey in SHADES.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((48, 64, 3), grey, np.uint8))
    (folder / "b.png").write_bytes(b"not an image")
    data = bytearray((folder / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 70_000, 70_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (folder / "d.png").write_bytes(data)
    return str(folder)


@pytest.fixture(scope="module")
def camera(client, start, folder):
    """It would show its first image after 100 s: later than a test waits."""
    client.listen(Image, "/image_raw")
    client.listen(CameraInfo, "/camera_info")
    start("camera_node", source=folder, rate_hz=0.01, frames_per_image=1, loop=False)
    return Managed(client, "camera_node")


def known(client):
    """The camera's publishers are known here: of what they publish before that something could be missed."""
    client.wait(lambda: all(client.node.count_publishers(t) for t in ("/image_raw", "/camera_info")), "the publishers")
    client.spin(0.5)


def counts(client):
    return [client.count("camera_node", name) for name in ("received", "processed", "refused", "dropped", "failed")]


def test_a_new_rate_holds_at_once_and_bad_images_are_counted(camera, folder):
    client = camera.client
    assert camera.state == "active"
    known(client)
    assert camera.set(rate_hz=20.0) == [""]
    client.wait(lambda: len(client.messages["/image_raw"]) == len(client.messages["/camera_info"]) == 3, "three images")
    assert [m.data[0] for m in client.messages["/image_raw"]] == list(SHADES.values())
    client.wait(lambda: client.health["camera_node"]["message"] == "the source has ended", "the end")
    assert counts(client) == [5, 3, 2, 0, 0]
    assert f"{folder}/d.png cannot be read" in client.health["camera_node"]["last_complaint"]


def test_the_end_is_told_once_until_the_source_is_opened_again(camera, folder):
    client = camera.client
    for _ in range(2):
        assert camera.change(DEACTIVATE)
        camera.told("inactive", 0)
        assert camera.change(ACTIVATE)
        camera.told("the source has ended", 0)
        assert client.health["camera_node"]["source"] == f"{folder} (ended)"
    assert counts(client) == [5, 3, 2, 0, 0]
    assert all(camera.change(transition) for transition in (DEACTIVATE, CLEANUP, CONFIGURE))
    known(client)
    assert camera.change(ACTIVATE)
    client.wait(lambda: len(client.messages["/image_raw"]) == 6, "the images again")
    client.wait(lambda: counts(client) == [10, 6, 4, 0, 0], "all to be counted")
