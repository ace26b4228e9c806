import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core import H36M17, Camera, Heatmaps, PoseEstimator, PosePrior
from diffpose_core.camera import MAX_ANGLE_RAD

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


FISHEYES = [
    LENSES["equidistant"][1],
    (-0.0135, 0.0205, -0.0179, 0.0042),  # a lens of 160 degrees
    (0.5, -0.3, 0.1, 0.02),
    (-0.3, 0.0, 0.0, 0.0),  # grows only up to 1 / sqrt(0.9) rad
]
FOLD_RAD = 1 / math.sqrt(0.9)


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


def test_what_a_folding_polynomial_would_bring_back_stays_outside():
    """theta - 0.3 theta^3 falls again beyond 60.4 degrees: 85 degrees would land where 35 do."""
    cam = fisheye(FISHEYES[3])
    radius = [(cam.project(around(math.radians(d)))[0, 0] - cam.cx).item() for d in (30, 50, 60, 61, 70, 85, 89)]
    assert radius == sorted(radius)
    rim = 300 * FOLD_RAD * (1 - 0.3 * FOLD_RAD**2)
    assert radius[2] < rim < radius[3]
    behind = cam.project(torch.tensor([[0.5, 0.3, -2.0], [-1.0, 0.0, -0.5]]))
    assert ((behind - torch.tensor([cam.cx, cam.cy])).norm(dim=-1) > rim).all()
    folded = (math.radians(85) - 0.3 * math.radians(85) ** 3, math.radians(35) - 0.3 * math.radians(35) ** 3)
    assert folded[0] < folded[1]


def test_pixels_that_no_ray_reaches_get_the_one_at_the_limit():
    far = torch.tensor([[321.0 + 1e5, 238.0], [321.0, 238.0 - 1e5]], dtype=torch.float64)
    tangent = fisheye(FISHEYES[3]).unproject(far)
    np.testing.assert_allclose(tangent.numpy(), np.tan(FOLD_RAD) * np.array([[1, 0], [0, -1]]), atol=1e-6)
    tangent = fisheye(FISHEYES[0]).unproject(far)
    np.testing.assert_allclose(tangent.numpy(), math.tan(MAX_ANGLE_RAD) * np.array([[1, 0], [0, -1]]), atol=1e-6)
    assert fisheye(FISHEYES[0]).unproject(torch.tensor([[321.0, 238.0]])).tolist() == [[0.0, 0.0]]


def test_zero_coefficients_are_no_lens_whatever_the_model():
    """A rectified image keeps the model's name: image_geometry reads zeros so, too."""
    straight = Camera(300.0, 290.0, 321.0, 238.0, 640, 480)
    for model, n in (("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)):
        cam = Camera(300.0, 290.0, 321.0, 238.0, 640, 480, (0.0,) * n, model)
        assert torch.equal(cam.project(points()), straight.project(points()))


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
