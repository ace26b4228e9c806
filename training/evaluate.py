# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Evaluate by a named protocol on a prepared data set, and put the result beside what others published.

    python training/evaluate.py h36m-64 --data h36m.safetensors --out runs/evaluation/h36m-64
    torchrun --standalone --nproc-per-node 2 training/evaluate.py h36m-64 --data h36m.safetensors --out ...
    accelerate launch --multi_gpu --num_processes 4 training/evaluate.py h36m-64 --device cuda --data ... --out ...

Writes report.md, table.tex, report.json and pictures into the folder. On a CPU each process uses one thread; the
figures do not depend on the number of processes. Protocols and options: docs/evaluation.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from diffpose_core import PoseEstimator, PosePrior, SamplerConfig
from diffpose_core.data.prepared import SPLITS, open_prepared
from diffpose_core.data.readers.h36m import read_frame_list
from diffpose_core.evaluation import (
    HEAD,
    PROTOCOLS,
    PUBLISHED,
    CocoKeypoints,
    Conditions,
    DetectedKeypoints,
    FramePlan,
    FrameScores,
    Input,
    Knowledge,
    PreparedKeypoints,
    Protocol,
    TrueKeypoints,
    latex_table,
    markdown,
    rows,
    score_batches,
    summarise,
)
from diffpose_core.evaluation.figures import draw_all
from diffpose_core.evaluation.published import POSES
from diffpose_core.training.state import replace_text

LONGEST_WAIT = timedelta(days=2)
"""For the slowest process."""
Scored = list[tuple[tuple[int, int], FrameScores]]
"""Scores of batches, by seed and number."""


@dataclass(frozen=True)
class EvaluateConfig:
    """An evaluation.

    Attributes:
        protocol: which one.
        data: prepared data set (training/prepare.py).
        out: folder to write into.
        prior: checkpoint; the packaged one if not given.
        keypoints: 2D input: truth (true joints projected), prepared (those of the data file), detector (the package's
            own, on --images), or a COCO-style .json file.
        images: folder of images, for the detector.
        image_pattern: where a frame's image lies in it, or what it is called in the .json; empty for the protocol's.
        sigma: standard deviation that keypoints are taken to have, as a share of the larger side of the person's box;
            the detector says its own.
        noise: standard deviation of Gaussian noise added to the true keypoints, likewise.
        root: whether the true pelvis is told.
        intrinsics: whether the true camera is told, or 60 degrees of field of view are guessed.
        hypotheses: drawn for each person.
        best_of: numbers of hypotheses to take the best of; those above --hypotheses are left out.
        split: whose subjects: tune on validation, report on test.
        frame_list: file of the only frames of Human3.6M to score; the protocol's stride is then not used.
        max_frames: if above 0, at most so many frames, evenly spread.
        seeds: how often everything is done, each time with other draws; the tables then have the spread.
        seed: the first of them.
        device: cpu or cuda.
        sampler: settings of the sampler.
    """

    protocol: tyro.conf.Positional[Literal[tuple(PROTOCOLS)]]
    data: Path
    out: Path
    prior: Path | None = None
    keypoints: str = "truth"
    images: Path | None = None
    image_pattern: str = ""
    sigma: float = 0.01
    noise: float = 0.0
    root: Literal["unknown", "known"] = "unknown"
    intrinsics: Literal["known", "guessed"] = "known"
    hypotheses: int = 200
    best_of: tuple[int, ...] = (1, 5, 10, 50, 200)
    split: Literal[SPLITS] = "test"
    frame_list: Path | None = None
    max_frames: int = 0
    seeds: int = 1
    seed: int = 0
    device: str = "cpu"
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        if not 1e-4 <= self.sigma < 1:
            raise ValueError(f"sigma must lie in 0.0001..1, got {self.sigma}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must lie in 0..1, got {self.noise}")
        if self.noise and self.keypoints != "truth":
            raise ValueError(
                f"noise is added to true keypoints only, got {self.noise} and keypoints {self.keypoints!r}"
            )
        if self.images is not None and self.keypoints != "detector":
            raise ValueError(f"images are for keypoints 'detector' only, got {self.keypoints!r}")
        if self.max_frames < 0:
            raise ValueError(f"max_frames must not be negative, got {self.max_frames}")
        if self.hypotheses < 2:
            raise ValueError(f"hypotheses must be at least 2, got {self.hypotheses}")
        if self.seeds < 1 or not 0 <= self.seed < 1_000_000:
            raise ValueError(f"seeds must be at least 1 and seed lie in 0..999999, got {self.seeds} and {self.seed}")
        if not self.sizes or min(self.best_of) < 1:
            raise ValueError(f"best_of must hold numbers of 1..{self.hypotheses}, got {self.best_of}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The m of best of m."""
        return tuple(sorted({m for m in self.best_of if m <= self.hypotheses}))

    def input(self, protocol: Protocol, device: str) -> tuple[Input, str]:
        """Return the 2D input, and the table's words for it."""
        pattern = self.image_pattern or protocol.image
        if self.keypoints == "truth":
            noise = f" with noise of {100 * self.noise:g} %" if self.noise else ""
            return TrueKeypoints(self.sigma, self.noise), f"true{noise}"
        if self.keypoints == "prepared":
            return PreparedKeypoints(self.sigma), "of the data file"
        if self.keypoints != "detector" and not self.keypoints.endswith(".json"):
            raise ValueError(f"keypoints must be truth, prepared, detector or a .json file, got {self.keypoints!r}")
        if not pattern:
            raise ValueError("image_pattern must be given: the data set is published without images")
        if self.keypoints == "detector":
            if self.images is None:
                raise ValueError("images must be given for keypoints 'detector'")
            return DetectedKeypoints(self.images, pattern, device), "YOLO11n-pose"
        return CocoKeypoints(Path(self.keypoints), pattern, self.sigma), Path(self.keypoints).name


def share_of_work(config: EvaluateConfig, plan: FramePlan, state: PartialState) -> tuple[list[Any], str, PosePrior]:
    """Score this process's batches; return what all processes scored, in no order, the input's name and the prior."""
    device = (
        config.device if state.num_processes == 1 or config.device == "cpu" else f"cuda:{state.local_process_index}"
    )
    protocol = PROTOCOLS[config.protocol]
    see, input_2d = config.input(protocol, device)
    prior = PosePrior.from_pretrained(config.prior)
    estimator = PoseEstimator(prior, device, config.sampler)
    mine = range(state.process_index, len(plan.batches), state.num_processes)
    knowledge = Knowledge(config.root, config.intrinsics)
    scored: Scored = []
    with tqdm(total=config.seeds * len(mine), unit="batch", disable=not state.is_main_process) as progress:
        for seed in range(config.seed, config.seed + config.seeds):
            parts = score_batches(
                plan, mine, see, estimator, protocol, knowledge, config.hypotheses, config.sizes, seed
            )
            for number, part in zip(mine, parts, strict=True):
                scored.append(((seed, number), part))
                progress.update()
    return scored, input_2d, prior


def training_files(prior: PosePrior) -> str:
    """Return the names of the files that a prior was trained on, as its checkpoint states them."""
    settings = json.loads(prior.metadata.get("settings", "{}"))
    files = settings.get("mixture", {}).get("data") or [settings.get("data", "not stated")]
    return ", ".join(Path(file).name for file in files)


def frames_in_words(config: EvaluateConfig, plan: FramePlan) -> str:
    """Say which frames are scored."""
    chosen = f"every {PROTOCOLS[config.protocol].stride}th of each recording"
    if config.frame_list:
        digest = hashlib.sha256(config.frame_list.read_bytes()).hexdigest()
        chosen = f"those of {config.frame_list.name}, sha256 {digest[:16]}"
    thinned = f", of them at most {config.max_frames}" if config.max_frames else ""
    return f"{chosen}{thinned}: {len(plan):,}"


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate; the main process writes.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file or an option is unusable.
    """
    torch.set_num_threads(1)  # a sum's bits depend on how many threads share it
    state = PartialState(cpu=config.device == "cpu", timeout=LONGEST_WAIT)
    data, protocol = open_prepared(config.data, verify=state.is_local_main_process), PROTOCOLS[config.protocol]
    only = read_frame_list(config.frame_list) if config.frame_list else None
    plan = FramePlan.of(data, protocol, config.split, only, config.max_frames)
    config.out.mkdir(parents=True, exist_ok=True)
    mine, input_2d, prior = share_of_work(config, plan, state)
    everyone = gather_object(mine)
    state.destroy_process_group()  # left to the interpreter's end, its threads may abort the process
    if not state.is_main_process:
        return
    parts = sorted(everyone, key=lambda part: part[0])
    by_seed = [[scores for (_, scores) in each] for _, each in itertools.groupby(parts, key=lambda part: part[0][0])]
    summary = summarise([FrameScores.concatenate(each) for each in by_seed], protocol)
    conditions = Conditions(input_2d, config.root, config.intrinsics, f"{POSES} ({training_files(prior)})")
    published = PUBLISHED.get(protocol.table, ())
    lines = rows(summary, config.sizes, conditions, published)
    about = {
        "data": f"{data.description.dataset}, split {config.split}, joints sha256 {data.sha256['joints'][:16]}",
        "joints made from others": " ".join(data.description.approximate) or "none",
        "prior": f"sha256 {prior.sha256[:16]}, {conditions.learnt_from}",
        "sampler": ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(config.sampler).items()),
        "frames": frames_in_words(config, plan),
        "2D input": input_2d + (f", sigma {config.sigma:g}" if config.keypoints != "detector" else ""),
        "root": config.root,
        "camera": config.intrinsics,
        "hypotheses": f"{config.hypotheses} of each person, {config.seeds} seeds from {config.seed} on",
        "device": f"{config.device}, torch {torch.__version__}",
    }
    text = markdown(protocol, about, summary, config.sizes, lines)
    draw_all(config.out, summary, config.sizes, published)
    replace_text(config.out / "report.md", text)
    replace_text(config.out / "table.tex", latex_table(f"{protocol.title}; {about['frames']}", HEAD, lines))
    options = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items() if k != "out"}
    report = {"options": options, "about": about, **dataclasses.asdict(summary)}
    replace_text(config.out / "report.json", json.dumps(report, indent=1) + "\n")
    print(text)


def main() -> None:
    """Parse the command line and evaluate."""
    try:
        evaluate(tyro.cli(EvaluateConfig, description=__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"evaluate.py: {error}")  # of several processes the launcher ends the others then
    except KeyboardInterrupt:
        sys.exit("evaluate.py: interrupted; nothing was written")


if __name__ == "__main__":
    main()
