"""Shapes and types of the library are checked while its tests run."""

import sys
from pathlib import Path

from jaxtyping import install_import_hook

sys.path.insert(0, str(Path(__file__).parent))
install_import_hook("diffpose_core", "typecheck.check")
