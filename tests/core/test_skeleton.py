# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
import ast
from pathlib import Path

import pytest

from diffpose_core.skeleton import COCO17, H36M17, SKELETONS

LIBRARY = Path(__file__).parents[2] / "diffpose_core"


def test_h36m_order_is_the_published_one():
    assert " ".join(H36M17.joints) == (
        "Pelvis RHip RKnee RAnkle LHip LKnee LAnkle Spine Thorax Nose HeadTop "
        "LShoulder LElbow LWrist RShoulder RElbow RWrist"
    )


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_mirror_is_an_involution_that_exchanges_sides(skeleton):
    for joint, other in enumerate(skeleton.mirror):
        assert skeleton.mirror[other] == joint
        sides = {skeleton.side(joint), skeleton.side(other)}
        assert sides in ({"center"}, {"left", "right"})


def test_mirror_pairs_by_name():
    assert COCO17.mirror[COCO17.index("left_wrist")] == COCO17.index("right_wrist")
    assert H36M17.mirror[H36M17.index("LHip")] == H36M17.index("RHip")
    assert H36M17.side(H36M17.index("LElbow")) == "left"
    assert COCO17.side(COCO17.index("nose")) == "center"


def test_every_h36m_joint_descends_from_the_pelvis():
    for joint in range(len(H36M17)):
        while joint != 0:
            joint = H36M17.parents[joint]
        assert joint == 0


def test_unknown_joint_is_named():
    with pytest.raises(ValueError, match="'Tail'"):
        H36M17.index("Tail")


def test_library_never_imports_ros():
    ros = {
        "rclpy",
        "diffpose",
        "diffpose_ros",
        "sensor_msgs",
        "std_msgs",
        "cv_bridge",
        "visualization_msgs",
        "rosidl_runtime_py",
    }
    seen = 0
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            seen += len(names)
            assert not ros & {n.split(".")[0] for n in names}, path
    assert seen > 50
