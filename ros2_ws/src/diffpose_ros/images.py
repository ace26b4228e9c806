# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Images of any common encoding, raw or compressed, to blue green red. Everything that they claim is checked."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


@dataclass(frozen=True)
class Encoding:
    """How pixels lie in memory, and OpenCV's way to bgr8.

    Attributes:
        channels: values per pixel of the first plane.
        conversion: code of ``cv2.cvtColor``; None: it is blue green red already.
        bits: of a value.
        planes: rows of bytes per row of the image, in halves: 2, or 3 where half as many rows of colour follow.
        even: width and height must be even.
        bridged: cv_bridge knows it as a colour image.
    """

    channels: int
    conversion: int | None
    bits: int = 8
    planes: int = 2
    even: bool = False
    bridged: bool = True


# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR, "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR, "grbg": cv2.COLOR_BayerGB2BGR,
}  # fmt: skip
_UYVY, _YUYV = (Encoding(2, code, even=True) for code in (cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2BGR_YUY2))
MIN_BAYER_PX = 4
"""Of fewer rows or columns OpenCV makes a black image."""
ENCODINGS: dict[str, Encoding] = {
    "bgr8": Encoding(3, None), "rgb8": Encoding(3, cv2.COLOR_RGB2BGR), "bgra8": Encoding(4, cv2.COLOR_BGRA2BGR),
    "rgba8": Encoding(4, cv2.COLOR_RGBA2BGR), "mono8": Encoding(1, cv2.COLOR_GRAY2BGR),
    "bgr16": Encoding(3, None, 16), "rgb16": Encoding(3, cv2.COLOR_RGB2BGR, 16),
    "bgra16": Encoding(4, cv2.COLOR_BGRA2BGR, 16), "rgba16": Encoding(4, cv2.COLOR_RGBA2BGR, 16),
    "mono16": Encoding(1, cv2.COLOR_GRAY2BGR, 16),
    "8UC3": Encoding(3, None, bridged=False), "8UC1": Encoding(1, cv2.COLOR_GRAY2BGR, bridged=False),
    "yuv422": _UYVY, "uyvy": replace(_UYVY, bridged=False),
    "yuv422_yuy2": _YUYV, "yuyv": replace(_YUYV, bridged=False),
    "nv12": Encoding(1, cv2.COLOR_YUV2BGR_NV12, planes=3, even=True, bridged=False),
    "nv21": Encoding(1, cv2.COLOR_YUV2BGR_NV21, planes=3, even=True, bridged=False),
    **{f"bayer_{name}8": Encoding(1, code, even=True) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(1, code, 16, even=True) for name, code in _BAYER.items()},
}  # fmt: skip
"""By the names of sensor_msgs/image_encodings.hpp; nv12 beside them, as drivers write it."""
MAX_PIXELS = 2**26
"""Larger compressed images are refused before they are decoded: a few bytes may announce gigabytes."""


def check_image(message: Image) -> Encoding:
    """Check size, encoding, step and length of an image; return its encoding.

    Raises:
        ValueError: naming the field that is wrong.
    """
    if message.height == 0 or message.width == 0:
        raise ValueError(f"image height and width must be positive, got {message.height} x {message.width}")
    if message.encoding not in ENCODINGS:
        raise ValueError(f"image encoding must be one of {', '.join(ENCODINGS)}, got {message.encoding!r}")
    encoding = ENCODINGS[message.encoding]
    pixel = encoding.channels * encoding.bits // 8
    if message.step < message.width * pixel:
        raise ValueError(f"image step must be at least width x {pixel} = {message.width * pixel}, got {message.step}")
    if encoding.even and (message.width % 2 or message.height % 2):
        raise ValueError(
            f"image width and height of {message.encoding} must be even, got {message.width} x {message.height}"
        )
    if message.encoding.startswith("bayer") and min(message.width, message.height) < MIN_BAYER_PX:
        raise ValueError(
            f"image width and height of {message.encoding} must be at least {MIN_BAYER_PX}, "
            f"got {message.width} x {message.height}"
        )
    size = message.step * message.height * encoding.planes // 2
    if len(message.data) != size:
        rows = "step x height" if encoding.planes == 2 else "step x height x 3 / 2"
        raise ValueError(f"image data must hold {rows} = {size} bytes, got {len(message.data)}")
    return encoding


def decode_image(message: Image) -> np.ndarray:
    """Return [H, W, 3] uint8, blue green red; the rows may be strided. 16 bits are scaled to 8: 65535 is 255.

    Raises:
        ValueError: naming the field that is wrong.
    """
    encoding = check_image(message)
    rows: np.ndarray = np.frombuffer(message.data, np.uint8).reshape(-1, message.step)
    rows = rows[:, : message.width * encoding.channels * encoding.bits // 8]
    if encoding.bits == 16:
        rows = np.ascontiguousarray(rows).view(">u2" if message.is_bigendian else "<u2").astype(np.uint16)
    pixels = rows if encoding.channels == 1 else rows.reshape(message.height, message.width, encoding.channels)
    if encoding.conversion is not None:
        pixels = cv2.cvtColor(pixels, encoding.conversion)
    return pixels if encoding.bits == 8 else _to_eight_bits(pixels)


def _to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale as cv_bridge does: 65535 is 255, and what is between is rounded."""
    return cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def image_decoder() -> tuple[Callable[[Image], np.ndarray], str]:
    """Return the decoder of this machine and its name: cv_bridge where it imports, else numpy and OpenCV."""
    try:
        from cv_bridge import CvBridge, CvBridgeError

        bridge, probe = CvBridge(), image_message(np.zeros((2, 2, 3), np.uint8), Header())
        probe.encoding = "rgb8"
        bridge.imgmsg_to_cv2(probe, "bgr8")
    except Exception as error:  # built for another numpy, it fails in ways of its own, some of them at the first image
        return decode_image, f"numpy (no cv_bridge: {type(error).__name__}: {error})"

    def decode(message: Image) -> np.ndarray:
        encoding = check_image(message)
        # cv_bridge takes rows as whole pixels, and fails on swapped bytes where numpy is 2 or newer.
        ragged = message.step % (encoding.channels * encoding.bits // 8)
        if not encoding.bridged or ragged or message.is_bigendian:
            return decode_image(message)
        try:
            return bridge.imgmsg_to_cv2(message, "bgr8")
        except CvBridgeError as error:
            raise ValueError(f"image cannot be decoded by cv_bridge: {error}") from error

    return decode, "cv_bridge"


def decode_compressed(message: CompressedImage) -> np.ndarray:
    """Return a JPEG or PNG image as [H, W, 3] uint8, blue green red.

    The format is as image_transport writes it ("bgr8; jpeg compressed bgr8") or a bare "jpeg" or "png". How the camera
    was held (EXIF) is passed over: the calibration is of the pixels as they lie.

    Raises:
        ValueError: another format, size or content than it says, or an incomplete image.
    """
    kind, red_first = _compression(message.format)
    data = bytes(message.data)
    width, height = {"jpeg": _jpeg_size, "png": _png_size}[kind](data)
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"compressed image must have 1 to {MAX_PIXELS} pixels, says {width} x {height}")
    # Decoders fill what is missing with grey and say nothing.
    if kind == "jpeg" and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("compressed image ends before the end of the JPEG: it is incomplete")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"compressed image cannot be decoded: {error}") from error
    if image is None or image.shape[:2] != (height, width):
        raise ValueError(f"compressed image cannot be decoded: {kind} of {width} x {height} px")
    image = image if image.dtype == np.uint8 else _to_eight_bits(image)
    return np.ascontiguousarray(image[..., ::-1]) if red_first else image


def _compression(text: str) -> tuple[str, bool]:
    """Return jpeg or png, and whether red and blue were exchanged when it was compressed.

    So reads compressed_image_transport it: what it does not store as "compressed bgr..." of an rgb image it took for
    blue green red.
    """
    if "compressedDepth" in text:
        raise ValueError(f"compressed image must be of colours, format {text!r} is a depth image")
    found = re.fullmatch(
        r"(?:(?P<raw>[^;]*); *)?(?P<kind>(?i:jpe?g|png))(?: compressed *(?P<stored>.*))?", text.strip()
    )
    if found is None:
        raise ValueError(f"compressed image format must be jpeg or png, as image_transport writes it, got {text!r}")
    if (found["stored"] or found["raw"] or "").startswith("bayer"):
        raise ValueError(f"compressed image must be of colours, format {text!r} is a raw Bayer pattern")
    return "png" if found["kind"].lower() == "png" else "jpeg", (found["stored"] or "").startswith("rgb")


def _png_size(data: bytes) -> tuple[int, int]:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        raise ValueError("compressed image is no PNG, though its format says so")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the frame header (ITU-T T.81, B.2.2)."""
    at = 2
    if data[:2] == b"\xff\xd8":
        while at + 9 <= len(data) and data[at] == 0xFF:
            marker = data[at + 1]
            if marker == 0xFF:  # fill
                at += 1
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                height, width = struct.unpack(">HH", data[at + 5 : at + 9])
                return width, height
            else:
                at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise ValueError("compressed image is no JPEG, though its format says so")


def image_message(image_bgr: np.ndarray, header: Header) -> Image:
    """Return a bgr8 image."""
    message = Image(header=header, height=image_bgr.shape[0], width=image_bgr.shape[1], encoding="bgr8")
    message.step = 3 * message.width
    message.data.frombytes(np.ascontiguousarray(image_bgr).reshape(-1).data)
    return message
