# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Images of all encodings, raw and compressed, to the pixels that they hold."""

import struct
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from diffpose_ros import images


def an_image(encoding="bgr8", channels=3, height=4, width=6, pad=0):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (height, width * channels + pad), np.uint8)
    message = Image(height=height, width=width, encoding=encoding, step=width * channels + pad)
    message.data.frombytes(rows.tobytes())
    return message, rows[:, : width * channels]


def test_image_round_trip():
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    message = images.image_message(image[:, ::-1], Header(frame_id="f"))
    assert (message.height, message.width, message.step, message.encoding) == (5, 7, 21, "bgr8")
    np.testing.assert_array_equal(images.decode_image(message), image[:, ::-1])


def test_rows_may_be_padded():
    padded, rows = an_image(pad=5)
    np.testing.assert_array_equal(images.decode_image(padded).reshape(4, 18), rows)


@pytest.mark.parametrize(
    ("encoding", "pixel", "bgr"),
    [
        ("bgr8", [10, 20, 30], [10, 20, 30]),
        ("rgb8", [10, 20, 30], [30, 20, 10]),
        ("bgra8", [10, 20, 30, 9], [10, 20, 30]),
        ("rgba8", [10, 20, 30, 9], [30, 20, 10]),
        ("mono8", [77], [77, 77, 77]),
    ],
)
def test_encodings(encoding, pixel, bgr):
    message = Image(height=2, width=2, encoding=encoding, step=2 * len(pixel))
    message.data.frombytes(bytes(pixel * 4))
    assert images.decode_image(message).tolist() == [[bgr] * 2] * 2


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_name_their_first_row(pattern):
    """A scene of pure red lights only the red cells of the pattern."""
    cells = np.array([255 if c == "r" else 0 for c in pattern], np.uint8).reshape(2, 2)
    message = Image(height=8, width=8, encoding=f"bayer_{pattern}8", step=8)
    message.data.frombytes(np.tile(cells, (4, 4)).tobytes())
    assert images.decode_image(message)[4, 4].tolist() == [0, 0, 255]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_image_of_one_colour_is_of_that_colour(pattern, bits):
    values = {"b": 10, "g": 100, "r": 200}
    cells = np.array([values[c] for c in pattern]).reshape(2, 2) * (1 if bits == 8 else 257)
    message = Image(height=6, width=8, encoding=f"bayer_{pattern}{bits}", step=bits)
    message.data.frombytes(np.tile(cells, (3, 4)).astype(f"<u{bits // 8}").tobytes())
    assert images.decode_image(message).tolist() == [[[10, 100, 200]] * 8] * 6


def by_definition(y, u, v):
    """Blue, green, red of ITU-R BT.601 with studio swing, as OpenCV's and V4L2's YUV are."""
    grey, blue, red = 1.164 * (y - 16), u - 128, v - 128
    return np.clip([grey + 2.018 * blue, grey - 0.391 * blue - 0.813 * red, grey + 1.596 * red], 0, 255)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "UyVY"), ("uyvy", "UyVY"), ("yuv422_yuy2", "yUYV"), ("yuyv", "yUYV")]
)
def test_yuv(encoding, order):
    values = {"y": 120, "Y": 60, "U": 90, "V": 180}
    message = Image(height=2, width=2, encoding=encoding, step=4)
    message.data.frombytes(bytes([values[c] for c in order] * 2))
    for row in images.decode_image(message):
        np.testing.assert_allclose(row[0], by_definition(120, 90, 180), atol=1.5)
        np.testing.assert_allclose(row[1], by_definition(60, 90, 180), atol=1.5)


def test_cv_bridge_gives_the_same_pixels():
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS distribution, not with the wheels")
    decode, name = images.image_decoder()
    assert name == "cv_bridge"
    rng = np.random.default_rng(0)
    for encoding, kind in images.ENCODINGS.items():
        for padding, big in ((0, False), (1, False), (24, False), (0, True)):
            step = 6 * kind.channels * kind.bits // 8 + padding
            message = Image(height=4, width=6, encoding=encoding, step=step, is_bigendian=big)
            message.data.frombytes(rng.integers(0, 256, step * 4 * kind.planes // 2, np.uint8).tobytes())
            np.testing.assert_array_equal(decode(message), images.decode_image(message), encoding)


def test_a_cv_bridge_that_fails_at_its_first_image_is_not_used(tmp_path, monkeypatch):
    """One that was built for another numpy imports, and imports its compiled part when it is given an image."""
    broken = "class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        raise ImportError('numpy.core.multiarray')\n"
    (tmp_path / "cv_bridge.py").write_text(f"class CvBridgeError(Exception):\n    pass\n\n\n{broken}")
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    decode, name = images.image_decoder()
    monkeypatch.delitem(sys.modules, "cv_bridge")
    assert (decode, name) == (
        images.decode_image, "numpy (no cv_bridge: ImportError: numpy.core.multiarray)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 0}, "height and width must be positive"),
        ({"width": 0}, "height and width must be positive"),
        ({"step": 17}, "step must be at least width x 3 = 18, got 17"),
        ({"step": 20}, "data must hold step x height = 80 bytes, got 72"),
        ({"height": 5}, "data must hold step x height = 90 bytes, got 72"),
        ({"encoding": "16UC1"}, "encoding .* got '16UC1'"),
        ({"encoding": "32FC1"}, "encoding .* got '32FC1'"),
        ({"encoding": "rgb16"}, "step must be at least width x 6 = 36, got 18"),
        ({"encoding": ""}, "encoding .* got ''"),
        ({"encoding": "jpeg"}, "encoding .* got 'jpeg'"),
    ],
)
def test_bad_images_are_refused(change, words):
    message, _ = an_image()
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=words):
        images.decode_image(message)


@pytest.mark.parametrize(
    ("encoding", "pixel", "bgr"),
    [
        ("mono16", [0x8080], [128, 128, 128]),
        ("rgb16", [0xFFFF, 0x0101, 0], [0, 1, 255]),
        ("bgra16", [0, 257, 65535, 9], [0, 1, 255]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_scaled_to_eight(encoding, pixel, bgr, order):
    message = Image(height=2, width=2, encoding=encoding, step=4 * len(pixel) + 2, is_bigendian=order == ">")
    row = np.array(pixel * 2, f"{order}u2").tobytes() + b"xx"
    message.data.frombytes(row * 2)
    assert images.decode_image(message).tolist() == [[bgr] * 2] * 2


def test_sixteen_bits_are_rounded_to_the_nearest():
    """value x 255 / 65535 = value / 257: 65535 / 2 lies nowhere, so nearest is not ambiguous."""
    values = np.arange(65536).reshape(256, 256)
    message = Image(height=256, width=256, encoding="mono16", step=512)
    message.data.frombytes(values.astype("<u2").tobytes())
    np.testing.assert_array_equal(images.decode_image(message)[..., 1], (values + 128) // 257)


@pytest.mark.parametrize(("encoding", "pixel", "bgr"), [("8UC1", [7], [7, 7, 7]), ("8UC3", [1, 2, 3], [1, 2, 3])])
def test_opencv_types_are_grey_or_blue_green_red(encoding, pixel, bgr):
    message = Image(height=1, width=2, encoding=encoding, step=2 * len(pixel))
    message.data.frombytes(bytes(pixel * 2))
    assert images.decode_image(message).tolist() == [[bgr] * 2]


@pytest.mark.parametrize(("width", "height"), [(2, 8), (8, 2)])
def test_a_bayer_image_too_small_to_interpolate_is_refused(width, height):
    message = Image(height=height, width=width, encoding="bayer_rggb8", step=width)
    message.data.frombytes(bytes(width * height))
    with pytest.raises(ValueError, match=f"must be at least 4, got {width} x {height}"):
        images.decode_image(message)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_sixteen_bits(pattern):
    cells = np.array([65535 if c == "r" else 0 for c in pattern], "<u2").reshape(2, 2)
    message = Image(height=8, width=8, encoding=f"bayer_{pattern}16", step=16)
    message.data.frombytes(np.tile(cells, (4, 4)).tobytes())
    assert images.decode_image(message)[4, 4].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("encoding", "colours"), [("nv12", (90, 200)), ("nv21", (200, 90))])
def test_half_as_many_rows_of_colour_follow_the_grey_ones(encoding, colours):
    """Of nv12 U comes first, of nv21 V; the same picture as yuv422 of the same values."""
    message = Image(height=2, width=4, encoding=encoding, step=6)
    message.data.frombytes((bytes([120] * 4) + b"xx") * 2 + bytes(colours * 2) + b"xx")
    packed = Image(height=2, width=4, encoding="uyvy", step=8)
    packed.data.frombytes(bytes([90, 120, 200, 120] * 4))
    assert images.decode_image(message).shape == (2, 4, 3)
    np.testing.assert_allclose(images.decode_image(message), images.decode_image(packed), atol=1)
    message.data.pop()
    with pytest.raises(ValueError, match="step x height x 3 / 2 = 18 bytes, got 17"):
        images.decode_image(message)


def compressed(image, suffix=".png", text="png"):
    message = CompressedImage(format=text)
    message.data.frombytes(cv2.imencode(suffix, image)[1].tobytes())
    return message


@pytest.mark.parametrize("text", ["png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8"])
def test_png_gives_the_very_pixels(text):
    image = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(images.decode_compressed(compressed(image, ".png", text)), image)


def test_png_of_sixteen_bits_gives_what_the_raw_image_would():
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = images.decode_compressed(compressed(grey, ".png", "mono16; png compressed mono16"))
    np.testing.assert_array_equal(decoded[..., 2], (grey.astype(int) + 128) // 257)
    clear = np.random.default_rng(4).integers(0, 256, (5, 7, 4), np.uint8)
    decoded = images.decode_compressed(compressed(clear, ".png", "bgra8; png compressed bgra8"))
    np.testing.assert_array_equal(decoded, clear[..., :3])


def test_what_was_stored_red_first_is_turned_back():
    image = np.random.default_rng(5).integers(0, 256, (5, 7, 3), np.uint8)
    decoded = images.decode_compressed(compressed(image, ".png", "rgb8; png compressed rgb8"))
    np.testing.assert_array_equal(decoded, image[..., ::-1])


@pytest.mark.parametrize("text", ["jpeg", "jpg", "JPEG", "bgr8; jpeg compressed bgr8"])
def test_jpeg_gives_about_the_pixels(text):
    image = np.full((16, 24, 3), (10, 120, 240), np.uint8)
    decoded = images.decode_compressed(compressed(image, ".jpg", text))
    np.testing.assert_allclose(decoded.astype(int), image, atol=3)
    grey = images.decode_compressed(compressed(image[..., 1], ".jpg", "mono8; jpeg compressed "))
    np.testing.assert_allclose(grey.astype(int), 120, atol=3)


def test_how_the_camera_was_held_is_passed_over():
    """EXIF orientation 6 asks viewers for a quarter turn; the calibration knows nothing of that."""
    message = compressed(np.zeros((16, 24, 3), np.uint8), ".jpg", "jpeg")
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    data = bytes(message.data)
    turned = CompressedImage(format="jpeg")
    turned.data.frombytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert cv2.imdecode(np.frombuffer(bytes(turned.data), np.uint8), cv2.IMREAD_COLOR).shape == (24, 16, 3)
    assert images.decode_compressed(turned).shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("16UC1; compressedDepth png", "is a depth image"),
        ("bayer_rggb8; png compressed bayer_rggb8", "is a raw Bayer pattern"),
        ("h264", "format must be jpeg or png, as image_transport writes it, got 'h264'"),
        ("", "format must be jpeg or png"),
        ("jpeg", "is no JPEG, though its format says so"),
    ],
)
def test_other_formats_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        images.decode_compressed(compressed(np.zeros((8, 8, 3), np.uint8), ".png", text))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_bomb_is_refused_before_it_is_decoded(suffix):
    message = compressed(np.zeros((8, 8, 3), np.uint8), suffix)
    data = bytearray(message.data)
    if suffix == ".png":
        data[16:24] = struct.pack(">II", 60_000, 60_000)
    else:
        at = data.index(b"\xff\xc0")  # the frame header: length, bits, height, width
        data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    bomb = CompressedImage(format=suffix[1:])
    bomb.data.frombytes(bytes(data))
    with pytest.raises(ValueError, match="must have 1 to 67108864 pixels, says 60000 x 60000"):
        images.decode_compressed(bomb)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 400), st.sampled_from([".png", ".jpg"]), st.booleans())
def test_damaged_files_are_refused_or_of_the_size_they_say(junk, at, suffix, cut):
    message = compressed(np.random.default_rng(3).integers(0, 256, (9, 11, 3), np.uint8), suffix)
    data = bytes(message.data)
    data = data[:at] if cut else data[:at] + junk + data[at + len(junk) :]
    damaged = CompressedImage(format=suffix[1:])
    damaged.data.frombytes(data)
    try:
        pixels = images.decode_compressed(damaged)
    except ValueError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    if cut:
        assert at >= len(message.data)


@given(
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    padding=st.integers(-1, 4),
    missing=st.sampled_from([0, 0, 0, 1]),
    encoding=st.sampled_from([*images.ENCODINGS, "16UC1", "nonsense"]),
)
@settings(max_examples=300, deadline=None)
def test_any_image_is_decoded_or_refused(height, width, padding, missing, encoding):
    kind = images.ENCODINGS.get(encoding, images.Encoding(2, None))
    message = Image(height=height, width=width, encoding=encoding)
    message.step = max(width * kind.channels * kind.bits // 8 + padding, 0)
    message.data.frombytes(bytes(max(message.step * height * kind.planes // 2 - missing, 0)))
    good = height > 0 and width > 0 and padding >= 0 and not missing and encoding in images.ENCODINGS
    small = encoding.startswith("bayer") and min(width, height) < images.MIN_BAYER_PX
    if good and not small and not (kind.even and (width % 2 or height % 2)):
        image = images.decode_image(message)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8
    else:
        with pytest.raises(ValueError, match="image "):
            images.decode_image(message)
