# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Runs a statement in a process that may take little more memory than Python and the library themselves."""

import subprocess
import sys


def refusal_within(megabytes: int, imports: str, statement: str) -> str:
    """Return the message of the ``ValueError`` that the statement raises; anything else is a failure."""
    code = (
        f"import resource, sys\n{imports}\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)\n"
        f"try: {statement}\n"
        "except ValueError as error: sys.exit(f'refused: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.startswith("refused: "), done.stderr or "accepted"
    return done.stderr
