# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Train the prior: one command, on one processor or many, resumable after a kill, averaged weights out.

    python training/train.py --data mocap_free.safetensors --out runs/prior
    python training/train.py --config runs/prior/config.yaml --out runs/again --seed 1
    accelerate launch --multi_gpu --num_processes 4 training/train.py --config my.yaml --out runs/mine

Killed at any moment, the same command goes on from the last saved state and ends with the same weights, bit for bit on
the CPU of the same machine with as many threads. The number of processes changes the order of sums and nothing else.

Loss and noise distribution: Karras et al. (2206.00364), eq. 2 and table 1. See docs/training.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from diffpose_core.training import Settings, describe, make_accelerator, open_data, read_settings, train


@dataclass(frozen=True)
class Command:
    """What to do.

    Attributes:
        settings: of the run.
        config: YAML file of settings; the command line overrides it.
        out: run folder; the same command goes on where a killed one was.
        device: auto takes GPUs where there are any.
        dry_run: check the data, say what they hold, stop.
    """

    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    config: Path | None = None
    out: Path = Path("runs/prior")
    device: Literal["auto", "cpu"] = "auto"
    dry_run: bool = False


def parse(arguments: Sequence[str]) -> Command:
    """Read the command line and the file that it names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is unusable, or a value is out of its range.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    path = first.parse_known_args(arguments)[0].config
    default = Command(read_settings(path) if path else Settings())
    return tyro.cli(tyro.conf.OmitArgPrefixes[Command], args=arguments, default=default, description=__doc__)


def main() -> None:
    """Train, or say what would be trained."""
    interrupted = threading.Event()

    def on_interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    # C++ code below, matplotlib's for one, turns an interrupt that hits it into an error of its own.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        command = parse(sys.argv[1:])
        if command.dry_run:
            print(describe(*open_data(command.settings.mixture), command.settings))
            return
        accelerator = make_accelerator(command.settings.train.precision, command.device)
        train(command.settings, command.out, accelerator)
        accelerator.end_training()
    except (OSError, ValueError, KeyboardInterrupt) as error:
        if not (interrupted.is_set() or isinstance(error, KeyboardInterrupt)):
            sys.exit(f"train.py: {error}")
        print("train.py: stopped; the same command goes on from the last saved state", file=sys.stderr)
        sys.exit(130)  # what a shell reports of ctrl-C


if __name__ == "__main__":
    main()
