# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Readers of motion data as it is published; each is a :class:`~diffpose_core.data.prepared.Source`."""

from diffpose_core.data.prepared import Source
from diffpose_core.data.readers.amass import Amass
from diffpose_core.data.readers.asf_amc import AsfAmc
from diffpose_core.data.readers.bvh import Bvh
from diffpose_core.data.readers.h36m import H36M
from diffpose_core.data.readers.mpi_inf_3dhp import MpiInf3dhp
from diffpose_core.data.readers.npz import Npz
from diffpose_core.data.readers.threedpw import ThreeDpw

SOURCES: dict[str, type[Source]] = {
    "3dhp": MpiInf3dhp,
    "3dpw": ThreeDpw,
    "amass": Amass,
    "asf-amc": AsfAmc,
    "bvh": Bvh,
    "h36m": H36M,
    "npz": Npz,
}
"""By the names that ``training/prepare.py`` takes."""
