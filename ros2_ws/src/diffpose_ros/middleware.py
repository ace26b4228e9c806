# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What each middleware must be told so that images arrive, and what is wrong where it was not. Knows nothing of ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NONE = "none"


@dataclass(frozen=True)
class Profile:
    """Settings of a middleware that the package ships.

    Attributes:
        variables: of the environment, that name the file; newer versions read the first.
        file: within ``config``.
        scheme: before the path.
    """

    variables: tuple[str, ...]
    file: str
    scheme: str = ""


FAST_DDS = Profile(("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"), "fastdds_shm.xml")
CYCLONE_DDS = Profile(("CYCLONEDDS_URI",), "cyclonedds.xml", "file://")
PROFILES = {
    "rmw_fastrtps_cpp": FAST_DDS,
    "rmw_fastrtps_dynamic_cpp": FAST_DDS,
    "rmw_cyclonedds_cpp": CYCLONE_DDS,
}
SHARING_MEMORY = {rmw for rmw, profile in PROFILES.items() if profile is FAST_DDS}
"""With their profile, images do not go through sockets."""
VARIABLES = tuple(variable for profile in (FAST_DDS, CYCLONE_DDS) for variable in profile.variables)


def settings(share: Path) -> dict[str, str]:
    """Return the variables that name the shipped profiles, of every middleware."""
    return {v: f"{p.scheme}{share / 'config' / p.file}" for p in (FAST_DDS, CYCLONE_DDS) for v in p.variables}


def profile(rmw: str, environ: Mapping[str, str]) -> str:
    """Return what tells this middleware its settings in this environment; :data:`NONE` if nothing does."""
    variables = PROFILES[rmw].variables if rmw in PROFILES else ()
    return next((environ[v] for v in variables if environ.get(v)), NONE)


def shares_memory(facts: Mapping[str, str]) -> bool:
    """Whether a node with this ``rmw`` and ``rmw_profile`` has as much shared memory as the package's profile says."""
    return facts.get("rmw") in SHARING_MEMORY and facts.get("rmw_profile", "").endswith(FAST_DDS.file)


def this_machine_only(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that keeps a process from talking to other machines."""
    if environ.get("ROS_DISTRO") == "humble":
        return {"ROS_LOCALHOST_ONLY": "1"}
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def shortcoming(rmw: str, profile: str) -> tuple[str, str] | None:
    """Return what is wrong with a node on this middleware with this profile, and what mends it; None: nothing."""
    if rmw not in PROFILES:
        return f"runs on {rmw}, with which nothing was tried", f"RMW_IMPLEMENTATION={next(iter(PROFILES))}"
    if profile == NONE:
        wanted = PROFILES[rmw]
        mend = f"set {wanted.variables[0]} to the package's config/{wanted.file}"
        return (
            f"runs on {rmw} without a profile: best-effort images are mostly lost",
            f"{mend}; `diffpose run` and the launch files do",
        )
    return None
