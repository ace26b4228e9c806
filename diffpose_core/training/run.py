# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The folder of a training run: what it was made of, how it went, and the card of what came out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import yaml

from diffpose_core.data.prepared import PreparedPoses
from diffpose_core.training.settings import Settings, plain, read_settings, to_yaml
from diffpose_core.training.state import Log, replace_text

PACKAGES = ("diffpose-core", "torch", "numpy", "safetensors", "accelerate", "tyro", "pyyaml", "tensorboard")


def git_commit() -> str | None:
    """Return the commit of the repository that keeps this file, with ``+changes`` if files differ from it."""
    file = Path(__file__)
    questions = (
        ("ls-files", "--error-unmatch", file.name),  # not of one that a virtual environment happens to lie in
        ("rev-parse", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no"),
    )
    try:
        _, commit, changes = (
            subprocess.run(
                ["git", "-C", file.parent, *words], capture_output=True, text=True, check=True, timeout=30
            ).stdout
            for words in questions
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.strip() + ("+changes" if changes.strip() else "")


def package_versions() -> dict[str, str]:
    """Return the versions of what the result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def data_record(files: Sequence[PreparedPoses]) -> list[dict[str, Any]]:
    """Say which data: names, checksums, descriptions."""
    return [
        {"file": f.path.name, "poses": len(f), "sha256": f.sha256, "description": asdict(f.description)} for f in files
    ]


def portable(settings: Settings) -> dict[str, Any]:
    """Return the settings with files by their names alone."""
    values = plain(settings)
    values["mixture"]["data"] = [path.name for path in settings.mixture.data]
    return values


def digest(settings: Settings, files: Sequence[PreparedPoses]) -> str:
    """Return the sha256 of settings and data: a state goes on under no others."""
    text = json.dumps([portable(settings), [f.sha256 for f in files]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def lock_run(out: Path) -> TextIO:
    """Make the folder and lock it until the file returned is closed, or its process ends in whatever way.

    Raises:
        ValueError: another process trains in it.
        OSError: it cannot be made.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = (out / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(f"{out}: another process trains there; wait for it, or choose another --out") from error
    return file


def read_run(path: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        ValueError: it is damaged; the message names the field.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    for name in ("data", "starts"):
        items = found.get(name) if isinstance(found, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"{path}: {name} must be a list of tables, got {items!r}")
    for i, item in enumerate(found["data"]):
        if not isinstance(item.get("sha256"), dict):
            raise ValueError(f"{path}: data[{i}].sha256 must be a table, got {item.get('sha256')!r}")
    return found


def check_run(out: Path, settings: Settings, files: Sequence[PreparedPoses]) -> None:
    """Compare with the run that ``out`` may hold already.

    Raises:
        FileNotFoundError: its ``config.yaml`` is missing.
        ValueError: it has other settings or other data, or is damaged.
    """
    if not (out / "run.json").exists():
        return
    before, now = portable(read_settings(out / "config.yaml")), portable(settings)
    for section, values in now.items():
        for name, value in values.items():
            if before[section][name] != value:
                raise ValueError(
                    f"{out} holds a run with other settings: {name} is {before[section][name]}, not {value}; "
                    "choose another --out or the same settings"
                )
    recorded = read_run(out / "run.json")["data"]
    if len(recorded) != len(files):
        raise ValueError(f"{out / 'run.json'}: data holds {len(recorded)} files, config.yaml names {len(files)}")
    for old, new in zip(recorded, data_record(files), strict=True):
        if old["sha256"] != new["sha256"]:
            raise ValueError(f"{out} holds a run with other data: the checksums of {new['file']} differ")


def begin_run(
    out: Path, settings: Settings, files: Sequence[PreparedPoses], device: str, processes: int, step: int
) -> None:
    """Write ``config.yaml`` and ``run.json``; a run that goes on adds a start to the latter."""
    path = out / "run.json"
    starts = read_run(path)["starts"] if path.exists() else []
    starts.append(
        {
            "command": shlex.join(["python", *sys.argv]),
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "from_step": step,
            "processes": processes,
            "device": device,
            "git_commit": git_commit(),
            "packages": package_versions(),
        }
    )
    replace_text(out / "config.yaml", to_yaml(settings))
    replace_text(path, json.dumps({"data": data_record(files), "starts": starts}, indent=1) + "\n")


def data_note(files: Sequence[PreparedPoses]) -> str:
    """Say in the checkpoint what it was trained on."""
    about = [f.description for f in files]
    parts = [f"{d.dataset} (licence: {d.licence}; to cite: {d.citation})" for d in about]
    return f"Trained on {'; '.join(parts)}. Posterior covariances C(sigma) from the validation subjects."


def model_card(
    checkpoint: Path, settings: Settings, files: Sequence[PreparedPoses], log: Log, chosen: dict[str, float],
    summary: str,
) -> str:  # fmt: skip
    """Write the card of the exported prior."""
    lines = [
        f"# Model card: `{checkpoint.name}`", "",
        "An unconditional diffusion model of single 3D human poses: 17 joints (H36M17), root-relative, in camera axes",
        "(x right, y down, z forward), metres. Written by `training/train.py`; add what you know of its limits.", "",
        f"- sha256 `{hashlib.sha256(checkpoint.read_bytes()).hexdigest()}`, {checkpoint.stat().st_size:,} bytes",
        f"- moving average of the weights at step {chosen['step']:.0f}, where the held-out loss was lowest, of "
        f"{log[-1]['step']:.0f} steps made",
        f"- code: commit {git_commit() or 'unknown'}; all else that repeats the run: `config.yaml`, `run.json`", "",
        "**Not a safety function**, and not for identifying people nor for medical or legal measurement.", "",
        "## Data and licence", "",
    ]  # fmt: skip
    for f in files:
        d = f.description
        lines += [
            f"### {d.dataset}", "",
            f"- file: {f.path.name}, {len(f):,} poses, sha256 of the joints `{f.sha256['joints']}`",
            f"- licence: {d.licence}", f"- to cite: {d.citation}",
            f"- joints made from others: {' '.join(d.approximate) or 'none'}",
            f"- made by: `{d.made_by or 'unknown'}`", "",
        ]  # fmt: skip
    lines += [*(f"- {line}" for line in summary.splitlines()), "", "## Held-out people", ""]
    lines += [
        f"Held-out loss {chosen['held_out_loss']:.4f}. Root mean square error per coordinate of the denoised pose,"
    ]
    lines += ["root joint left out, on validation subjects augmented as in training:", ""]
    lines += ["| noise per coordinate (units of the scaled pose) | error, mm |", "|---|---|"]
    lines += [f"| {k.partition('@')[2]} | {v:.2f} |" for k, v in chosen.items() if k.startswith("rmse_mm@")]
    text = yaml.safe_dump(portable(settings), sort_keys=False, default_flow_style=None, width=100)
    lines += ["", "## Settings", "", *(f"    {line}" for line in text.splitlines()), ""]
    return "\n".join(lines)
