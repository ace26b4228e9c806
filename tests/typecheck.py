"""Beartype under the numeric tower: an int is an acceptable float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
