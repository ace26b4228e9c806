# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Settings of training: from a file and from the command line, checked by name, documented."""

from __future__ import annotations

import importlib
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from diffpose_core.training import settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "training"))
    return importlib.import_module("train")


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_generated_files_are_those_in_the_repository() -> None:
    assert (REPOSITORY / "training/configs/prior_cmu.yaml").read_text() == settings.to_yaml(settings.Settings())
    document = (REPOSITORY / "docs/training.md").read_text()
    begin, end = "<!-- python -m diffpose_core.training.settings --docs -->\n", "<!-- end -->\n"
    assert document.partition(begin)[2].partition(end)[0] == settings.to_markdown()


def test_a_file_of_settings_is_read_back_as_it_was(tmp_path: Path) -> None:
    default = settings.Settings()
    assert settings.read_settings(REPOSITORY / "training/configs/prior_cmu.yaml") == default
    mixture = replace(default.mixture, data=(Path("a b.safetensors"), Path("ü.safetensors")), weights=(1 / 3, 1e-7))
    odd = replace(default, mixture=mixture, train=replace(default.train, learning_rate=1e-4, precision="float32"))
    assert settings.read_settings(write_text(tmp_path / "odd.yaml", settings.to_yaml(odd))) == odd
    assert settings.read_settings(write_text(tmp_path / "empty.yaml", "")) == default


def test_the_command_line_overrides_the_file_which_overrides_the_defaults(train: ModuleType, tmp_path: Path) -> None:
    text = "mixture: {data: [a, b], weights: [7, 3]}\ntrain: {steps: 11, seed: 5}\naugment: {bone_sd: 0.2}\n"
    path = write_text(tmp_path / "my.yaml", text)
    command = train.parse(["--config", str(path), "--steps", "12", "--width", "64", "--out", "there"])
    chosen = command.settings
    assert (chosen.train.steps, chosen.train.seed, chosen.train.batch) == (12, 5, 2048)
    assert (chosen.augment.bone_sd, chosen.augment.scale_sd, chosen.denoiser.width) == (0.2, 0.03, 64)
    assert (chosen.mixture.data, chosen.mixture.weights) == ((Path("a"), Path("b")), (7.0, 3.0))
    assert (command.out, command.device, command.dry_run) == (Path("there"), "auto", False)
    again = train.parse([f"--config={path}", "--data", "c", "--weights", "1"]).settings.mixture
    assert (again.data, again.weights) == ((Path("c"),), (1.0,))
    assert train.parse(["--data", "c"]).settings.train == type(chosen.train)()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {stepz: 3}", r"train has no field 'stepz'; there are steps, batch"),
        ("trains: {}", r"settings has no field 'trains'; there are mixture, augment, denoiser, train"),
        ("train: 3", r"train must be a table of names and values, got 3"),
        ("- 3", r"settings must be a table of names and values, got \[3\]"),
        ("train: {steps: 1.5}", r"steps must be a whole number, got 1\.5"),
        ("train: {steps: true}", r"steps must be a whole number, got True"),
        ("train: {learning_rate: 1e-3}", r"learning_rate must be a number \(YAML wants 1\.0e-3 for 1e-3\), got '1e-3'"),
        ("train: {learning_rate: .nan}", r"learning_rate must lie in 1e-09\.\.1, got nan"),
        ("train: {precision: int8}", r"precision must be one of bfloat16, float32, got 'int8'"),
        ("train: {batch: 100, shard: 64}", r"batch must be a multiple of shard, got 100 and 64"),
        ("train: {ema: 1}", r"ema must lie in 0\.\.0\.999999, got 1"),
        ("mixture: {data: a.safetensors}", r"data must be a list, got 'a\.safetensors'"),
        ("mixture: {data: [1]}", r"data\[0\] must be a path, got 1"),
        ("mixture: {data: [a, ./a]}", r"data names a file twice: \['a', 'a'\]"),
        ("mixture: {data: [a, b], weights: [1]}", r"weights must be one number for each of 2 files, got 1"),
        ("mixture: {data: [a], weights: [0]}", r"weights must be positive and finite, got \[0\.0\]"),
        ("mixture: {exclude_recordings: [3]}", r"exclude_recordings\[0\] must be text, got 3"),
        ("augment: {bone_sd: -0.1}", r"bone_sd must lie in 0\.\.1, got -0\.1"),
        ("denoiser: {width: 0}", r"width must lie in 1\.\.4096, got 0"),
        ("denoiser: {noise_channels: 7}", r"noise_channels must be even, got 7"),
        ("train: {steps: 3", r"expected ',' or '}'"),
        ("!!python/object/apply:os.getcwd []", r"could not determine a constructor"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)my\.yaml: .*" + words):
        settings.read_settings(write_text(tmp_path / "my.yaml", text))


def test_a_missing_file_of_settings_is_named(train: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        train.parse(["--config", str(tmp_path / "absent.yaml")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stepz", "3"], "--stepz"),
        (["--steps", "many"], "--steps"),
        (["--steps", "0"], "steps must lie in 1..1e+09, got 0"),
        (["--precision", "int8"], "--precision"),
    ],
)
def test_unusable_options_are_refused_by_name(
    train: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        train.parse(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_every_field_is_documented_and_the_file_names_all() -> None:
    table, chosen = settings.to_markdown(), asdict(settings.Settings())
    written = yaml.safe_load(settings.to_yaml(settings.Settings()))
    for section, values in chosen.items():
        assert list(written[section]) == list(values)
        assert all(f"| `{name}` |" in table for name in values)
