# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The command line of the library: ``python -m diffpose_core``, and ``diffpose`` where ROS is installed too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from diffpose_core.commands import complete, generate

COMMANDS = {"complete": complete, "generate": generate}


def main(arguments: Sequence[str], program: str) -> int:
    """Run a command; return the exit status."""
    parser = argparse.ArgumentParser(prog=program, description="3D human poses, completed and generated.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        text = module.__doc__ or ""
        one = commands.add_parser(
            name, description=text, help=text.split("\n")[0],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(one)
    args = parser.parse_args(arguments)
    try:
        COMMANDS[args.command].run(args)
    except (OSError, ValueError) as error:
        print(f"{program} {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what a shell reports of ctrl-C
    return 0
