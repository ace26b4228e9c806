# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePrior
from diffpose_core.camera import MAX_ANGLE_RAD
from diffpose_core.metrics import mpjpe, root_relative

LENSES = {
    "none": ("plumb_bob", None),
    "plumb_bob": ("plumb_bob", (-0.21, 0.06, 0.001, -0.002, 0.01)),
    "rational_polynomial": ("rational_polynomial", (0.3, -0.1, 0.001, -0.001, 0.02, 0.5, -0.05, 0.01)),
    "equidistant": ("equidistant", (0.02, -0.01, 0.003, -0.001)),
}


def camera(lens: str) -> Camera:
    model, coefficients = LENSES[lens]
    return Camera(520.0, 515.0, 321.0, 238.0, 640, 480, coefficients, model)


def points(seed: int = 0, n: int = 50) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, generator=g, dtype=torch.float64) * 2 - 1
    z = torch.rand(n, 1, generator=g, dtype=torch.float64) * 4 + 2
    return torch.cat([xy, z], -1)


@pytest.mark.parametrize("lens", LENSES)
def test_projection_equals_opencv(lens):
    cam, x = camera(lens), points()
    k = np.array([[cam.fx, 0, cam.cx], [0, cam.fy, cam.cy], [0, 0, 1]])
    d = np.array(LENSES[lens][1] or (0.0,) * 4)
    project = cv2.fisheye.projectPoints if lens == "equidistant" else cv2.projectPoints
    expected, _ = project(x.numpy().reshape(-1, 1, 3), np.zeros(3), np.zeros(3), k, d)
    np.testing.assert_allclose(cam.project(x).numpy(), expected.reshape(-1, 2), atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_inverts_project_and_jacobian_is_its_derivative(lens):
    cam, x = camera(lens), points(1)
    torch.testing.assert_close(cam.unproject(cam.project(x)), x[:, :2] / x[:, 2:], atol=1e-5, rtol=0)
    exact = torch.func.vmap(torch.func.jacrev(cam.project))(x)
    torch.testing.assert_close(cam.jacobian(x), exact, atol=1e-2, rtol=1e-4)


K = np.array([[300.0, 0, 321.0], [0, 290.0, 238.0], [0, 0, 1]])
FISHEYES = [
    LENSES["equidistant"][1],
    (-0.0135, 0.0205, -0.0179, 0.0042),  # a lens of 160 degrees
    (0.5, -0.3, 0.1, 0.02),
    (-0.3, 0.0, 0.0, 0.0),  # valid only up to 1 rad
]


def fisheye(coefficients: tuple[float, ...]) -> Camera:
    return Camera(300.0, 290.0, 321.0, 238.0, 640, 480, coefficients, "equidistant")


def around(angle_rad: torch.Tensor | float, n: int = 24) -> torch.Tensor:
    """Points 2 m from the camera at an angle to its axis, all around."""
    angle = torch.as_tensor(angle_rad, dtype=torch.float64)
    turn = torch.arange(n) * (2 * math.pi / n)
    return 2 * torch.stack([angle.sin() * turn.cos(), angle.sin() * turn.sin(), angle.cos().expand(n)], -1)


@given(st.sampled_from(FISHEYES[:3]), st.floats(1e-4, math.radians(87.5)))
def test_a_fisheye_equals_opencv_up_to_the_rim_and_can_be_undone(coefficients, angle):
    cam, x = fisheye(coefficients), around(angle)
    k = np.array([[cam.fx, 0, cam.cx], [0, cam.fy, cam.cy], [0, 0, 1]])
    zero = np.zeros(3)
    expected, _ = cv2.fisheye.projectPoints(x.numpy().reshape(-1, 1, 3), zero, zero, k, np.array(coefficients))
    np.testing.assert_allclose(cam.project(x).numpy(), expected.reshape(-1, 2), atol=1e-6)
    rays = cam.unproject(cam.project(x))
    torch.testing.assert_close(rays, x[:, :2] / x[:, 2:], atol=1e-9, rtol=1e-9)
    single = cam.project(x.float())
    again = cam.project(torch.nn.functional.pad(cam.unproject(single), (0, 1), value=1.0))
    torch.testing.assert_close(again, single, atol=1e-3, rtol=0)


@pytest.mark.parametrize("coefficients", FISHEYES)
@pytest.mark.parametrize("degrees", [0.0, 0.01, 20.0, 50.0, 60.0, 62.0, 75.0, 85.0])
def test_the_jacobian_of_a_fisheye_is_its_derivative_also_at_wide_angles(coefficients, degrees):
    cam, x = fisheye(coefficients), around(math.radians(degrees))
    exact = torch.func.vmap(torch.func.jacrev(cam.project))(x)
    torch.testing.assert_close(cam.jacobian(x), exact, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(cam.jacobian(x.float()), exact.float(), atol=2e-3, rtol=1e-4)


def test_pixels_that_no_ray_reaches_get_the_one_at_the_limit():
    far = torch.tensor([[321.0 + 1e5, 238.0], [321.0, 238.0 - 1e5]], dtype=torch.float64)
    for k in FISHEYES:
        rays = fisheye(k).unproject(far)
        np.testing.assert_allclose(rays.numpy(), math.tan(MAX_ANGLE_RAD) * np.array([[1, 0], [0, -1]]), atol=1e-6)
        assert fisheye(k).unproject(torch.tensor([[321.0, 238.0]])).tolist() == [[0.0, 0.0]]


def test_coefficients_are_taken_as_opencv_gives_them():
    lens = (-0.3, 0.1, 0.001, -0.002, 0.01)
    camera = Camera(500.0, 500.0, 320.0, 240.0, 640, 480, lens)
    matrix = [[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]
    for given_as in (np.array(lens), np.array([lens]), torch.tensor(lens, dtype=torch.float64), list(lens)):
        assert Camera.from_matrix(matrix, 640, 480, given_as) == camera


def test_zero_coefficients_are_no_lens_whatever_the_model():
    """A rectified image keeps the model's name: image_geometry reads zeros so, too."""
    straight = Camera(300.0, 290.0, 321.0, 238.0, 640, 480)
    for model, n in (("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)):
        cam = Camera(300.0, 290.0, 321.0, 238.0, 640, 480, (0.0,) * n, model)
        assert torch.equal(cam.project(points()), straight.project(points()))


coefficients = st.tuples(*[st.floats(-0.5, 0.5)] * 4).filter(any)
azimuths = st.floats(0, 2 * math.pi)


def toward(angle: float, azimuth: float, distance_m: float = 2.0) -> torch.Tensor:
    """A point at this angle off the axis."""
    across = math.sin(angle)
    point = [across * math.cos(azimuth), across * math.sin(azimuth), math.cos(angle)]
    return distance_m * torch.tensor(point, dtype=torch.float64)


FISHEYE = Camera(300.0, 310.0, 320.0, 240.0, 640, 480, LENSES["equidistant"][1], "equidistant")


@pytest.mark.parametrize(
    ("point", "pixel"),
    [  # by cv2.fisheye.projectPoints of OpenCV 5.0, fx 300, fy 310, cx 320, cy 240
        ([1.0, 0.0, 1.0], [557.7615412679982, 240.0]),
        ([0.3, -0.2, 1.0], [406.5734499670682, 180.36051224490856]),
        ([3.0, -2.0, 1.0], [648.3122339560907, 13.829349941359766]),
    ],
)
def test_known_pixels_of_a_fisheye(point, pixel):
    x = torch.tensor(point, dtype=torch.float64)
    assert FISHEYE.project(x).tolist() == pytest.approx(pixel, abs=1e-9)
    ray = FISHEYE.unproject(torch.tensor(pixel, dtype=torch.float64))
    assert ray.tolist() == pytest.approx(point[:2], abs=1e-9)


@given(coefficients, st.floats(0, 1), azimuths)
def test_a_fisheye_is_that_of_opencv_up_to_its_fold_or_88_degrees(k, share, azimuth):
    cam = fisheye(k)
    x = toward(share * min(cam.valid_angle_rad, MAX_ANGLE_RAD), azimuth)
    expected, _ = cv2.fisheye.projectPoints(x.numpy().reshape(1, 1, 3), np.zeros(3), np.zeros(3), K, np.array(k))
    np.testing.assert_allclose(cam.project(x).numpy(), expected.ravel(), rtol=1e-9, atol=1e-6)


@given(coefficients, st.floats(0, math.radians(87.9)), azimuths)
def test_a_fisheye_is_invertible_even_beyond_its_fold(k, angle, azimuth):
    cam = fisheye(k)
    x = toward(angle, azimuth)
    ray = cam.unproject(cam.project(x))
    torch.testing.assert_close(ray, x[:2] / x[2], atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(cam.distort(ray), cam.distort(x[:2] / x[2]), atol=1e-8, rtol=1e-6)


@given(coefficients, azimuths, st.floats(0, 3.14), st.floats(0, 3.14))
def test_the_wider_the_angle_the_farther_out_the_pixel(k, azimuth, one, other):
    cam = fisheye(k)
    near, far = sorted((one, other))
    centre, focal = torch.tensor([321.0, 238.0]), torch.tensor([300.0, 290.0])
    radii = [float(((cam.project(toward(a, azimuth)) - centre) / focal).norm()) for a in (near, far)]
    # The slope is at least 0.1 at every angle that valid_angle_rad looks at, and little less between them.
    assert radii[1] - radii[0] >= 0.05 * (far - near) - 1e-6


def test_a_fisheye_sees_beside_and_behind_itself():
    """a + 0.1 a^3 is 1.958375 at 90 degrees, 3.664274 at 135."""
    cam = fisheye((0.1, 0.0, 0.0, 0.0))
    assert cam.valid_angle_rad == math.pi
    assert cam.project(torch.tensor([2.0, 0.0, 0.0])).tolist() == pytest.approx([321 + 300 * 1.958375, 238.0])
    assert cam.project(torch.tensor([0.0, -1.0, -1.0])).tolist() == pytest.approx([321.0, 238 - 290 * 3.664274])


def test_what_is_behind_a_fisheye_is_not_in_its_image():
    """A depth clamped to 5 cm, or OpenCV's x/z, would put it there."""
    behind = torch.tensor([[0.1, 0.0, -1.0], [0.02, -0.01, -2.0], [-0.05, 0.05, -0.3]])
    for k in FISHEYES[:3]:
        pixels = fisheye(k).project(behind)
        assert ((pixels < 0) | (pixels > torch.tensor([639.0, 479.0]))).any(-1).all()


def test_a_fisheye_does_not_fold_back_into_the_image():
    """1 - 0.9 angle^2 is 0.1 at 1 rad: there the radius is 0.7, the polynomial's at 1.5 rad 0.4875."""
    cam = fisheye((-0.3, 0.0, 0.0, 0.0))
    assert cam.valid_angle_rad == pytest.approx(1.0, abs=1e-3)
    for angle, radius in ((0.5, 0.4625), (1.0, 0.7), (1.5, 0.75)):
        assert float(cam.project(toward(angle, 0.0))[0]) == pytest.approx(321 + 300 * radius, abs=0.1)


@given(coefficients, st.floats(0.01, 3.1), azimuths, st.floats(0.1, 10))
def test_the_jacobian_of_a_fisheye_is_its_derivative(k, angle, azimuth, distance_m):
    cam, x = fisheye(k), toward(angle, azimuth, distance_m)
    torch.testing.assert_close(cam.jacobian(x), torch.func.jacrev(cam.project)(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("point", [(0.0, 0.0, 2.0), (0.0, 0.0, 0.0), (0.0, 0.0, -2.0), (0.1, 0.0, 0.0)])
def test_nothing_of_a_fisheye_is_infinite_anywhere(point):
    x = torch.tensor(point, requires_grad=True)
    pixel = FISHEYE.project(x)
    pixel.sum().backward()
    for value in (pixel, x.grad, FISHEYE.jacobian(x)):
        assert torch.isfinite(value).all()
    ahead = torch.tensor([0.0, 0.0, 2.0])
    assert FISHEYE.jacobian(ahead).tolist() == [[150.0, 0.0, 0.0], [0.0, 155.0, 0.0]]


@pytest.mark.parametrize("k", [(0.1,) * 3, (0.1,) * 5])
def test_a_fisheye_takes_four_coefficients(k):
    with pytest.raises(ValueError, match=rf"of equidistant takes \(4,\) coefficients, got {len(k)}"):
        Camera(500, 500, 320, 240, 640, 480, k, "equidistant")


def test_people_are_estimated_through_a_fisheye_as_well_as_through_a_pinhole():
    prior = PosePrior.from_pretrained()
    pinhole = Camera(400.0, 400.0, 639.5, 479.5, 1280, 960)
    lens = Camera(400.0, 400.0, 639.5, 479.5, 1280, 960, (0.02, -0.01, 0.003, -0.001), "equidistant")
    relative = prior.sample(4, torch.Generator().manual_seed(3))
    noise_px = 2 * torch.randn(4, 17, 2, generator=torch.Generator().manual_seed(9))
    aside = math.radians(50)
    people = relative + 3 * torch.tensor([math.sin(aside), 0.1, math.cos(aside)])

    def errors(by: Camera, told: Camera) -> tuple[float, float]:
        """Mean error of the pose and of the place, metres."""
        covariance = 4 * torch.eye(2).expand(4, 17, 2, 2)
        seen = Heatmaps.from_keypoints(by.project(people) + noise_px, covariance, torch.ones(4, 17), H36M17)
        mean = PoseEstimator(prior)(seen, told, 30, torch.Generator().manual_seed(0)).mean
        pose = mpjpe(root_relative(mean), root_relative(people)).mean()
        return float(pose), float((mean - people)[:, 0].norm(dim=-1).mean())

    pose, place = errors(pinhole, pinhole)
    fisheye_pose, fisheye_place = errors(lens, lens)
    assert fisheye_pose < 1.1 * pose
    assert fisheye_place < 1.1 * place
    mistaken_pose, mistaken_place = errors(lens, pinhole)
    assert mistaken_pose > 1.4 * pose
    assert mistaken_place > 3 * place


def test_a_person_at_the_side_of_a_fisheye_is_found():
    """60 degrees from the axis the hypotheses' mean lies within 10 cm of the truth across the view, at 3 m."""
    prior = PosePrior.from_pretrained()
    cam = fisheye(FISHEYES[1])
    joints = prior.sample(1, torch.Generator().manual_seed(3))
    root = torch.tensor([3 * math.sin(math.radians(60)), 0.0, 3 * math.cos(math.radians(60))])
    people = joints - joints[:, :1] + root
    seen = cam.project(people)
    heat = Heatmaps.from_keypoints(seen, 4 * torch.eye(2).expand(1, 17, 2, 2), torch.ones(1, 17), H36M17)
    posterior = PoseEstimator(prior)(heat, cam, 20, torch.Generator().manual_seed(0))
    error_px = (cam.project(posterior.mean) - seen).norm(dim=-1)
    assert error_px.median() < 4
    pelvis = posterior.mean[0, 0]
    assert torch.nn.functional.cosine_similarity(pelvis, root, dim=0) > math.cos(math.radians(2))


def test_a_known_pixel():
    cam = Camera(500, 500, 320, 240, 640, 480)
    assert cam.project(torch.tensor([0.4, -0.2, 2.0])).tolist() == pytest.approx([420.0, 190.0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fx", 0.0),
        ("fx", -500.0),
        ("fy", float("nan")),
        ("cx", float("inf")),
        ("cy", 5000.0),
        ("width", 0),
        ("height", -1),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    good = {"fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0, "width": 640, "height": 480}
    with pytest.raises(ValueError, match=f"camera {field} "):
        Camera(**{**good, field: value})


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.zeros(3, 3), "all zeros"),
        (torch.full((3, 3), torch.nan), "finite"),
        (torch.ones(3, 3), r"\[\[fx,0,cx\]"),
        (torch.diag(torch.tensor([-500.0, 500.0, 1.0])), "fx"),
    ],
)
def test_uncalibrated_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        Camera.from_matrix(matrix, 640, 480)


def test_unknown_distortion_is_refused():
    with pytest.raises(ValueError, match="'fisheye_ds'"):
        Camera(500, 500, 320, 240, 640, 480, (0.1,), "fisheye_ds")
    with pytest.raises(ValueError, match="3"):
        Camera(500, 500, 320, 240, 640, 480, (0.1, 0.1, 0.1))


@given(st.floats(20, 120))
def test_field_of_view_reaches_the_image_border(degrees):
    cam = Camera.from_field_of_view(640, 480, degrees)
    edge = np.tan(np.radians(degrees / 2))
    pixel = cam.project(torch.tensor([edge, 0.0, 1.0], dtype=torch.float64))
    assert float(pixel[0]) == pytest.approx(320 + 319.5, abs=1e-6)
