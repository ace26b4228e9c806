# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The report on generated poses, as a process on a small file of made-up motion."""

import json
import os
import subprocess
import sys
from pathlib import Path

from test_training import write_motion

SCRIPT = Path(__file__).parents[2] / "training" / "generation.py"


def test_real_poses_score_better_against_themselves_than_generated_ones(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 6, 7, 9), split=(0, 1, 2, 2))
    out = tmp_path / "generation.json"
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--poses", "60", "--training-poses", "300"]
    done = subprocess.run(
        [*command, "--json", str(out), "--pictures", str(tmp_path / "figures")], capture_output=True, text=True,
        check=False, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report, up = (json.loads(out.read_text())[key] for key in ("sets", "hands_up"))
    assert f"| generated | {report['generated']['precision']:.3f} |" in done.stdout
    again, generated = report["test subjects again"], report["generated"]
    assert again["Frechet distance, mm"] < generated["Frechet distance, mm"]
    assert again["coverage"] > generated["coverage"]
    varied = report["training subjects, varied as in training"]
    assert varied["nearest training pose, mm"] < generated["nearest training pose, mm"]
    share = "both wrists above the head"
    assert up["any"][share] < 0.1 < 0.9 < up["generated under the condition"][share] <= up["found again"][share] == 1
    assert up["generated under the condition"]["precision"] > up["any"]["precision"]
    for name in ("generation", "generation_hands_up"):
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
