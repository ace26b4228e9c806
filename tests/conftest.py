# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Shapes and types of the library are checked while its tests run."""

import os
import signal
import sys
from pathlib import Path

# What a shell starts in the background passes over Ctrl-C, what nohup does over the terminal's end, and so do the
# processes of that: tests send both.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is imported: two threads that spin on small matrices while another process has one of two cores
# take ten times as long as one thread does.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

sys.path.insert(0, str(Path(__file__).parent))
install_import_hook("diffpose_core", "typecheck.check")
