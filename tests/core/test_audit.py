# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The audit tells what was looked up: neither a vulnerability nor an unreachable database is passed over in silence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit.py"
GOOD, BAD = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "version": "1", "vulns": [{"id": "PYSEC-1"}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (json.dumps({"dependencies": [GOOD]}), 0, "1 of 1 packages looked up, 0 with known vulnerabilities"),
        (json.dumps({"dependencies": [GOOD, BAD]}), 1, "VULNERABLE: b: PYSEC-1"),
        (json.dumps({"dependencies": [GOOD, SKIPPED]}), 0, "*** not looked up: c ***"),
        (json.dumps({"dependencies": [SKIPPED]}), 0, "*** AUDIT NOT DONE"),
        ("no network", 0, "*** AUDIT NOT DONE"),
    ],
)
def test_what_pip_audit_says_is_told(tmp_path, answer, status, words):
    (tmp_path / "pip_audit.py").write_text(f"print({answer!r})")
    command = [sys.executable, str(AUDIT), "constraints.txt"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == status
    assert words in done.stdout
