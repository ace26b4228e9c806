# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Look the pinned packages up in a database of vulnerabilities; say loudly if that was not possible.

    .venv/audit/bin/python .ci/audit.py constraints.txt

pip-audit itself ends with 0 when it could look nothing up. The exit status here is 1 for a known vulnerability, 0 for
none and for a database that is out of reach.
"""

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit and count what it really looked up."""
    command = [sys.executable, "-m", "pip_audit", "-r", sys.argv[1], "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off", "--timeout", "5"], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        packages = []
    found = {p["name"]: [v["id"] for v in p["vulns"]] for p in packages if p.get("vulns")}
    looked_up = [p for p in packages if "skip_reason" not in p]
    for name, ids in sorted(found.items()):
        print(f"VULNERABLE: {name}: {', '.join(ids)}")
    print(f"audit: {len(looked_up)} of {len(packages)} packages looked up, {len(found)} with known vulnerabilities")
    if not looked_up:
        why = packages[0]["skip_reason"] if packages else done.stderr.strip()[-300:]
        print(f"*** AUDIT NOT DONE: no database of vulnerabilities was reached: {why} ***")
    elif len(looked_up) < len(packages):
        names = ", ".join(p["name"] for p in packages if "skip_reason" in p)
        print(f"*** not looked up: {names} ***")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
