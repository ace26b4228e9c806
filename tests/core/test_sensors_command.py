# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The measurement of sensors as a user runs it: a process, on a small file of made-up motion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_training import write_motion

SCRIPT = Path(__file__).parents[2] / "training" / "sensors.py"


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    data = write_motion(folder / "motion.safetensors", subject=(1, 1, 1, 7, 9, 9), split=(0, 0, 0, 2, 2, 2))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--hypotheses", "8", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_every_sensor_is_measured_and_endless_noise_leaves_nothing_of_it(tmp_path: Path) -> None:
    out, figure = tmp_path / "report.json", tmp_path / "report.png"
    asked = ("--poses", "3", "--seeds", "2", "--endless", "1", "--scenarios", "noise 0.5 %")
    done = run(tmp_path, *asked, "--json", str(out), "--figure", str(figure))
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    report = json.loads(out.read_text())
    assert report["poses"] == 2
    seeds = report["scenarios"]["noise 0.5 %"]
    assert len(seeds) == 2
    assert "noise 0.5 %: 2 poses of test subjects x 2 seeds" in done.stdout
    for seed in seeds:
        sensors = seed["figures"]
        assert next(iter(sensors)) == "no sensor"
        assert set(seed["endless"]) == set(sensors) - {"no sensor"}
        assert all(moved["mean"] < 2 for moved in seed["endless"].values())  # mm
        alone = sensors["no sensor"]
        assert sensors["second camera"]["mean MPJPE"] < alone["mean MPJPE"]
        assert sensors["second camera"]["root depth error"] < 0.2 * alone["root depth error"]
        assert sensors["(pose known)"]["mean MPJPE"] < 25
        for figures in sensors.values():
            assert all(0 <= figures[f"{axis} {level}"] <= 1 for axis in ("z", "root xy") for level in (0.5, 0.8, 0.9))
        assert seed["auc"]["cameras swapped"]["agreement"] == 1
    middle = sum(s["figures"]["height"]["mean MPJPE"] for s in seeds) / 2
    row = next(line for line in done.stdout.splitlines() if line.startswith("| height |"))
    assert row.split("|")[2].split()[0] == f"{middle:.1f}"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("--poses", "1"), "--poses must be at least 2"),
        (("--sensors", "height"), "--sensors must hold 'no sensor'"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, asked: tuple[str, ...], complaint: str) -> None:
    done = run(tmp_path, *asked)
    assert done.returncode == 2
    assert complaint in done.stderr
