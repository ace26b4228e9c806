# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""``python -m diffpose_core``: the library's commands."""

import sys

from diffpose_core.commands.main import main

sys.exit(main(sys.argv[1:], "python -m diffpose_core"))
