# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Beartype under the numeric tower: an int is an acceptable float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
