# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Profiles of the middlewares: which is asked for, and what is said where there is none."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from diffpose_ros import middleware

REPOSITORY = Path(__file__).parents[2]
FAST, DYNAMIC, CYCLONE = "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp", "rmw_cyclonedds_cpp"


@pytest.mark.parametrize("rmw", [FAST, DYNAMIC, CYCLONE])
def test_with_the_shipped_profiles_nothing_is_wrong(rmw):
    profile = middleware.profile(rmw, middleware.settings(REPOSITORY))
    assert Path(profile.removeprefix("file://")).is_file()
    assert middleware.shortcoming(rmw, profile) is None


def test_a_profile_of_another_middleware_is_none():
    fast = {"FASTDDS_DEFAULT_PROFILES_FILE": "a.xml"}
    assert middleware.profile(FAST, fast) == "a.xml"
    assert middleware.profile(FAST, {"FASTDDS_DEFAULT_PROFILES_FILE": "", "FASTRTPS_DEFAULT_PROFILES_FILE": "b"}) == "b"
    assert middleware.profile(CYCLONE, fast) == "none"
    assert middleware.profile("rmw_zenoh_cpp", middleware.settings(REPOSITORY)) == "none"


def test_measurements_stay_on_this_machine_with_every_distribution():
    assert middleware.this_machine_only({"ROS_DISTRO": "humble"}) == {"ROS_LOCALHOST_ONLY": "1"}
    assert middleware.this_machine_only({}) == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@pytest.mark.parametrize(
    ("rmw", "what", "mend"),
    [
        (
            FAST,
            "without a profile: best-effort images are mostly lost",
            "set FASTDDS_DEFAULT_PROFILES_FILE to the package",
        ),
        (CYCLONE, "without a profile: best-effort images are mostly lost", "set CYCLONEDDS_URI to the package"),
        ("rmw_zenoh_cpp", "runs on rmw_zenoh_cpp, with which nothing was tried", "RMW_IMPLEMENTATION=rmw_fastrtps_cpp"),
    ],
)
def test_without_a_profile_it_is_said_what_is_lost_and_what_mends_it(rmw, what, mend):
    said = middleware.shortcoming(rmw, "none")
    assert said is not None
    assert what in said[0]
    assert said[1].startswith(mend)


def test_the_profile_of_cyclone_dds_asks_for_more_than_the_largest_common_image_and_never_insists():
    size = ElementTree.parse(REPOSITORY / "config/cyclonedds.xml").find(".//{*}SocketReceiveBufferSize")
    assert size is not None
    # `min` would keep every node from starting where the kernel grants less.
    assert size.attrib == {"max": "16MB"}
    assert 16e6 > 1920 * 1080 * 3
