# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The table of topics and services, and the two files that are made of it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from diffpose_ros import graph, interfaces
from diffpose_ros.interfaces import CAMERAS, PLACES, SIDES, endpoints, names

ROOT = Path(__file__).parents[2]


def test_the_files_are_those_of_the_table():
    assert (ROOT / "config" / "sros2_policy.xml").read_text(encoding="utf-8") == interfaces.to_policy()
    assert (ROOT / "docs" / "nodes.md").read_text(encoding="utf-8") == interfaces.to_markdown()


def test_every_process_of_the_graphs_has_an_enclave_of_its_own():
    tree = ElementTree.parse(ROOT / "config" / "sros2_policy.xml")
    enclaves = {e.get("path"): e.findall("profiles/profile") for e in tree.iter("enclave")}
    assert all(len(profiles) == 1 for profiles in enclaves.values())
    share = ROOT
    for name, arguments in {"estimator": {"source": str(ROOT / "package.xml"), "tf": "true"}, "fusion": {}}.items():
        for entry in graph.nodes(arguments, share, name):
            args = entry.ros_arguments()
            (profile,) = enclaves[args[args.index("--enclave") + 1]]
            assert profile.get("ns") == f"/{entry.namespace}"
            assert profile.get("node") == entry.executable
    assert len(enclaves) == len(PLACES)


def test_the_policy_allows_by_name_and_denies_by_default():
    tree = ElementTree.parse(ROOT / "config" / "sros2_policy.xml")
    assert tree.getroot().get("version") == "0.2.0"
    for profile in tree.iter("profile"):
        rights = [(group.tag, *group.attrib.items()) for group in profile]
        assert rights == [
            ("topics", ("subscribe", "ALLOW")),
            ("topics", ("publish", "ALLOW")),
            ("services", ("reply", "ALLOW")),
        ]
        wild = [e.text for group in profile for e in group if re.search(r"[*?\[]", e.text)]
        assert all(name.startswith("/humans/bodies/*/") for name in wild)


def test_names_of_several_cameras_and_bodies():
    by_name = {e.name: e for e in endpoints("fusion_node", "subscribed") + endpoints("bridge_node", "published")}
    heatmaps = by_name["<camera>/human_pose2d/heatmaps"]
    assert list(names(heatmaps)) == ["left/human_pose2d/heatmaps", "right/human_pose2d/heatmaps"]
    assert list(names(by_name["/humans/bodies/<id>/roi"])) == ["/humans/bodies/*/roi"]


@pytest.mark.parametrize(
    ("namespace", "path"), [("", "/diffpose/x"), ("a/b", "/diffpose/a/b/x"), ("/a/", "/diffpose/a/x")]
)
def test_enclaves(namespace, path):
    assert interfaces.enclave(namespace, "x") == path


def test_default_cameras_are_those_of_the_parameters():
    from diffpose_ros.parameters import ALL, FusionParameters

    assert FusionParameters().cameras == CAMERAS
    assert {kind.node for kind in ALL} == set(interfaces.BY_NODE)
    for kind in ALL:
        wanted = {e.when for side in SIDES for e in endpoints(kind.node, side) if e.when}
        fields = {*kind.__dataclass_fields__, "use_sim_time", "or", "empty", "set", "raw", "compressed"}
        assert {word for when in wanted for word in when.split()} <= fields
