# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""AMASS: motion capture data sets as poses of a body model (Mahmood et al., ICCV 2019, amass.is.tue.mpg.de).

Two forms are published, ``X_poses.npz`` of SMPL+H and ``X_stageii.npz`` of SMPL-X. World z up, metres.

===================================  ============  ===============================================================
poses                                [N, 156]      SMPL+H, axis-angle; of SMPL-X [N, 165]
trans                                [N, 3]        metres
betas                                [16]          shape
gender                               text          male, female or neutral
mocap_framerate, mocap_frame_rate    number        Hz; the second in ``X_stageii.npz``
===================================  ============  ===============================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffpose_core.data.prepared import Description, Recording
from diffpose_core.data.readers import smpl
from diffpose_core.data.readers.arrays import load_arrays
from diffpose_core.data.readers.mocap import MOST_HZ, check_named, files_below, split_of, stride

RATE_KEYS = {"_poses.npz": "mocap_framerate", "_stageii.npz": "mocap_frame_rate"}
"""By the ending of a file's name; others, ``shape.npz`` and ``X_stagei.npz``, hold no motion."""
VALIDATION = ("HumanEva", "HDM05", "MPI_HDM05", "SFU", "MoSh", "MPI_mosh")
TEST = ("SSM", "SSM_synced", "Transitions", "Transitions_mocap")
"""The authors' split by sub-dataset (amass, prepare_data.py; VPoser's README), under their new names and their old."""
GENDERS = ("female", "male", "neutral")


@dataclass(frozen=True)
class Amass:
    """AMASS: poses of SMPL+H or SMPL-X, whose joints a body model gives.

    Attributes:
        source: a folder of sub-datasets, e.g. CMU, with X_poses.npz or X_stageii.npz somewhere below.
        models: folder of the body models: female/model.npz, or SMPLX_FEMALE.npz or SMPLH_FEMALE.npz, and so
            on for every gender that occurs.
        regressor: J_regressor_h36m.npy, which gives Human3.6M's joints; SMPL+H only. Without it, they are made from
            the model's own joints.
        validation: sub-datasets for validation.
        test: sub-datasets for the test.
        most_hz: every n-th frame is taken, so that at most this many a second remain.
    """

    source: Path
    models: Path
    regressor: Path | None = None
    validation: tuple[str, ...] = VALIDATION
    test: tuple[str, ...] = TEST
    most_hz: float = MOST_HZ

    def describe(self) -> Description:
        """Name the terms, and the joints that are approximate."""
        return Description(
            "AMASS",
            "AMASS and its body models: for non-commercial scientific research, not to be passed on",
            "Mahmood, Ghorbani, Troje, Pons-Moll, Black: AMASS: Archive of Motion Capture as Surface Shapes, 2019, "
            "and the sub-datasets as amass.is.tue.mpg.de lists them",
            smpl.APPROXIMATE if self.regressor is None else (),
        )

    def recordings(self) -> Iterator[Recording]:
        """Read all motion; frames are counted from 0.

        Raises:
            FileNotFoundError: no motion there, or no body model of a gender that occurs.
            ValueError: a file is damaged, a key is missing, or its poses are those of another body model.
        """
        subsets = set[str]()
        bodies: dict[str, tuple[smpl.BodyModel, np.ndarray | None]] = {}
        for file in files_below(self.source, tuple(RATE_KEYS)):
            ending = next(e for e in RATE_KEYS if file.name.endswith(e))
            arrays = load_arrays(file, ("gender", "betas", "poses", "trans", RATE_KEYS[ending]))
            gender, rate_hz = _gender(file, arrays["gender"]), arrays[RATE_KEYS[ending]]
            if gender not in bodies:
                model = smpl.BodyModel.load(self._model_file(gender))
                regressor = None if self.regressor is None else smpl.load_h36m_regressor(self.regressor, model)
                bodies[gender] = model, regressor
            if rate_hz.size != 1 or rate_hz.dtype.kind not in "iuf":
                raise ValueError(f"{file}: {RATE_KEYS[ending]} is {rate_hz.dtype} {rate_hz.shape}, expected one number")
            path = file.relative_to(self.source)
            if len(path.parts) < 3:
                raise ValueError(
                    f"{path} does not lie in sub-dataset/subject; {self.source} must hold the sub-datasets"
                )
            subsets.add(path.parts[0])
            try:
                every = stride(rate_hz.item(), self.most_hz)
                joints = _joints(*bodies[gender], arrays, every)
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
            yield Recording(
                name=path.as_posix().removesuffix(ending),
                subject="/".join(dict.fromkeys((path.parts[0], path.parent.name))),
                split=split_of(path.parts[0], self.validation, self.test),
                frame_rate_hz=round(rate_hz.item() / every, 3),
                frames=np.arange(0, len(arrays["poses"]), every),
                joints=joints,
                source=path.parts[0],
            )
        check_named("validation", self.validation, VALIDATION, subsets)
        check_named("test", self.test, TEST, subsets)

    def _model_file(self, gender: str) -> Path:
        known = (f"{gender}/model.npz", f"SMPLX_{gender.upper()}.npz", f"SMPLH_{gender.upper()}.npz")
        there = [self.models / name for name in known if (self.models / name).is_file()]
        if len(there) != 1:
            raise FileNotFoundError(f"{self.models} must hold one of {', '.join(known)}; it holds {len(there)}")
        return there[0]


def _gender(file: Path, stored: np.ndarray) -> str:
    """Return who; some files store the word as bytes."""
    gender = str(stored.astype(str)) if stored.dtype.kind in "SU" and stored.ndim == 0 else ""
    if gender not in GENDERS:
        raise ValueError(f"{file}: gender is {stored!r}, expected one of {', '.join(GENDERS)}")
    return gender


def _joints(
    model: smpl.BodyModel, regressor: np.ndarray | None, arrays: dict[str, np.ndarray], every: int
) -> np.ndarray:
    for key in ("poses", "betas", "trans"):
        if arrays[key].dtype.kind != "f" or not arrays[key].ndim:
            raise ValueError(f"{key} is {arrays[key].dtype} {arrays[key].shape}, expected an array of numbers")
    motion = arrays["poses"][::every], arrays["betas"], arrays["trans"][::every]
    if regressor is None:
        return smpl.h36m17(model, *motion)
    return smpl.h36m17_regressed(model, regressor, *motion)
