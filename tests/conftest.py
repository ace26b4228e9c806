"""Shapes and types of the library are checked while its tests run."""

from jaxtyping import install_import_hook

install_import_hook("diffpose_core", "beartype.beartype")
