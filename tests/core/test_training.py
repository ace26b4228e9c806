"""Training as a user runs it: a process, killed and resumed, or refused."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffpose_core import H36M17, PosePrior
from diffpose_core.data.prepared import SPLITS, Description, Recording, write_prepared

SCRIPT = Path(__file__).parents[2] / "training" / "train.py"
STEPS, SAVE_EVERY, KILLED_AT = 40, 5, 10
UPRIGHT = {
    "Pelvis": (0, 0, 1), "RHip": (-0.1, 0, 1), "RKnee": (-0.1, -0.05, 0.55), "RAnkle": (-0.1, 0, 0.1),
    "LHip": (0.1, 0, 1), "LKnee": (0.1, -0.05, 0.55), "LAnkle": (0.1, 0, 0.1), "Spine": (0, 0, 1.25),
    "Thorax": (0, 0, 1.5), "Nose": (0, -0.1, 1.62), "HeadTop": (0, 0, 1.75), "LShoulder": (0.18, 0, 1.45),
    "LElbow": (0.3, 0, 1.2), "LWrist": (0.35, -0.1, 1), "RShoulder": (-0.18, 0, 1.45),
    "RElbow": (-0.3, 0, 1.2), "RWrist": (-0.35, -0.1, 1),
}  # fmt: skip


def write_motion(path: Path, subject: tuple[int, ...] = (1, 2, 3), split: tuple[int, ...] = (0, 0, 1)) -> Path:
    """A person near standing, 144 poses shared alike by the recordings walk, run, jump, and more if asked for."""
    rest = np.array([UPRIGHT[name] for name in H36M17.joints], dtype=np.float32)
    noise = np.random.default_rng(0).normal(scale=0.03, size=(144, *rest.shape)).astype(np.float32)
    parts = np.split(rest + noise, len(subject))
    names = ("walk", "run", "jump", *(f"more {i}" for i in range(3, len(subject))))
    recordings = [
        Recording(name, str(who), SPLITS[which], 30.0, np.arange(len(joints)), joints, source=("own", "generic")[i % 2])
        for i, (name, who, which, joints) in enumerate(zip(names, subject, split, parts, strict=False))
    ]
    write_prepared(path, Description("made up", "free", "nobody"), recordings)
    return path


def start(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(out), *more]
    command += ["--steps", str(STEPS), "--save-every", str(SAVE_EVERY), "--batch", "32", "--width", "32"]
    pipe = subprocess.PIPE
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_killed_and_resumed_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors")
    status, _, err = finish(start(data, tmp_path / "whole"))
    assert status == 0, err

    cut = tmp_path / "cut"
    victim = start(data, cut)
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.startswith(f"step {KILLED_AT}/"):
            break
    victim.send_signal(signal.SIGKILL)
    status, _, err = finish(victim)
    assert status == -signal.SIGKILL, err
    assert (cut / "state.safetensors").is_file()
    assert not (cut / "prior.safetensors").exists()

    (cut / "state.partial").write_bytes(b"cut off while writing")
    status, out, err = finish(start(data, cut))
    assert status == 0, err
    resumed_at = int(out.split("resumed at step ")[1].split()[0])
    assert KILLED_AT - SAVE_EVERY <= resumed_at < STEPS

    whole, again = (load_file(tmp_path / run / "prior.safetensors") for run in ("whole", "cut"))
    assert whole.keys() == again.keys()
    different = [name for name, tensor in whole.items() if not torch.equal(tensor, again[name])]
    assert different == []
    assert any(tensor.abs().max() > 0 for name, tensor in whole.items() if name.endswith("project.weight"))

    logs = [json.loads((tmp_path / run / "log.json").read_text()) for run in ("whole", "cut")]
    for entry in (*logs[0], *logs[1]):
        assert entry.pop("elapsed_s") > 0
    assert logs[0] == logs[1]
    assert [entry["step"] for entry in logs[0]] == list(range(SAVE_EVERY, STEPS + 1, SAVE_EVERY))

    prior = PosePrior.from_pretrained(cut / "prior.safetensors")
    assert torch.isfinite(prior.sample(2, torch.Generator().manual_seed(0), steps=2)).all()


@pytest.mark.parametrize(
    ("replaced", "named"),
    [
        pytest.param(None, ["absent.safetensors"], id="no data file"),
        pytest.param({"split": (0, 0, 2)}, ["motion.safetensors", "'validation'"], id="an empty split"),
    ],
)
def test_unusable_data_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, replaced: dict[str, tuple[int, ...]] | None, named: list[str]
) -> None:
    data = tmp_path / "absent.safetensors"
    if replaced is not None:
        data = write_motion(tmp_path / "motion.safetensors", **replaced)
    status, _, err = finish(start(data, tmp_path / "run"))
    assert status not in (0, -signal.SIGKILL)
    assert "Traceback" not in err
    assert all(name in err for name in named), err
    assert not (tmp_path / "run").exists()


def test_a_subject_in_both_splits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 2, 1, 2, 3, 11), split=(0, 0, 1, 1, 0, 1))
    train = importlib.import_module("train")
    with pytest.raises(ValueError, match=r"motion\.safetensors: subjects \['1', '2'\] are in split 'train' and"):
        train.load_splits(data, train.TrainConfig())


def test_excluded_clips_leave_the_training_poses_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    train = importlib.import_module("train")
    config = train.TrainConfig(exclude_motions=("walk", "jump"))
    training, validation = train.load_splits(write_motion(tmp_path / "motion.safetensors"), config)
    assert {training.recordings[i].name for i in training.recording.tolist()} == {"run"}
    assert len(training) == len(training.joints) == 48
    assert training.people == ["2"]
    assert {validation.recordings[i].name for i in validation.recording.tolist()} == {"jump"}


def test_curves_are_drawn_and_carry_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    plot_log = importlib.import_module("plot_log")
    log = [{"step": s, "loss": 1 / s, "rmse_mm@0.1": 30 + 10 / s, "rmse_mm@1": 90 + s} for s in (1, 2, 3)]
    (tmp_path / "log.json").write_text(json.dumps(log))
    picture = tmp_path / "curves.png"
    monkeypatch.setattr(sys, "argv", ["plot_log.py", str(tmp_path / "log.json"), "--out", str(picture)])
    plot_log.main()
    assert picture.stat().st_size < 200_000
    assert plot_log.read_log(picture) == log
    assert "| σ = 1 (280 mm) | 93.00 | 91.00 | 1 |" in plot_log.table(log, 0.28)
    with pytest.raises(ValueError, match=r"other\.json holds no training log"):
        plot_log.read_log(write_text(tmp_path / "other.json", '{"train": {}}'))
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        plot_log.read_log(tmp_path / "absent.json")


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
