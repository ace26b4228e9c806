# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The benchmark as a user runs it: a process, on a small file of made-up motion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_training import write_motion

SCRIPT = Path(__file__).parents[2] / "training" / "benchmark.py"
FRAMES = {7: 24, 9: 48}


def benchmark(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    data = write_motion(folder / "motion.safetensors", subject=(1, 1, 1, 7, 9, 9), split=(0, 0, 0, 2, 2, 2))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--seeds", "2", "--hypotheses", "3", *more]
    command += ["--methods", "kalman, 10 steps", "DPS"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_people_count_alike_in_every_scenario_whatever_the_number_of_processes(tmp_path: Path) -> None:
    reports = []
    for processes in ("1", "2"):
        out, figure, calibration = (tmp_path / name for name in ("report.json", "report.png", "calibration.png"))
        asked = ("--poses", "7", "--processes", processes, "--scenarios", "noise 2.5 %", "two peaks", "cut legs")
        drawn = ("--figure", str(figure), "--calibration-figure", str(calibration))
        done = benchmark(tmp_path, *asked, "--json", str(out), *drawn)
        assert done.returncode == 0, done.stderr
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert calibration.read_bytes().startswith(b"\x89PNG")
        reports.append(json.loads(out.read_text()))
    assert reports[0]["poses"] == 6
    assert list(reports[0]["scenarios"]) == ["noise 2.5 %", "two peaks", "cut legs"]
    for name, methods in reports[0]["scenarios"].items():
        assert f"{name}: 6 poses of test subjects x 2 seeds" in done.stdout
        for method, figures in methods.items():
            for key in ("mean MPJPE", "energy score"):
                for seed in range(2):
                    each = {s: figures[f"{key}, subject {s}"][seed] for s in FRAMES}
                    assert figures[key][seed] == pytest.approx(sum(each.values()) / 2, rel=1e-5)
                    alike = (24 * each[7] + 48 * each[9]) / 72
                    assert figures[f"{key}, frames alike"][seed] == pytest.approx(alike, rel=1e-5)
            curves = reports[0]["curves"][name][method]
            assert len(curves["inside about the median"]) == 19
            assert (len(curves["ranks z"]), sum(curves["ranks z"])) == (4, pytest.approx(1, rel=1e-5))
            assert ("z 0.9, hidden" in figures) == ("z 0.9, seen" in figures) == (name == "cut legs")
            assert ("both peaks found" in figures) == (name == "two peaks")
            again = reports[1]["scenarios"][name][method]
            del figures["ms per pose"], again["ms per pose"]
            assert figures == again
            low, high = reports[0]["intervals"][name][method]["mean MPJPE"]
            middle = sum(again["mean MPJPE"]) / 2
            assert low < middle < high
            row = f"| {name} | {method} | {middle:.1f} ({low:.1f} to {high:.1f}) | nan |"  # best of 50 needs 50 of them
            assert row in done.stdout


@pytest.mark.parametrize("poses", ["1", "49"])
def test_more_poses_than_every_subject_has_are_refused(tmp_path: Path, poses: str) -> None:
    done = benchmark(tmp_path, "--poses", poses)
    assert done.returncode == 2
    assert f"--poses must lie in 2..48, got {poses}" in done.stderr
