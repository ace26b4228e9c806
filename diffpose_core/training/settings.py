# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Settings of a training run: frozen dataclasses, a YAML file of them, and their table in the documents.

    python -m diffpose_core.training.settings > training/configs/prior_cmu.yaml
    python -m diffpose_core.training.settings --docs

The first command prints the defaults as a file for ``train.py --config``, the second the table in ``docs/training.md``.
"""

from __future__ import annotations

import argparse
import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import DocstringStyle, parse

from diffpose_core.data import AugmentConfig
from diffpose_core.prior import DenoiserConfig
from diffpose_core.ranges import Ranges, check_ranges

# In mocap_free, among the "unknown people" of cmu-expmap-generic-skeleton: the limbs move frame for frame as in
# 35_30, 16_31, 16_32, 38_02, 39_08, 39_12 and 55_04 of the validation and test subjects; 43 lies between the 39s.
CLIPS_OF_HELD_OUT_PEOPLE = (
    "eval_test_walking_19", "eval_train_walking_31", "eval_train_walking_32", "eval_train_walking_36",
    "eval_train_walking_41", "eval_train_walking_43", "eval_train_walking_44", "eval_train_walking_52",
)  # fmt: skip


@dataclass(frozen=True)
class MixtureConfig:
    """Which poses are drawn, and how often.

    Attributes:
        data: prepared files (training/prepare.py), of different people.
        weights: part of the draws of each file, in any unit; none: as if all were one file.
        subject_temper: a subject is drawn in proportion to its poses ** this; 1 draws poses alike, 0 subjects.
        exclude_recordings: recordings that are never trained on.
        validation_poses: about so many poses of the validation subjects for the held-out figures.
        covariance_poses: at most about so many of them for C(sigma).
    """

    data: tuple[Path, ...] = ()
    weights: tuple[float, ...] = ()
    subject_temper: float = 0.5
    exclude_recordings: tuple[str, ...] = CLIPS_OF_HELD_OUT_PEOPLE
    validation_poses: int = 2000
    covariance_poses: int = 20_000

    RANGES: ClassVar[Ranges] = {
        "subject_temper": (0, 1), "validation_poses": (1, 1e6), "covariance_poses": (1, 1e7),
    }  # fmt: skip

    def __post_init__(self) -> None:
        check_ranges(self, self.RANGES)
        if self.weights and len(self.weights) != len(self.data):
            raise ValueError(f"weights must be one number for each of {len(self.data)} files, got {len(self.weights)}")
        if not all(math.isfinite(w) and w > 0 for w in self.weights):
            raise ValueError(f"weights must be positive and finite, got {list(self.weights)}")
        if len({path.resolve() for path in self.data}) < len(self.data):
            raise ValueError(f"data names a file twice: {[str(path) for path in self.data]}")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        steps: optimiser steps, at most.
        batch: poses per step, over all processes.
        shard: poses that are drawn together; batch / shard must be a multiple of the number of processes.
        learning_rate: peak; cosine decay to zero at the last step, after a linear warm-up.
        warmup_steps: length of the warm-up.
        weight_decay: AdamW's, against over-fitting of few subjects.
        grad_clip: largest gradient norm.
        ema: decay per step of the averaged weights, which are those that are validated and exported.
        log_sigma_mean: mean of ln sigma in training.
        log_sigma_sd: standard deviation of ln sigma in training.
        precision: of the matrix products of the network in training.
        save_every: steps between validations; the state is saved then.
        patience: validations without a lower held-out loss after which training stops; 0: it never does.
        seed: seed of everything random.
    """

    steps: int = 8_000
    batch: int = 2048
    shard: int = 512
    learning_rate: float = 1e-3
    warmup_steps: int = 500
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema: float = 0.9995
    log_sigma_mean: float = -0.7
    log_sigma_sd: float = 1.4
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    save_every: int = 500
    patience: int = 10
    seed: int = 0

    RANGES: ClassVar[Ranges] = {
        "steps": (1, 1e9), "batch": (1, 1e7), "shard": (1, 1e7), "learning_rate": (1e-9, 1), "warmup_steps": (1, 1e9),
        "weight_decay": (0, 1), "grad_clip": (1e-6, 1e6), "ema": (0, 0.999999), "log_sigma_mean": (-10, 10),
        "log_sigma_sd": (1e-3, 10), "save_every": (1, 1e9), "patience": (0, 1e6), "seed": (0, 1e9),
    }  # fmt: skip

    def __post_init__(self) -> None:
        check_ranges(self, self.RANGES)
        if self.batch % self.shard:
            raise ValueError(f"batch must be a multiple of shard, got {self.batch} and {self.shard}")


@dataclass(frozen=True)
class Settings:
    """All that shapes the result of a run.

    Attributes:
        mixture: which poses are drawn.
        augment: how they are varied.
        denoiser: shape of the network.
        train: optimisation.
    """

    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def read_settings(path: Path) -> Settings:
    """Read a YAML file; what it does not name keeps its default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, an unknown name, a value of another type or out of its range; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"settings not found: {path}")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _dataclass(Settings, {} if loaded is None else loaded, "settings")
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _dataclass(kind: type[Any], value: object, name: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table of names and values, got {value!r}")
    kinds = {k: t for k, t in get_type_hints(kind).items() if get_origin(t) is not ClassVar}
    unknown = [k for k in value if k not in kinds]
    if unknown:
        raise ValueError(f"{name} has no field {unknown[0]!r}; there are {', '.join(kinds)}")
    return kind(**{k: _typed(kinds[k], v, k) for k, v in value.items()})


def _typed(kind: Any, value: object, name: str) -> Any:
    if is_dataclass(kind):
        return _dataclass(kind, value, name)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list, got {value!r}")
        return tuple(_typed(get_args(kind)[0], v, f"{name}[{i}]") for i, v in enumerate(value))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        return value
    if kind is float and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    if kind is Path and type(value) is str:
        return Path(value)
    if kind in (int, str) and type(value) is kind:
        return value
    words = {int: "a whole number", float: "a number (YAML wants 1.0e-3 for 1e-3)", str: "text", Path: "a path"}
    raise ValueError(f"{name} must be {words[kind]}, got {value!r}")


def plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as YAML and JSON can hold them."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: of(v) for k, v in value.items()}
        if isinstance(value, tuple):
            return [of(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return of(asdict(settings))


def _documented(section: str) -> list[tuple[str, Any, str, str]]:
    """Return name, default, range and meaning of each field of a section."""
    config = getattr(Settings(), section)
    docstring = parse(inspect.getdoc(config) or "", DocstringStyle.GOOGLE)
    told = {p.arg_name: " ".join((p.description or "").split()) for p in docstring.params}
    hints, rows = get_type_hints(type(config)), []
    for item in fields(config):
        allowed = ""
        if item.name in config.RANGES:
            low, high = config.RANGES[item.name]
            allowed = f"{low:g} to {high:g}"
        elif get_origin(hints[item.name]) is Literal:
            allowed = ", ".join(get_args(hints[item.name]))
        rows.append((item.name, getattr(config, item.name), allowed, told[item.name]))
    return rows


def to_yaml(settings: Settings) -> str:
    """Write all settings with their meaning, as ``read_settings`` reads them."""
    lines = ["# Settings of training/train.py, written by diffpose_core.training.settings.", ""]
    for section, values in plain(settings).items():
        lines.append(f"{section}:")
        for name, _, _, meaning in _documented(section):
            text = yaml.safe_dump(values[name], default_flow_style=True, width=math.inf, allow_unicode=True)
            lines += [f"  # {meaning}", f"  {name}: {text.strip().removesuffix('...').strip()}"]
    return "\n".join(lines) + "\n"


def to_markdown() -> str:
    """Write the table of all settings."""
    rows = ["| field | default | range | meaning |", "|---|---|---|---|"]
    for item in fields(Settings):
        rows.append(f"| **{item.name}** | | | |")
        for name, default, allowed, meaning in _documented(item.name):
            shown = f"{len(default)} names" if isinstance(default, Sequence) and len(default) > 3 else default
            shown = default if isinstance(default, str) else shown
            rows.append(f"| `{name}` | {'none' if shown == () else shown} | {allowed} | {meaning} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Print the file of the defaults, or the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="print the table instead")
    print(to_markdown() if parser.parse_args().docs else to_yaml(Settings()), end="")


if __name__ == "__main__":
    main()
