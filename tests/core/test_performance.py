# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The performance report: what it holds, where it goes, what it refuses."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from diffpose_core.training import speed

TRAINING = Path(__file__).parents[2] / "training"


@pytest.fixture
def performance(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TRAINING))
    threads = torch.get_num_threads()
    yield importlib.import_module("performance")
    torch.set_num_threads(threads)


def report(performance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> dict:
    few = replace(performance.BASE, hypotheses=2, steps=2)
    monkeypatch.setattr(performance, "HEADLINES", [few, replace(few, precision="bfloat16")])
    monkeypatch.setattr(performance, "SWEEPS", {"persons": [few, replace(few, persons=2)]})
    monkeypatch.setattr(performance, "MEMORY", [500, 2000])
    command = ["performance.py", "--threads", "1", "--repetitions", "3", "--json", str(tmp_path / "a" / "cpu.json")]
    monkeypatch.setattr(sys, "argv", [*command, *arguments])
    performance.main()
    return json.loads((tmp_path / "a" / "cpu.json").read_text())


def test_the_report_holds_times_memory_and_where_they_were_taken(
    performance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(performance, monkeypatch, tmp_path, "--figure", str(tmp_path / "growth.png"))
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads() == 1
    assert [row["case"]["precision"] for row in found["headlines"]] == ["float32", "bfloat16"]
    assert [row["case"]["persons"] for row in found["growth"]["persons"]] == [1, 2]
    for row in found["headlines"] + found["growth"]["persons"]:
        assert 0 < row["median_ms"] <= row["p90_ms"]
    few, many = found["memory"]
    assert few["case"] == asdict(replace(performance.BASE, hypotheses=500))
    # 51 x 34 numbers of the Jacobian are 7 KiB, so 2,000 hypotheses cannot need less than 10 MiB.
    assert 10 < many["mib"] < 2000
    assert few["mib"] < many["mib"]
    assert 0 < found["bfloat16_moves_mm"]["mean"] < found["bfloat16_moves_mm"]["hypothesis"] < 3
    assert (tmp_path / "growth.png").stat().st_size > 5_000
    printed = capsys.readouterr().out
    assert printed.count("\n| 1 | 2 | 2 |") == 2, "each case once, one line"
    assert "KiB more per hypothesis" in printed


def test_the_speed_of_training_is_set_beside_that_of_its_bare_step(
    performance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "STEPS", 1)
    command = ["performance.py", "--training", "--threads", "1", "--repetitions", "2"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(tmp_path / "speed.json")])
    performance.main()
    found = json.loads((tmp_path / "speed.json").read_text())
    assert (found["batch"], found["threads"], found["torch"]) == (2048, 1, torch.__version__)
    assert found["training_poses_per_s"] == pytest.approx(1000 * 2048 / found["ms"]["training"])
    assert found["bare_poses_per_s"] == pytest.approx(1000 * 2048 / found["ms"]["bare"])
    assert set(found["ms"]) == {"training", "bare", "draw", "update", "average"}
    assert all(ms > 0 for ms in found["ms"].values())
    assert f"training: {found['training_poses_per_s']:,.0f} poses/s" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_named(
    performance: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["performance.py", "--device", "cuda:77"])
    with pytest.raises(SystemExit) as stop:
        performance.main()
    assert stop.value.code == 2
    assert "cuda:77" in capsys.readouterr().err
