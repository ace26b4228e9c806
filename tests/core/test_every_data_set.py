# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Every data set from its own files to an evaluation: prepared, trained on for a few hundred steps, evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from h36m_files import KEYPOINTS, POSES, write_keypoints, write_npz, write_python
from mocap_files import body, random_angles, write_amass, write_bvh
from test_mocap_readers import bvh_person, write_acclaim
from test_threedpw import one_sequence
from threed_files import people, write_3dhp_sequence, write_3dhp_test, write_3dpw

from diffpose_core.data.prepared import open_prepared
from diffpose_core.evaluation import PROTOCOLS

TRAINING = Path(__file__).parents[2] / "training"
QUICK = ("--hypotheses", "3", "--best-of", "1", "3", "--max-frames", "20", "--sampler.steps", "2")


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(TRAINING / script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asf_amc(folder: Path) -> list[str]:
    for subject in ("01", "06", "05"):
        write_acclaim(folder, subject)
    return []


def bvh(folder: Path) -> list[str]:
    person = bvh_person({})
    for subject in (1, 2, 3):
        write_bvh(folder / f"walk1_subject{subject}.bvh", person, random_angles(person.all(), 90, subject))
    return ["--validation", "subject2", "--test", "subject3"]


def amass(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    model = folder.parent / "models"
    body("smplh").write(model / "male" / "model.npz")
    for subset in ("CMU", "HumanEva", "Transitions_mocap"):
        poses, places = rng.normal(scale=0.3, size=(40, 156)), rng.normal(size=(40, 3))
        write_amass(folder / subset / "01" / "walk_poses.npz", poses, rng.normal(size=16), places)
    return ["--models", str(model)]


def h36m(folder: Path) -> list[str]:
    write_npz(folder / "data_3d_h36m.npz", POSES)
    cameras = write_python(folder / "h36m_dataset.py")
    return ["--cameras", str(cameras), "--keypoints", str(write_keypoints(folder / "cpn.npz", KEYPOINTS))]


def mpi_inf_3dhp(folder: Path) -> list[str]:
    for subject in ("S1", "S8"):
        for sequence in (1, 2):
            write_3dhp_sequence(folder, subject, sequence, people(8))
    write_3dhp_test(folder, "TS5", people(30), np.ones(30), np.full(30, 6))
    return ["--subjects", "S1", "S8", "TS5"]


def threedpw(folder: Path) -> list[str]:
    for split in ("train", "validation", "test"):
        write_3dpw(folder, split, one_sequence(12) | {"sequence": f"walk_{split}"})
    return []


@pytest.mark.parametrize(
    ("name", "write", "source", "protocol", "keypoints"),
    [
        ("asf-amc", asf_amc, ".", "mocap", "truth"),
        ("bvh", bvh, ".", "mocap", "truth"),
        ("amass", amass, ".", "mocap", "truth"),
        ("h36m", h36m, "data_3d_h36m.npz", "h36m-5", "prepared"),
        ("3dhp", mpi_inf_3dhp, ".", "3dhp", "truth"),
        ("3dpw", threedpw, ".", "3dpw-14", "prepared"),
    ],
)
def test_prepare_train_evaluate(
    tmp_path: Path, name: str, write: Callable[[Path], list[str]], source: str, protocol: str, keypoints: str
) -> None:
    folder, data, out = tmp_path / "source", tmp_path / "data.safetensors", tmp_path / "run"
    folder.mkdir()
    run("prepare.py", name, "--source", folder / source, "--out", data, *write(folder))
    shape = ("--width", "32", "--batch", "64", "--shard", "64", "--steps", "200", "--save-every", "100")
    run("train.py", "--data", data, "--out", out, "--device", "cpu", *shape)
    prior = out / "prior.safetensors"
    told = run(
        "evaluate.py", protocol, "--data", data, "--prior", prior, "--out", tmp_path / "found",
        "--keypoints", keypoints, *QUICK,
    )  # fmt: skip
    assert told.startswith(f"# {PROTOCOLS[protocol].title}\n")
    assert "3D poses (data.safetensors)" in told
    found = json.loads((tmp_path / "found" / "report.json").read_text())
    assert found["not_found"] == 0
    assert 0 < found["figures"]["PA-MPJPE best of 3"] < found["figures"]["MPJPE best of 3"] < 2000
    assert json.loads((out / "log.json").read_text())[-1]["step"] == 200
    assert f"- licence: {open_prepared(data).description.licence}\n" in (out / "MODEL_CARD.md").read_text()
