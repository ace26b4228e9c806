# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Every source file says whose it is, as the quality declaration claims."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE = "# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0."
PATTERNS = ["*.py", "*.msg", "*.srv", "*.cmake", "CMakeLists.txt", "Makefile", ".ci/run"]


def test_every_source_file_has_a_copyright_statement():
    listed = subprocess.run(["git", "ls-files", *PATTERNS], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    lines = {name: (ROOT / name).read_text(encoding="utf-8").splitlines()[:2] for name in listed.stdout.split()}
    assert [name for name, first in lines.items() if LINE not in first] == []
