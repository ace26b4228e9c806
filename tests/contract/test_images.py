"""Images of all encodings, raw and compressed, to the pixels that they hold."""

import struct

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


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "UYVY"), ("yuv422_yuy2", "YUYV")])
def test_yuv(encoding, order):
    values = {"Y": 120, "U": 90, "V": 200}
    message = Image(height=2, width=2, encoding=encoding, step=4)
    message.data.frombytes(bytes([values[c] for c in order] * 2))
    blue, green, red = images.decode_image(message)[0, 0].tolist()
    assert red > green > blue  # a high V is red, a low U lacks blue


def test_cv_bridge_gives_the_same_pixels():
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS distribution, not with the wheels")
    decode, name = images.image_decoder()
    assert name == "cv_bridge"
    for encoding in ("bgr8", "rgb8", "mono8"):
        message, _ = an_image(encoding, 1 if encoding == "mono8" else 3)
        np.testing.assert_array_equal(decode(message), images.decode_image(message))


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


@pytest.mark.parametrize("text", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8"])
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


def test_a_bomb_is_refused_before_it_is_decoded():
    message = compressed(np.zeros((8, 8, 3), np.uint8))
    data = bytearray(message.data)
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb = CompressedImage(format="png")
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
    if good and not (kind.even and (width % 2 or height % 2)):
        image = images.decode_image(message)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8
    else:
        with pytest.raises(ValueError, match="image "):
            images.decode_image(message)
