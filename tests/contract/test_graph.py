# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Parameters, arguments and files of the graph agree with each other."""

import struct
import zlib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diffpose_core import sampler
from diffpose_ros import graph, parameters
from diffpose_ros.calibration import load_calibration
from diffpose_ros.sources import FrameSource

REPOSITORY = Path(__file__).parents[2]


def test_the_generated_files_are_those_in_the_repository():
    assert (REPOSITORY / "config/estimator.yaml").read_text() == parameters.to_yaml()
    assert (REPOSITORY / "docs/parameters.md").read_text() == parameters.to_markdown()


def test_the_parameter_file_holds_every_default():
    data = yaml.safe_load(parameters.to_yaml())
    names = ("bridge", "camera", "detector", "diffusion", "fusion", "marker")
    assert set(data) == {f"/**/{name}_node" for name in names}
    for kind in parameters.ALL:
        expected = {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields(kind)}
        assert data[f"/**/{kind.node}"]["ros__parameters"] == expected


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (parameters.DiffusionParameters, {"num_hypotheses": 0}, "num_hypotheses must lie in 1..10000, got 0"),
        (parameters.DiffusionParameters, {"guidance": "magic"}, "guidance must be one of .* got 'magic'"),
        (parameters.DiffusionParameters, {"precision": "int8"}, "precision must be one of .* got 'int8'"),
        (
            parameters.DiffusionParameters,
            {"depth_reliability": "fast"},
            "depth_reliability must be one of .* got 'fast'",
        ),
        (parameters.DiffusionParameters, {"sync_slop_s": -1.0}, "sync_slop_s must lie in 0..10, got -1.0"),
        (parameters.FusionParameters, {"sync_wait_s": float("inf")}, "sync_wait_s must lie in 0..10, got inf"),
        (parameters.FusionParameters, {"cameras": ()}, "cameras must hold different names, at least one"),
        (parameters.FusionParameters, {"cameras": ("a", "a")}, "cameras must hold different names"),
        (parameters.FusionParameters, {"cameras": ("/a",)}, "cameras must hold ROS names .* got '/a'"),
        (parameters.FusionParameters, {"cameras": ("a b",)}, "cameras must hold ROS names .* got 'a b'"),
        (parameters.FusionParameters, {"use_depth": True, "depth_cameras": "left,roof"}, "depth_cameras .* got 'roof'"),
        (parameters.FusionParameters, {"target_frame": ""}, "target_frame must name a frame"),
        (parameters.DetectorParameters, {"min_score": float("nan")}, "min_score must lie in"),
        (parameters.DetectorParameters, {"image_reliability": "fast"}, "image_reliability must be one of"),
        (parameters.CameraParameters, {"rate_hz": 0.0}, "rate_hz must lie in"),
        (parameters.MarkerParameters, {"lifetime_s": -1.0}, "lifetime_s must lie in"),
        (parameters.BridgeParameters, {"lost_after_s": 0.0}, "lost_after_s must lie in"),
        (
            parameters.BridgeParameters,
            {"humans_namespace": "humans"},
            "humans_namespace must be a ROS name from /, got",
        ),
        (parameters.BridgeParameters, {"id_prefix": "3d"}, "id_prefix must begin with a letter, got '3d'"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, values, words):
    with pytest.raises(ValueError, match=words):
        kind(**values)


def test_which_cameras_have_depth():
    assert parameters.FusionParameters(depth_cameras="left").with_depth == ()
    assert parameters.FusionParameters(use_depth=True).with_depth == ("left", "right")
    assert parameters.FusionParameters(use_depth=True, depth_cameras="right").with_depth == ("right",)


def test_the_diffusion_node_offers_what_the_sampler_knows():
    assert tuple(sampler.GUIDANCES) == parameters.GUIDANCES
    assert tuple(sampler.PRECISIONS) == parameters.PRECISIONS


def entries(**values):
    return {e.executable: e for e in graph.nodes(values, REPOSITORY)}


def test_the_camera_runs_only_with_a_source():
    assert set(entries()) == {"detector_node", "diffusion_node", "marker_node"}
    assert set(entries(source="/dev/video0")) == {"detector_node", "diffusion_node", "marker_node", "camera_node"}


def test_arguments_reach_the_nodes_they_are_for():
    table = entries(num_hypotheses="20", device="cpu", use_sim_time="true", source="0")
    assert table["diffusion_node"].parameters == {"use_sim_time": True, "device": "cpu", "num_hypotheses": 20}
    assert table["detector_node"].parameters == {"use_sim_time": True, "device": "cpu"}
    assert table["marker_node"].parameters == {"use_sim_time": True}
    assert table["camera_node"].parameters == {"use_sim_time": True, "source": "0"}


def test_topics_are_remapped_for_publisher_and_subscriber_alike():
    table = entries(image_topic="/cam/image", camera_info_topic="/cam/info", source="0")
    expected = (("image_raw", "/cam/image"), ("camera_info", "/cam/info"))
    assert table["detector_node"].remaps == table["camera_node"].remaps == expected


def test_a_depth_topic_is_used():
    entry = entries(depth_topic="/cam/depth")["diffusion_node"]
    assert entry.parameters["use_depth"] is True
    assert entry.remaps == (("depth/image", "/cam/depth"),)
    assert entries()["diffusion_node"].remaps == ()


def test_the_bridge_runs_only_when_something_is_asked_of_it():
    assert "bridge_node" not in entries() | fusion()
    table = entries(tf="true", detections="true", namespace="left")
    assert table["bridge_node"].parameters == {
        "publish_tf": True, "publish_detections": True, "use_heatmaps": True,
    }  # fmt: skip
    # Ids of one camera's heatmaps are not those of the fused persons.
    assert fusion(humans="true")["bridge_node"].parameters == {
        "publish_humans": True, "use_heatmaps": False,
    }  # fmt: skip
    with pytest.raises(ValueError, match="argument tf must be one of true, false, got 'yes'"):
        entries(tf="yes")


def test_cameras_of_two_namespaces_have_two_frames():
    frames = [entries(source="0", namespace=n)["camera_node"].parameters.get("frame_id") for n in ("", "left", "/a/b/")]
    assert frames == [None, "left_camera_optical_frame", "a_b_camera_optical_frame"]
    assert entries(source="0", camera_frame="lens")["camera_node"].parameters["frame_id"] == "lens"
    assert [graph.frame_prefix(n) for n in ("", "left", "/a/b/")] == ["", "left_", "a_b_"]


def test_the_results_frame_reaches_the_node_that_infers():
    assert entries(target_frame="map")["diffusion_node"].parameters["target_frame"] == "map"
    assert "target_frame" not in entries()["diffusion_node"].parameters


def fusion(**values):
    return {e.name: e for e in graph.nodes(values, REPOSITORY, "fusion")}


def test_a_detector_for_every_camera_and_one_fusion_node():
    table = fusion(cameras="left, right,roof", device="cpu", num_hypotheses="20", target_frame="odom")
    assert set(table) == {
        "left/detector_node", "right/detector_node", "roof/detector_node", "fusion_node", "marker_node",
    }  # fmt: skip
    assert table["fusion_node"].parameters == {
        "device": "cpu", "num_hypotheses": 20, "target_frame": "odom",
        "cameras": ("left", "right", "roof"),
    }  # fmt: skip
    assert "cameras:=['left', 'right', 'roof']" in table["fusion_node"].ros_arguments()
    assert "__ns:=/roof" in table["roof/detector_node"].ros_arguments()


def test_the_fusion_graph_in_a_namespace():
    table = fusion(namespace="/robot", cameras="left,right", extrinsics_file="where.yaml", image_topic="rgb/image")
    assert set(table) == {
        "robot/left/detector_node",
        "robot/right/detector_node",
        "robot/fusion_node",
        "robot/marker_node",
    }
    assert table["robot/left/detector_node"].remaps == (("image_raw", "rgb/image"), ("camera_info", "camera_info"))
    assert table["robot/fusion_node"].parameters["extrinsics_file"] == str(Path("where.yaml").resolve())


def test_depth_topics_lie_in_the_namespaces_of_the_cameras():
    node = fusion(depth_topic="depth/aligned")["fusion_node"]
    assert node.parameters["use_depth"] is True
    assert node.remaps == (("left/depth/image", "left/depth/aligned"), ("right/depth/image", "right/depth/aligned"))
    assert fusion()["fusion_node"].remaps == ()


def test_nodes_know_the_parameters_that_they_are_given():
    kinds = {k.node: {f.name for f in fields(k)} for k in parameters.ALL}
    for table in (
        entries(tf="true", target_frame="map"),
        entries(source="0", num_hypotheses="5", device="cpu", depth_topic="d"),
        fusion(target_frame="map"),
    ):
        for entry in table.values():
            assert set(entry.parameters) <= kinds[entry.executable] | {"use_sim_time"}


def test_ros_arguments():
    arguments = {"namespace": "robot1", "num_hypotheses": "7", "log_level": "debug", "use_sim_time": "false"}
    entry = entries(**arguments)["diffusion_node"]
    text = " ".join(entry.ros_arguments())
    assert text.startswith("--ros-args --log-level debug --params-file ")
    assert "-r __ns:=/robot1" in text
    assert "-p num_hypotheses:=7" in text
    assert "-p use_sim_time:=false" in text
    # The parameter file decides where the argument says nothing.
    assert all("use_sim_time" not in " ".join(e.ros_arguments()) for e in entries(source="0").values())


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_any_text_in_one_line_reaches_a_node_as_it_is(text):
    arguments = graph.NodeEntry("camera_node", "", "p.yaml", {"source": text, "names": (text, "it's")}).ros_arguments()
    given_values = dict(a.split(":=", 1) for a in arguments if ":=" in a)
    assert yaml.safe_load(given_values["source"]) == text
    assert yaml.safe_load(given_values["names"]) == [text, "it's"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hypotheses": "5"}, "there is no argument 'hypotheses'"),
        ({"num_hypotheses": "0"}, "num_hypotheses must lie in 1..10000, got 0"),
        ({"num_hypotheses": "many"}, "num_hypotheses must be a positive number, got 'many'"),
        ({"rviz": "yes"}, "rviz must be one of true, false, got 'yes'"),
        ({"log_level": "loud"}, "log_level must be one of"),
        ({"params_file": "nowhere.yaml"}, "params_file: there is no file nowhere.yaml"),
        ({"cameras": "left,right"}, "there is no argument 'cameras'"),
    ],
)
def test_bad_arguments_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        graph.nodes(values, REPOSITORY)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"source": "0"}, "there is no argument 'source'"),
        ({"cameras": "left,,right"}, "cameras must be names with commas between them, got 'left,,right'"),
        ({"cameras": "left,left"}, "cameras must be different names, got 'left,left'"),
    ],
)
def test_bad_arguments_of_the_fusion_graph_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        graph.nodes(values, REPOSITORY, "fusion")


def test_what_the_user_has_set_in_the_environment_is_left_alone():
    added = graph.environment(REPOSITORY, {"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"})
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in added
    assert Path(added["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    assert Path(added["CYCLONEDDS_URI"].removeprefix("file://")).is_file()


@pytest.mark.parametrize("name", ["estimator", "fusion"])
def test_the_rviz_files_show_the_topics_that_are_published(name):
    displays = yaml.safe_load((REPOSITORY / f"rviz/{name}.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = {d["Class"]: d["Topic"]["Value"] for d in displays if "Topic" in d}
    assert topics["rviz_default_plugins/MarkerArray"] == "human_pose3d/markers"
    assert topics["rviz_default_plugins/Image"] == "image_raw"
    assert "rviz_default_plugins/TF" in [d["Class"] for d in displays]


CALIBRATION = """
image_width: 640
image_height: 480
camera_name: head
camera_matrix: {rows: 3, cols: 3, data: [500.0, 0.0, 320.0, 0.0, 505.0, 240.0, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""


def test_calibration_file(tmp_path):
    path = tmp_path / "head.yaml"
    path.write_text(CALIBRATION)
    camera = load_calibration(path)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.0, 505.0, 320.0, 240.0)
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, 0.0)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("equidistant", (0.02, -0.01, 0.003, -0.001)),
        ("rational_polynomial", (0.3, -0.1, 0.001, -0.001, 0.02, 0.5, -0.05, 0.01)),
    ],
)
def test_calibration_files_of_other_models(tmp_path, model, coefficients):
    path = tmp_path / "head.yaml"
    text = CALIBRATION.replace("plumb_bob", model).replace("cols: 5", f"cols: {len(coefficients)}")
    path.write_text(text.replace("[0.1, -0.2, 0.001, 0.002, 0.0]", str(list(coefficients))))
    camera = load_calibration(path)
    assert (camera.model, camera.distortion) == (model, coefficients)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("camera_matrix", "kamera_matrix", "camera_matrix is missing"),
        ("500.0, 0.0", "500.0", "camera_matrix must hold 9 numbers, got 8"),
        ("500.0", "much", "could not convert string to float: 'much'"),
        ("500.0", "-500.0", "fx must be positive"),
        ("plumb_bob", "fancy", "distortion model must be one of"),
        ("plumb_bob", "equidistant", "distortion of equidistant takes .4,. coefficients, got 5"),
        ("image_width: 640", "image_width: 640.5", "image_width must be a whole number, got 640.5"),
        ("image_width: 640", "image_width: [", "is not YAML"),
    ],
)
def test_bad_calibration_files_are_refused(tmp_path, old, new, words):
    path = tmp_path / "head.yaml"
    path.write_text(CALIBRATION.replace(old, new))
    with pytest.raises(ValueError, match=words):
        load_calibration(path)


def write_image(path, grey):
    import cv2
    import numpy as np

    cv2.imwrite(str(path), np.full((8, 10, 3), grey, np.uint8))


def announce(path, width, height):
    """Let the header of a PNG file say so; its checksum fits."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def test_a_folder_is_read_in_order_and_a_broken_file_is_named(tmp_path):
    write_image(tmp_path / "a.png", 10)
    (tmp_path / "b.png").write_bytes(b"not an image")
    write_image(tmp_path / "c.png", 30)
    source = FrameSource(str(tmp_path), 2, loop=False)
    assert [source.read()[0, 0, 0] for _ in range(2)] == [10, 10]
    with pytest.raises(ValueError, match=r"b\.png cannot be read"):
        source.read()
    assert [source.read()[0, 0, 0] for _ in range(2)] == [30, 30]
    assert source.read() is None
    assert source.read() is None


def test_an_image_that_announces_more_than_can_be_held_is_named(tmp_path):
    for name, grey in (("a", 10), ("b", 20), ("c", 30)):
        write_image(tmp_path / f"{name}.png", grey)
    announce(tmp_path / "b.png", 70_000, 70_000)
    source = FrameSource(str(tmp_path), 1, loop=True)
    for _ in range(2):
        assert source.read()[0, 0, 0] == 10
        with pytest.raises(ValueError, match=r"image file .*b\.png cannot be read"):
            source.read()
        assert source.read()[0, 0, 0] == 30


def test_still_images_begin_again(tmp_path):
    write_image(tmp_path / "a.png", 10)
    write_image(tmp_path / "b.png", 20)
    source = FrameSource(str(tmp_path), 1, loop=True)
    assert [int(source.read()[0, 0, 0]) for _ in range(5)] == [10, 20, 10, 20, 10]


def test_a_video_is_read_to_its_end_and_again(tmp_path):
    import cv2
    import numpy as np

    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for grey in (0, 100, 200):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    once = FrameSource(str(path), 1, loop=False)
    shades = [int(once.read().mean().round()) for _ in range(3)]
    np.testing.assert_allclose(shades, [0, 100, 200], atol=3)
    assert once.read() is None
    again = FrameSource(str(path), 1, loop=True)
    shades = [int(again.read().mean().round()) for _ in range(5)]
    np.testing.assert_allclose(shades, [0, 100, 200, 0, 100], atol=3)


@pytest.mark.parametrize("name", ["", "missing.jpg", "missing.mp4", "."])
def test_bad_sources_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="parameter source"):
        FrameSource(name, 1, loop=False)


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(ValueError, match="neither an image nor a video"):
        FrameSource(str(path), 1, loop=False)
