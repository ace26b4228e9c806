import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core import Camera

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
