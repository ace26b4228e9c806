# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The measurement of what earlier frames are worth, as a user runs it: a process, on a small file of made-up motion."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import write_motion

pytest.importorskip("trackers", reason="not installed: trackers (the track extra)")

SCRIPT = Path(__file__).parents[2] / "training" / "tracking.py"


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    data = write_motion(folder / "motion.safetensors", subject=(1, 7, 9), split=(0, 2, 2))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--seeds", "1", "--hypotheses", "12", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_who_stands_is_told_with_and_without_earlier_frames(tmp_path: Path) -> None:
    out, figure = tmp_path / "report.json", tmp_path / "report.png"
    asked = ("--windows", "1", "--seconds", "1", "--pairs", "2", "--poses", "3", "--scenarios", "noise 2.5 %")
    done = run(tmp_path, *asked, "--json", str(out), "--figure", str(figure))
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    report = json.loads(out.read_text())
    told = report["scenarios"]["noise 2.5 %"]
    assert list(told) == [f"{kind}, {hz} Hz" for kind in ("standing", "everyday", "fast arm") for hz in (30, 10)]
    alone, carried = (told["standing, 30 Hz"][how] for how in ("alone", "carried"))
    assert carried["jitter"] < 0.6 * alone["jitter"]
    assert "lag" not in alone
    assert "lag" in told["fast arm, 10 Hz"]["carried"]
    row = next(line for line in done.stdout.splitlines() if line.startswith("| standing, 30 Hz |"))
    assert row.split("|")[2].strip() == f"{alone['jitter']:.1f} → {carried['jitter']:.1f}"
    assert list(report["efforts"]) == [
        "10 steps, 50 hypotheses", "7 steps, 50 hypotheses", "5 steps, 50 hypotheses", "5 steps, 10 hypotheses",
    ]  # fmt: skip
    two = report["scenarios"]["noise 2.5 %, two cameras"]
    for way in ("alone", "carried"):  # the distance, above all, is known better
        assert two["standing, 30 Hz"][way]["absolute error"] < 0.6 * told["standing, 30 Hz"][way]["absolute error"]
    assert two["standing, 30 Hz"]["carried"]["jitter"] < 0.8 * two["standing, 30 Hz"]["alone"]["jitter"]
    assert report["ids"]["standing, 30 Hz"] == {"people": 4, "kept": 4, "other changes": 0}


def test_windows_longer_than_the_recordings_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--seconds", "9")
    assert done.returncode == 2
    assert "no recording of split 'test' lasts 9.0 s" in done.stderr


@pytest.mark.parametrize("delay", [0.0, 0.4, 1.5])
def test_a_known_lag_is_found(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    lag = importlib.import_module("tracking").lag
    at = torch.arange(60.0)[:, None, None]
    truth = torch.sin(0.2 * at) * torch.ones(2, 3)
    late = torch.sin(0.2 * (at - delay)) * torch.ones(2, 3) + 0.7  # what lasts is no lag
    assert lag([(late, truth)]) == pytest.approx(delay, abs=0.051)
