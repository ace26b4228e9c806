"""Readers of motion data as it is published; each is a :class:`~diffpose_core.data.prepared.Source`."""

from diffpose_core.data.prepared import Source
from diffpose_core.data.readers.h36m import H36M
from diffpose_core.data.readers.npz import Npz

SOURCES: dict[str, type[Source]] = {
    "h36m": H36M,
    "npz": Npz,
}
"""By the names that ``training/prepare.py`` takes."""
