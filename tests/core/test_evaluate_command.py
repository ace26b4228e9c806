# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""training/evaluate.py as a user runs it: processes that agree, reports, pictures, refusals; and its document."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_evaluation import prepared, recording, view

from diffpose_core.evaluation import HEAD, PROTOCOLS, PUBLISHED, Conditions, rows
from diffpose_core.evaluation.report import latex, latex_table, markdown_table, protocol_table
from diffpose_core.evaluation.scores import Summary

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "training" / "evaluate.py"
QUICK = ("--hypotheses", "4", "--best-of", "1", "4", "9", "--sampler.steps", "3")


def evaluate(*arguments: str | Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Run it under the launcher that ``accelerate launch`` uses for several processes."""
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", str(processes)) if processes > 1 else ()
    command = [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_one_two_and_three_processes_report_the_same(tmp_path: Path) -> None:
    keypoints = np.random.default_rng(0).uniform(300, 700, (200, 17, 2))
    data = prepared(
        tmp_path,
        recording("S9/Eating 1/54138969", 200, view=view(200, keypoints=keypoints)),
        recording("S11/Sitting/54138969", 100, 1, view=view(100, keypoints=keypoints[:100])),
    ).path
    reports = []
    for processes in (1, 2, 3):
        out = tmp_path / f"by {processes}"
        done = evaluate("h36m-5", "--data", data, "--out", out, "--noise", "0.02", *QUICK, processes=processes)
        assert done.returncode == 0, done.stderr
        reports.append((out / "report.json").read_bytes())
        assert (out / "report.md").read_text().strip() in done.stdout
        for picture in ("best_of", "calibration", "joints", "actions"):
            assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
            assert f"({picture}.png)" in done.stdout
    assert reports[0] == reports[1] == reports[2]
    found = json.loads(reports[0])
    assert (found["frames"], found["not_found"]) == (60, 0)
    by_action = found["by_action"]
    assert by_action.keys() == {"Eating 1", "Sitting"}
    key = "MPJPE best of 4"
    assert found["figures"][key] == pytest.approx(
        (40 * by_action["Eating 1"][key] + 20 * by_action["Sitting"][key]) / 60
    )
    assert found["figures"][key] < found["figures"]["MPJPE best of 1"] < 400
    assert "MPJPE best of 9" not in found["figures"]
    assert list(found["mean_joints"]) == list(PROTOCOLS["h36m-5"].joints)

    again = tmp_path / "prepared keypoints"
    asked = (
        "--keypoints",
        "prepared",
        "--root",
        "known",
        "--intrinsics",
        "guessed",
        "--max-frames",
        "6",
        "--seeds",
        "2",
    )
    done = evaluate("h36m-5", "--data", data, "--out", again, *asked, *QUICK)
    assert done.returncode == 0, done.stderr
    assert json.loads((again / "report.json").read_text())["frames"] == 6
    assert "- frames: every 5th of each recording, of them at most 6: 6" in done.stdout
    assert "| of the data file | known | guessed |" in done.stdout
    assert " ± " in done.stdout.split("best of 4")[1][:20]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": Path("absent.safetensors")}, r"absent\.safetensors"),
        ({"keypoints": "detector"}, "image_pattern must be given"),
        ({"keypoints": "detector", "image_pattern": "{frame}.jpg"}, "images must be given"),
        ({"keypoints": "detector", "image_pattern": "{frame}.jpg", "images": Path("absent")}, "folder of images not"),
        ({"keypoints": "cpn"}, "keypoints must be truth, prepared, detector or a .json file, got 'cpn'"),
        ({"keypoints": "prepared"}, "'S9/Eating 1/54138969' was prepared without 2D keypoints"),
        ({"sigma": 0.0}, r"sigma must lie in 0\.0001\.\.1, got 0\.0"),
        ({"keypoints": "prepared", "noise": 0.1}, "noise is added to true keypoints only, got 0.1"),
        ({"images": Path("there")}, "images are for keypoints 'detector' only, got 'truth'"),
        ({"max_frames": -3}, "max_frames must not be negative, got -3"),
        ({"seed": 10**6}, r"seed lie in 0\.\.999999, got 1 and 1000000"),
        ({"protocol": "h36ma"}, "frame_list must be given"),
        ({"out": SCRIPT}, "evaluate.py"),
        ({"noise": -0.1}, r"noise must lie in 0\.\.1, got -0\.1"),
        ({"hypotheses": 1}, "hypotheses must be at least 2, got 1"),
        ({"hypotheses": 4, "best_of": (7,)}, r"best_of must hold numbers of 1\.\.4, got \(7,\)"),
        ({"split": "validation"}, "takes no frame of split 'validation'"),
        ({"frame_list": Path("absent.txt")}, r"absent\.txt"),
        ({"prior": SCRIPT}, "not a readable safetensors file"),
        ({"device": "cuda:9"}, "cuda:9"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    command = importlib.import_module("evaluate")
    data = prepared(tmp_path, recording("S9/Eating 1/54138969", 6)).path
    given = {"protocol": "h36m-5", "data": data, "out": tmp_path / "out", **options}
    with pytest.raises((OSError, ValueError), match=words):
        command.evaluate(command.EvaluateConfig(**given))
    assert not list((tmp_path / "out").glob("*"))


def test_a_refusal_is_one_line_of_one_process_or_two(tmp_path: Path) -> None:
    data = prepared(tmp_path, recording("S9/Eating/1", 6, view=None)).path
    for processes in (1, 2):
        done = evaluate("h36m-5", "--data", data, "--out", tmp_path / "out", *QUICK, processes=processes)
        assert done.returncode == 1
        # Of two, the launcher may end the second before it has said so too.
        assert 1 <= done.stderr.count("recording 'S9/Eating/1' has no camera") <= processes
        assert "evaluate.py: " in done.stderr
    assert not (tmp_path / "out").exists()


SUMMARY = Summary(
    frames=2, not_found=0,
    figures={f"{name} {of}": value for of in ("of the mean", "best of 5") for name, value in (
        ("MPJPE", 40.04), ("PA-MPJPE", 30.0), ("PCK", 0.9876), ("AUC", 0.5), ("CPS", 222.2))},
    spread={}, by_action={}, by_subject={}, mean_joints={}, best_joints={}, curve=[],
)  # fmt: skip


def test_published_rows_stand_beside_ours_with_what_they_knew() -> None:
    ours = Conditions("true", "unknown", "known", "3D poses (mine)")
    lines = rows(SUMMARY, (1, 5), ours, PUBLISHED["h36ma"])
    assert all(len(line) == len(HEAD) for line in lines)
    assert lines[0][:8] == ["diffpose", "mean", "40.0", "30.0", "98.8", "50.0", "222.2", "true"]
    assert lines[1][1] == "best of 5"
    spread = {"MPJPE of the mean": 0.12, "PCK of the mean": 0.0123}
    seeds = rows(replace(SUMMARY, spread=spread), (1,), ours, ())
    assert seeds[0][2:5] == ["40.0 ± 0.1", "30.0 ± -", "98.8 ± 1.2"]
    wehrbein = next(line for line in lines if line[0] == "Wehrbein et al.")
    assert wehrbein[1:7] == ["best of 200", "71.0 (q)", "54.2 (q)", "93.4 (q)", "-", "171.0 (q)"]
    assert wehrbein[-1] == "2107.13788"
    assert lines[0][7] == "true"
    errors = [float(line[2].split()[0]) for line in lines[2:] if line[2] != "-"]
    assert errors == sorted(errors)
    assert lines[-1][2] == "-"


def test_published_tables_are_whole() -> None:
    tables = {p.table for p in PROTOCOLS.values() if p.table}
    assert tables == set(PUBLISHED)
    for row in (r for table in PUBLISHED.values() for r in table):
        assert set(row.figures) <= {"MPJPE", "PA-MPJPE", "PCK", "AUC", "CPS"}
        assert all(0 < v <= 1 for k, v in row.figures.items() if k in ("PCK", "AUC"))
        assert all(10 < v < 300 for k, v in row.figures.items() if k not in ("PCK", "AUC"))
        assert {row.root, row.intrinsics} <= {"known", "unknown", "-", "?"}


def test_tables_in_latex_and_markdown() -> None:
    assert latex(r"a_b & 5 % of {x}\y") == r"a\_b \& 5 \% of \{x\}\textbackslash{}y"
    lines = rows(SUMMARY, (5,), Conditions("true, 2 %", "known", "known", "a_b"), PUBLISHED["3dpw-14"])
    text = latex_table("3DPW", HEAD, lines)
    assert text.count(r"\\") == 1 + 2 + len(PUBLISHED["3dpw-14"])
    assert all(line.count(" & ") == len(HEAD) - 1 for line in text.splitlines() if line.endswith(r"\\"))
    assert text.count(r"\midrule") == 2
    assert markdown_table(("a", "b"), [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_the_document_lists_the_protocols() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text()
    assert protocol_table() in text
    assert not re.search("@[A-Z]+@", text)
