"""The benchmark as a user runs it: a process, on a small file of made-up motion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training import write_motion

SCRIPT = Path(__file__).parents[2] / "training" / "benchmark.py"
FRAMES = {7: 24, 9: 48}


def benchmark(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    subject = np.repeat([1, 7, 9], [72, *FRAMES.values()])
    data = write_motion(folder / "motion.npz", subject=subject, split=np.repeat([0, 2, 2], [72, *FRAMES.values()]))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--seeds", "2", "--hypotheses", "3", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_people_count_alike_and_frames_are_told_beside(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = benchmark(tmp_path, "--poses", "7", "--json", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["poses"] == 6
    methods = report["methods"]
    assert len(methods) == done.stdout.splitlines()[1].count("|") - 2
    for figures in methods.values():
        for key in ("mean MPJPE", "energy score"):
            for seed in range(2):
                each = {s: figures[f"{key}, subject {s}"][seed] for s in FRAMES}
                assert figures[key][seed] == pytest.approx(sum(each.values()) / 2, rel=1e-5)
                alike = (24 * each[7] + 48 * each[9]) / 72
                assert figures[f"{key}, frames alike"][seed] == pytest.approx(alike, rel=1e-5)


@pytest.mark.parametrize("poses", ["1", "49"])
def test_more_poses_than_every_subject_has_are_refused(tmp_path: Path, poses: str) -> None:
    done = benchmark(tmp_path, "--poses", poses)
    assert done.returncode == 2
    assert f"--poses must lie in 2..48, got {poses}" in done.stderr
