"""Prepare motion data: from the files as they are published to the one format that the other commands read.

    python training/prepare.py npz --source mocap_free.npz --out mocap_free.safetensors
    python training/prepare.py show mocap_free.safetensors

The file appears whole or not at all. What it holds: ``diffpose_core/data/prepared.py``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from diffpose_core.data.prepared import SPLITS, Description, open_prepared, write_prepared
from diffpose_core.data.readers.npz import npz_recordings


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


def main() -> None:
    """Parse the command line; prepare or show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("show", help="say what a prepared file holds, and verify its checksums")
    shown.add_argument("file", type=Path)
    npz = commands.add_parser("npz", help="joints of H36M17 in an .npz; its keys: diffpose_core/data/readers/npz.py")
    npz.add_argument("--source", type=Path, required=True)
    npz.add_argument("--out", type=Path, required=True, help="prepared file to write (.safetensors)")
    npz.add_argument("--dataset", help="name of the data; the source's name by default")
    npz.add_argument("--licence", default="not stated", help="terms of the data, kept in the file")
    npz.add_argument("--citation", default="not stated", help="what to cite, kept in the file")
    args = parser.parse_args()
    try:
        if args.command == "show":
            print(show(args.file))
            return
        made_by = shlex.join(["python", "training/prepare.py", *sys.argv[1:]])
        about = Description(args.dataset or args.source.stem, args.licence, args.citation, made_by=made_by)
        write_prepared(args.out, about, tqdm(npz_recordings(args.source), unit="recording"))
        print(show(args.out))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"prepare.py: {error}")


if __name__ == "__main__":
    main()
