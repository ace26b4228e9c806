# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The 2D input of an evaluation: from the true joints, the prepared file, a COCO-style file or the detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffpose_core.evaluation.frames import Batch
from diffpose_core.heatmap import Heatmaps
from diffpose_core.skeleton import COCO17, H36M17

LIMIT_BYTES = 1 << 31
"""Largest file of keypoints that is read."""
FARTHEST_BOXES = 0.5
"""A person detected farther from the true one than so many of its boxes, in the mean over limbs, is somebody else."""
FARTHEST_PX = 1e6
_LIMBS = [
    (COCO17.index(f"{side}_{joint.lower()}"), H36M17.index(side[0].upper() + joint))
    for side in ("left", "right")
    for joint in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
]


@runtime_checkable
class Input(Protocol):
    """Turns frames into what an estimator is shown."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> Heatmaps:
        """Return the heatmaps of the batch's persons; of one who was not found all visibilities are 0."""


def _box_side(pixels: Float[Tensor, "*P J 2"], seen: Float[Tensor, "*P J"]) -> Float[Tensor, "*P"]:
    """Larger side of the box around the seen keypoints, at least 1 px."""
    unseen = (seen == 0)[..., None]
    size = pixels.masked_fill(unseen, -torch.inf).amax(-2) - pixels.masked_fill(unseen, torch.inf).amin(-2)
    return torch.where(size.isfinite(), size, 0.0).amax(-1).clamp_min(1.0)


def _heatmaps(pixels: Tensor, confidence: Tensor, sigma: float, skeleton: Any) -> Heatmaps:
    sd = sigma * _box_side(pixels, confidence)
    covariance = (sd**2)[:, None, None, None] * torch.eye(2)
    return Heatmaps.from_keypoints(pixels, covariance.expand(*pixels.shape, 2), confidence, skeleton)


class TrueKeypoints:
    """Projections of the true joints, with Gaussian noise if asked for.

    Args:
        sigma: standard deviation that the heatmaps claim, as a share of the larger side of the person's box.
        noise: standard deviation of what is added, likewise.
    """

    def __init__(self, sigma: float, noise: float) -> None:
        self.sigma, self.noise = sigma, noise

    def __call__(self, batch: Batch, generator: torch.Generator) -> Heatmaps:
        """Project, add noise."""
        pixels = batch.camera.project(batch.joints)
        seen = torch.ones(pixels.shape[:-1])
        spread = self.noise * _box_side(pixels, seen)[:, None, None]
        return _heatmaps(pixels + spread * torch.randn(pixels.shape, generator=generator), seen, self.sigma, H36M17)


class PreparedKeypoints:
    """The keypoints of the prepared file, e.g. of a detector that its data set came with.

    Args:
        sigma: their standard deviation as a share of the larger side of the person's box.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, batch: Batch, generator: torch.Generator) -> Heatmaps:
        """Take them; ``ValueError`` where the file holds none for a recording."""
        if batch.keypoints is None or batch.confidence is None:
            raise ValueError(f"recording {batch.recordings[0].name!r} was prepared without 2D keypoints")
        if (without := batch.keypoints.isnan().flatten(1).any(-1)).any():
            name = batch.recordings[int(without.int().argmax())].name
            raise ValueError(f"recording {name!r} was prepared without 2D keypoints")
        return _heatmaps(batch.keypoints, batch.confidence, self.sigma, H36M17)


def nearest_person(
    keypoints: Float[Tensor, "K 17 2"], confidence: Float[Tensor, "K 17"], truth: Float[Tensor, "17 2"]
) -> int | None:
    """Return which of K detected persons (COCO17, px) is the true one (H36M17, px); None if none is near."""
    coco, h36m = (list(joints) for joints in zip(*_LIMBS, strict=True))
    weight = (confidence[:, coco] > 0).float()
    distance = (keypoints[:, coco] - truth[h36m]).norm(dim=-1)
    mean = (weight * distance).sum(-1) / weight.sum(-1)  # NaN of a person without limbs
    side = float(_box_side(truth, torch.ones(len(truth))))
    near = torch.where(mean <= FARTHEST_BOXES * side, mean, torch.inf)
    return int(near.argmin()) if len(near) and bool(near.isfinite().any()) else None


def image_path(pattern: str, batch: Batch, person: int) -> str:
    """Fill a pattern in, such as ``{0}/image_{frame:05d}.jpg``.

    ``{0}``, ``{1}`` ... are the parts of the recording's name; ``{frame}`` counts from 0, ``{number}`` from 1.

    Raises:
        ValueError: the pattern does not fit the recording.
    """
    parts = batch.recordings[person].name.split("/")
    frame = int(batch.frames[person])
    try:
        return pattern.format(*parts, frame=frame, number=frame + 1)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"image pattern {pattern!r} does not fit {batch.recordings[person].name!r}: {error}"
        ) from error


class CocoKeypoints:
    """COCO-style keypoints of a file: of a detector's, or labels.

    The file is JSON: either an object with ``images`` (``id``, ``file_name``) and ``annotations`` (``image_id``,
    ``keypoints``), or a list of results whose ``image_id`` is a file name. ``keypoints`` are 17 times x, y (px) and a
    confidence of 0 to 1; or, in a file of which all are 0, 1 or 2 and some are 2, COCO's flags: 1 counts as one half.
    A list has no row for an image in which nobody was found.

    Args:
        path: the file.
        pattern: name of a frame's image in it, see :func:`image_path`.
        sigma: standard deviation of a keypoint as a share of the larger side of the person's box.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or too large.
    """

    def __init__(self, path: Path, pattern: str, sigma: float) -> None:
        self.path, self.pattern, self.sigma = path, pattern, sigma
        self.persons, self.names_all_images = _read_coco(path)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Heatmaps:
        """Find each person among those of its image.

        Raises:
            ValueError: the file's ``images`` lack one, or a list has none of the batch's.
        """
        truth = batch.camera.project(batch.joints)
        keypoints, confidence = torch.zeros(len(batch), 17, 2), torch.zeros(len(batch), 17)
        names = [image_path(self.pattern, batch, person) for person in range(len(batch))]
        unknown = [name for name in names if name not in self.persons]
        if unknown and (self.names_all_images or len(unknown) == len(names)):
            raise ValueError(f"{self.path}: no image is called {unknown[0]!r}")
        for person, name in enumerate(names):
            there = self.persons.get(name, torch.zeros(0, 17, 3))
            found = nearest_person(there[..., :2], there[..., 2], truth[person])
            if found is not None:
                keypoints[person], confidence[person] = there[found, :, :2], there[found, :, 2]
        return _heatmaps(keypoints, confidence, self.sigma, COCO17)


def _read_coco(path: Path) -> tuple[dict[str, Float[Tensor, "K 17 3"]], bool]:
    """Return people by image, and whether images without people are named too."""
    if not path.is_file():
        raise FileNotFoundError(f"keypoint file not found: {path}")
    if (size := path.stat().st_size) > LIMIT_BYTES:
        raise ValueError(f"{path} holds {size:,} bytes; at most {LIMIT_BYTES:,} are read")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    labels = isinstance(content, dict)
    try:
        names = {i["id"]: i["file_name"] for i in content["images"]} if labels else {}
        if labels and len(names) < len(content["images"]):
            raise ValueError("two of the images have one id")
        if wrong := [name for name in names.values() if not isinstance(name, str)]:
            raise ValueError(f"file_name must be text, got {wrong[0]!r}")
        people: dict[str, list[list[float]]] = {name: [] for name in names.values()}
        for number, person in enumerate(content["annotations"] if labels else content):
            image = person["image_id"]
            if labels and image not in names:
                raise ValueError(f"annotation {number} has image_id {image!r}, which no image has")
            if not labels and not isinstance(image, str):
                raise ValueError(f"result {number} has image_id {image!r}; without 'images' it must be a file name")
            people.setdefault(names.get(image, image), []).append(_checked(person["keypoints"], number))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO-style file of keypoints: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    every = torch.tensor([v for each in people.values() for v in each]).reshape(-1, 17, 3)[..., 2]
    flags = bool(torch.isin(every, torch.tensor([0.0, 1.0, 2.0])).all()) and bool((every == 2).any())
    if not flags and bool((every > 1).any()):
        raise ValueError(f"{path}: confidences must lie in 0..1 or be COCO's flags 0, 1, 2, got {float(every.max())}")
    scale = torch.tensor([1.0, 1.0, 0.5 if flags else 1.0])
    return {name: torch.tensor(each).reshape(len(each), 17, 3) * scale for name, each in people.items()}, labels


def _checked(values: object, number: int) -> list[float]:
    if not isinstance(values, list) or len(values) != 51 or not all(isinstance(v, (int, float)) for v in values):
        raise ValueError(f"keypoints of person {number} must be 51 numbers, got {str(values)[:40]}")
    if worst := [v for v in values if not abs(v) <= FARTHEST_PX]:
        raise ValueError(f"keypoints of person {number} hold {str(worst[0])[:20]}, beyond {FARTHEST_PX:g} px")
    if min(values[2::3]) < 0:
        raise ValueError(f"person {number} has a confidence below 0: {min(values[2::3])}")
    return [float(v) for v in values]


class DetectedKeypoints:
    """Heatmaps of the package's detector on the frames' images.

    Args:
        images: folder.
        pattern: where a frame's image lies below it, see :func:`image_path`.
        device: of the detector.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(self, images: Path, pattern: str, device: str) -> None:
        from diffpose_core.detector import YoloPoseDetector

        if not images.is_dir():
            raise FileNotFoundError(f"folder of images not found: {images}")
        self.images, self.pattern = images, pattern
        self.detector = YoloPoseDetector(device=device)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Heatmaps:
        """Detect in each image and take the person nearest the true one."""
        import cv2

        truth = batch.camera.project(batch.joints)
        found = []
        for person in range(len(batch)):
            path = self.images / image_path(self.pattern, batch, person)
            image = cv2.imread(str(path))
            if image is None:
                raise FileNotFoundError(f"image not found, or none that OpenCV reads: {path}")
            seen = self.detector(image)
            best = nearest_person(seen.keypoints, seen.visibility, truth[person])
            found.append(seen.heatmaps.of([best]) if best is not None else self._nobody())
        return Heatmaps.concatenate(found)

    def _nobody(self) -> Heatmaps:
        joints, modes = len(COCO17), self.detector.config.max_modes
        return Heatmaps.from_mixture(
            torch.zeros(1, joints, modes, 2), torch.eye(2).expand(1, joints, modes, 2, 2),
            torch.ones(1, joints, modes), torch.zeros(1, joints), torch.ones(1, joints), torch.tensor([[0, 0, 1, 1.0]]),
        )  # fmt: skip
