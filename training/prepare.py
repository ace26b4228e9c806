# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Prepare motion data: from the files as they are published to the one format that the other commands read.

    python training/prepare.py npz --source mocap_free.npz --out mocap_free.safetensors
    python training/prepare.py show mocap_free.safetensors

The file appears whole or not at all. What it holds: ``diffpose_core/data/prepared.py``.
"""

from __future__ import annotations

import inspect
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import tyro
from tqdm import tqdm

from diffpose_core.data.prepared import SPLITS, Source, open_prepared, write_prepared
from diffpose_core.data.readers import SOURCES


def show(path: Path) -> str:
    """Say what a prepared file holds, after comparing its checksums."""
    data = open_prepared(path)
    about = data.description
    lines = [f"{path}: {about.dataset}, {len(data):,} poses in {len(data.recordings):,} recordings"]
    for split in SPLITS:
        recordings = data.of_split(split)
        there = {r.subject for r in recordings}
        people = [name for name in data.subjects if name in there]
        lines.append(
            f"{split}: {sum(r.length for r in recordings):,} poses of {len(people)} people: {' '.join(people)}"
        )
    rates = Counter(f"{r.frame_rate_hz:g} Hz" for r in data.recordings)
    lines.append("frame rates: " + ", ".join(f"{rate} in {n} recordings" for rate, n in rates.most_common()))
    lines.append(f"cameras: {len(data.cameras)}; 2D keypoints: {'yes' if data.keypoints is not None else 'no'}")
    lines.append(f"joints made from others: {' '.join(about.approximate) or 'none'}")
    lines += [f"licence: {about.licence}", f"to cite: {about.citation}", f"made by: {about.made_by}"]
    return "\n".join(lines)


def command(kind: type[Source]) -> Callable[..., None]:
    """Return the command that prepares one kind of data, its options those of the dataclass."""

    def prepare(
        data: Source, out: Annotated[Path, tyro.conf.arg(help="prepared file to write (.safetensors).")]
    ) -> None:
        if out.suffix != ".safetensors" or out.resolve() == data.source.resolve():
            raise ValueError(f"out must be another file, called .safetensors, got {out}")
        made_by = shlex.join(["python", "training/prepare.py", *sys.argv[1:]])
        write_prepared(out, replace(data.describe(), made_by=made_by), tqdm(data.recordings(), unit="recording"))
        print(show(out))

    prepare.__annotations__["data"] = Annotated[kind, tyro.conf.OmitArgPrefixes]
    prepare.__doc__ = (inspect.getdoc(kind) or "").partition("\n")[0]
    return prepare


def main() -> None:
    """Parse the command line; prepare or show."""

    def show_file(file: tyro.conf.Positional[Path]) -> None:
        """Say what a prepared file holds, and verify its checksums."""
        print(show(file))

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)  # so that half a file is taken away

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"show": show_file, **{name: command(kind) for name, kind in SOURCES.items()}},
            description=__doc__,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"prepare.py: {error}")
    except KeyboardInterrupt:
        sys.exit("prepare.py: interrupted; nothing was written")


if __name__ == "__main__":
    main()
