# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""ASF/AMC and BVH: files in the true formats, read back to where their joints are, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mocap_files import (
    Bone,
    Places,
    acclaim_places,
    bvh_places,
    random_angles,
    write_amc,
    write_asf,
    write_bvh,
)

from diffpose_core import H36M17
from diffpose_core.data.prepared import Recording, open_prepared
from diffpose_core.data.readers import mocap
from diffpose_core.data.readers.asf_amc import AsfAmc, read_amc, read_asf
from diffpose_core.data.readers.bvh import Bvh, load_table, read_bvh

SCRIPT = Path(__file__).parents[2] / "training" / "prepare.py"
TENTH_MM = 1e-4


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def upright(places: Places, metres: float, of: dict[str, tuple[str, ...]]) -> np.ndarray:
    """Joints of H36M17, each the middle of what it is made of; the files' y is up."""
    joints = np.array([np.mean([places[n] for n in of[j]], axis=0) for j in H36M17.joints]) * metres
    return np.stack([joints[:, 0], -joints[:, 2], joints[:, 1]], -1)


@st.composite
def trees(draw: st.DrawFn) -> Bone:
    """Any tree of up to eight bones with any axes, turns in any order and of any number."""
    numbers = st.floats(-3, 3).map(lambda v: round(v, 3))
    bones: list[Bone] = []
    for i in range(draw(st.integers(2, 8))):
        offset = tuple(draw(numbers.filter(lambda v: abs(v) > 0.01)) for _ in range(3))
        turns = draw(st.sampled_from(["zyx", "xyz", "yzx", "xz", "zx", "y", "xyz"]))
        axis = tuple(draw(st.integers(-180, 180)) for _ in range(3))
        bones.append(Bone(f"b{i}" if i else "root", offset, turns if i else "xyz", axis if i else (0, 0, 0)))
        if i:
            bones[draw(st.integers(0, i - 1))].children.append(bones[i])
    return bones[0]


# ASF/AMC

ACCLAIM = {
    "Pelvis": ("lhipjoint", "rhipjoint"),
    "RHip": ("rhipjoint",), "RKnee": ("rfemur",), "RAnkle": ("rtibia",),
    "LHip": ("lhipjoint",), "LKnee": ("lfemur",), "LAnkle": ("ltibia",),
    "Spine": ("lowerback",), "Thorax": ("thorax",), "Nose": ("lowerneck", "upperneck"), "HeadTop": ("head",),
    "LShoulder": ("lclavicle",), "LElbow": ("lhumerus",), "LWrist": ("lradius",),
    "RShoulder": ("rclavicle",), "RElbow": ("rhumerus",), "RWrist": ("rradius",),
}  # fmt: skip


def acclaim_person() -> Bone:
    """The bones of the CMU database with about their lengths and axes."""

    def leg(side: str, x: int) -> Bone:
        foot = Bone(f"{side}foot", (0.16 * x, -0.43, 2.3), "xz", (-90, 0, 20 * x))
        tibia = Bone(f"{side}tibia", (2.5 * x, -7.0, 0), "x", (0, 0, 20 * x), [foot])
        femur = Bone(f"{side}femur", (2.4 * x, -6.7, 0), "xyz", (0, 0, 20 * x), [tibia])
        return Bone(f"{side}hipjoint", (1.3 * x, -1.8, 0.8), "", (0, 0, 0), [femur])

    def arm(side: str, x: int) -> Bone:
        wrist = Bone(f"{side}wrist", (1.8 * x, 0, 0), "y", (180 * x, 30 * x, 90 * x))
        radius = Bone(f"{side}radius", (3.4 * x, 0, 0), "x", (180 * x, 30 * x, 90 * x), [wrist])
        humerus = Bone(f"{side}humerus", (5.1 * x, 0, 0), "xyz", (180 * x, 30 * x, 90 * x), [radius])
        return Bone(f"{side}clavicle", (3.0 * x, 1.2, -0.3), "yz", (0, 0, 0), [humerus])

    head = Bone("head", (0.02, 1.6, 0.1), "xyz")
    neck = Bone(
        "lowerneck", (0.02, 1.7, 0.1), "xyz", (0, 0, 0), [Bone("upperneck", (0, 1.6, 0.2), "xyz", (0, 0, 0), [head])]
    )
    thorax = Bone("thorax", (0.0, 2.06, 0.05), "xyz", (0, 0, 0), [neck, arm("l", 1), arm("r", -1)])
    back = Bone(
        "lowerback",
        (0.0, 2.05, -0.04),
        "xyz",
        (0, 0, 0),
        [Bone("upperback", (0.1, 2.0, 0), "xyz", (0, 0, 0), [thorax])],
    )
    return Bone("root", (0, 0, 0), "xyz", (0, 0, 0), [leg("l", 1), leg("r", -1), back])


def write_acclaim(
    folder: Path, subject: str = "05", takes: int = 1, frames: int = 40, **asf: float
) -> list[dict[str, np.ndarray]]:
    person = acclaim_person()
    write_asf(folder / subject / f"{subject}.asf", person, **asf)
    angles = random_angles(person.all(), frames, seed=int(subject))
    for take in range(1, takes + 1):
        write_amc(folder / subject / f"{subject}_{take:02}.amc", person, angles)
    return angles


@given(trees(), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_acclaim_skeleton_stands_where_a_recursion_with_scipy_puts_it(
    tmp_path_factory: pytest.TempPathFactory, root: Bone, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("acclaim")
    skeleton = read_asf(write_asf(folder / "a.asf", root))
    angles = random_angles(root.all(), 3, seed)
    frames, motion, degrees = read_amc(write_amc(folder / "a.amc", root, angles), skeleton)
    assert frames.tolist() == [1, 2, 3]
    assert degrees
    ends = skeleton.ends(motion, degrees)
    for frame, found in zip(angles, ends, strict=True):
        places = acclaim_places(root, frame)
        np.testing.assert_allclose(found, [places[n] for n in skeleton.names], atol=1e-6)


def test_a_cmu_folder_is_read_to_the_tenth_of_a_millimetre(tmp_path: Path) -> None:
    angles = write_acclaim(tmp_path)
    write_acclaim(tmp_path, "07", takes=2, frames=9)
    found = list(AsfAmc(tmp_path, sixty_hz=("07_02",)).recordings())
    assert [(r.name, r.subject, r.split, r.frame_rate_hz, len(r.frames)) for r in found] == [
        ("05/05_01", "5", "test", 30.0, 10), ("07/07_01", "7", "train", 30.0, 3), ("07/07_02", "7", "train", 30.0, 5),
    ]  # fmt: skip
    assert found[0].frames.tolist() == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37]
    expected = [
        upright(acclaim_places(acclaim_person(), angles[i - 1]), 0.0254 / 0.45, ACCLAIM) for i in found[0].frames
    ]
    np.testing.assert_allclose(found[0].joints, expected, atol=TENTH_MM)


def test_the_header_says_the_unit_of_length(tmp_path: Path) -> None:
    write_acclaim(tmp_path / "inches")
    write_acclaim(tmp_path / "metres", length_unit=1.0)
    (cmu,) = AsfAmc(tmp_path / "inches").recordings()
    (own,) = AsfAmc(tmp_path / "metres", unit_m=1.0).recordings()
    np.testing.assert_allclose(own.joints * 0.0254 / 0.45, cmu.joints, atol=1e-5)


def test_radians_are_read_as_radians(tmp_path: Path) -> None:
    write_acclaim(tmp_path)
    amc = tmp_path / "05" / "05_01.amc"
    skeleton = read_asf(tmp_path / "05" / "05.asf")
    _, motion, _ = read_amc(amc, skeleton)
    amc.write_text(amc.read_text().replace(":DEGREES", ":RADIANS"))
    _, same, degrees = read_amc(amc, skeleton)
    assert not degrees
    motion[:, 3:] = np.degrees(motion[:, 3:])
    np.testing.assert_allclose(skeleton.ends(same, False), skeleton.ends(motion, True), atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (":hierarchy", ":elsewhere", "section :hierarchy is missing"),
        ("    lowerback upperback", "    lowerback upperback root", "a second time"),
        ("    lowerback upperback", "    lowerback upperback\n    upperback lowerback", "'upperback' -> 'lowerback'"),
        ("    lfemur ltibia\n", "", "'ltibia' -> 'lfoot'"),
        ("    ltibia lfoot\n", "", "leaves out lfoot"),
        ("name lfemur", "name", "bone '' has no name"),
        ("dof rx ry rz", "dof rx ry rq", "known are rx ry rz"),
        ("dof rx ry rz", "dof rx rx rz", "has dof 'rx rx rz'"),
        ("axis 0 0 20  XYZ", "axis 0 0 20  XXZ", "axis 'XXZ'"),
        ("axis 0 0 20  XYZ", "axis 0 nan 20  XYZ", r"axis: 'nan' is not a finite number"),
        ("axis 0 0 20  XYZ", "", "needs 3 numbers of axis, got ''"),
        ("position 0 0 0", "position 0 0", "needs 3 numbers of position"),
        ("length 0.45", "length 0", "unit of length must be positive, got 0.0"),
        ("angle deg", "angle gon", "the unit of angles is 'gon'"),
    ],
)  # fmt: skip
def test_a_bad_asf_is_refused_by_name(tmp_path: Path, old: str, new: str, words: str) -> None:
    write_acclaim(tmp_path)
    asf = tmp_path / "05" / "05.asf"
    text = asf.read_text()
    assert old in text
    asf.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=words) as refused:
        list(AsfAmc(tmp_path).recordings())
    assert "05.asf" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-5], "frame 40 lacks rclavicle, lwrist, rhumerus, rradius, rwrist"),
        (lambda lines: [*lines[:-1], "rwrist"], "'rwrist' with 0 values, expected 1"),
        (lambda lines: [*lines[:-1], "rwrist nan"], ":883: rwrist: 'nan' is not a finite number"),
        (lambda lines: [*lines[:-1], "rwrist 1_0"], "'1_0' is not a finite number"),
        (lambda lines: [*lines[:-1], "shin 3.0"], "'shin' with 1 values, expected no such bone"),
        (lambda lines: [f"{line} 1.0" if line.startswith("root") else line for line in lines],
         "'root' with 7 values, expected 6"),
        (lambda lines: ["7" if line == "2" else line for line in lines], "frame 3 comes after frame 7"),
        (lambda lines: lines[:3], "holds no frames"),
        (lambda lines: lines[:3] + lines[4:], "'root' with 6 values, expected 6, once"),
        (lambda lines: [*lines, "\0"], "not a text file"),
    ],
)  # fmt: skip
def test_a_bad_amc_is_refused_by_name(tmp_path: Path, change: Callable[[list[str]], list[str]], words: str) -> None:
    write_acclaim(tmp_path)
    amc = tmp_path / "05" / "05_01.amc"
    amc.write_text("\n".join(change(amc.read_text().splitlines())))
    with pytest.raises(ValueError, match=words) as refused:
        list(AsfAmc(tmp_path).recordings())
    assert "05_01.amc" in str(refused.value)


def test_an_amc_needs_one_asf_beside_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no X\.amc in"):
        list(AsfAmc(tmp_path).recordings())
    write_acclaim(tmp_path)
    (tmp_path / "05" / "other.asf").write_text("")
    with pytest.raises(FileNotFoundError, match=r"needs one \.asf beside it, there are 2"):
        list(AsfAmc(tmp_path).recordings())


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_rates_must_be_positive(tmp_path: Path, rate: float) -> None:
    write_acclaim(tmp_path)
    with pytest.raises(ValueError, match="must be positive and finite"):
        list(AsfAmc(tmp_path, most_hz=rate).recordings())


# BVH


def bvh_person(names: dict[str, str], thorax: float = 2.0) -> Bone:
    """A person of about the CMU database's size in its units; names by those of MotionBuilder."""

    def bone(name: str, offset: tuple[float, float, float], *children: Bone) -> Bone:
        return Bone(names.get(name, name), offset, "zyx", children=list(children))

    def leg(side: str, x: int) -> Bone:
        foot = bone(f"{side}Foot", (2.6 * x, -7.2, 0), bone(f"{side}ToeBase", (0.2 * x, -0.5, 2.1)))
        upper = bone(f"{side}UpLeg", (1.6 * x, -1.9, 0.6), bone(f"{side}Leg", (2.5 * x, -7.0, 0), foot))
        return bone(f"{side[0]}HipJoint", (0, 0, 0), upper) if "LHipJoint" in names else upper

    def arm(side: str, x: int) -> Bone:
        fore = bone(f"{side}ForeArm", (5.5 * x, 0, 0), bone(f"{side}Hand", (3.6 * x, 0, 0)))
        return bone(f"{side}Shoulder", (0, thorax, 0), bone(f"{side}Arm", (3.1 * x, 1.3, -0.6), fore))

    top = (bone("HeadTop_End", (0, 1.8, 0)),) if "HeadTop_End" in names else ()
    head = bone("Head", (0.05, 1.7, 0.05), *top)
    neck = bone("Neck", (0, thorax, 0), bone("Neck1", (0, 1.7, 0.1), head) if "Neck1" in names else head)
    back = bone("Spine", (0, 1.9, -0.3), bone("Spine1", (0, 2.0, 0), neck, arm("Left", 1), arm("Right", -1)))
    return Bone(
        names.get("Hips", "Hips"),
        (0, 0, 0),
        "zyx",
        children=[leg("Left", 1), leg("Right", -1), bone("LowerBack", (0, 0.1, 0), back)],
    )


MOTIONBUILDER = dict.fromkeys(("LHipJoint", "Neck1"), "") | {n: n for n in ("LHipJoint", "Neck1")}
MAX = {
    "LHipJoint": "LHipJoint", "Neck1": "Neck", "Neck": "lowerneck", "Spine": "Chest", "Spine1": "Chest2",
    "LowerBack": "lowerback",
    **{f"{s}{a}": f"{s}{b}" for s in ("Left", "Right") for a, b in (
        ("UpLeg", "Hip"), ("Leg", "Knee"), ("Foot", "Ankle"), ("ToeBase", "Toe"), ("Shoulder", "Collar"),
        ("Arm", "Shoulder"), ("ForeArm", "Elbow"), ("Hand", "Wrist"),
    )},
}  # fmt: skip
BVH = {
    "Pelvis": ("LeftUpLeg", "RightUpLeg"),
    "RHip": ("RightUpLeg",), "RKnee": ("RightLeg",), "RAnkle": ("RightFoot",),
    "LHip": ("LeftUpLeg",), "LKnee": ("LeftLeg",), "LAnkle": ("LeftFoot",),
    "LShoulder": ("LeftArm",), "LElbow": ("LeftForeArm",), "LWrist": ("LeftHand",),
    "RShoulder": ("RightArm",), "RElbow": ("RightForeArm",), "RWrist": ("RightHand",),
}  # fmt: skip


@given(trees(), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_bvh_skeleton_stands_where_a_recursion_with_scipy_puts_it(
    tmp_path_factory: pytest.TempPathFactory, root: Bone, seed: int
) -> None:
    angles = random_angles(root.all(), 3, seed)
    motion = read_bvh(write_bvh(tmp_path_factory.mktemp("bvh") / "a.bvh", root, angles))
    assert motion.frame_time_s == pytest.approx(1 / 120, abs=1e-7)
    for frame, found in zip(angles, motion.positions(motion.values), strict=True):
        places = bvh_places(root, frame)
        np.testing.assert_allclose(found, [places[n] for n in motion.names], atol=1e-4)


@pytest.mark.parametrize(
    ("key", "file", "names", "prefix", "first", "metres", "middle"),
    [
        ("cmu-motionbuilder", "05/05_11", MOTIONBUILDER, "", 1, 0.0254 / 0.45,
         {"Spine": ("Spine",), "Thorax": ("Neck",), "Nose": ("Neck1", "Head"), "HeadTop": ("Head_end",)}),
        ("cmu-3dsmax", "131_04-dance", MAX, "", 0, 0.0254 / 0.45,
         {"Spine": ("Spine",), "Thorax": ("Neck",), "Nose": ("Neck1", "Head"), "HeadTop": ("Head_end",)}),
        ("mixamo", "Walking_1", {"HeadTop_End": "HeadTop_End"}, "mixamorig:", 0, 0.01,
         {"Spine": ("Spine1",), "Thorax": ("Neck",), "Nose": ("Head",), "HeadTop": ("HeadTop_End",)}),
        ("lafan1", "walk1_subject5", {}, "", 0, 0.01,
         {"Spine": ("Spine1",), "Thorax": ("Neck",), "Nose": ("Head",), "HeadTop": ("Head_end",)}),
    ],
)  # fmt: skip
def test_every_known_family_is_read_to_the_tenth_of_a_millimetre(
    tmp_path: Path, key: str, file: str, names: dict[str, str], prefix: str, first: int, metres: float,
    middle: dict[str, tuple[str, ...]],
) -> None:  # fmt: skip
    cmu = key.startswith("cmu")
    whole = bvh_person(names)
    angles = random_angles(whole.all(), 22, 3)
    write_bvh(tmp_path / f"{file}.bvh", bvh_person(names, thorax=0.0) if cmu else whole, angles, prefix=prefix)
    options = {"validation": ("Walking",)} if key == "mixamo" else {}
    options |= {"cmu-motionbuilder": {"test": ("5",)}, "lafan1": {"test": ("subject5",)}}.get(key, {})
    (recording,) = Bvh(tmp_path, **options).recordings()
    assert (recording.name, recording.source, recording.frame_rate_hz) == (file, f"bvh, {key}", 30.0)
    assert (recording.subject, recording.split) == {
        "cmu-motionbuilder": ("5", "test"), "cmu-3dsmax": ("131", "train"), "mixamo": ("Walking", "validation"),
        "lafan1": ("subject5", "test"),
    }[key]  # fmt: skip
    assert recording.frames.tolist() == list(range(first, 22, 4))
    of = {j: tuple(names.get(n, f"{names.get(n[:-4], n[:-4])}_end" if n.endswith("_end") else n) for n in mix)
          for j, mix in (BVH | middle).items()}  # fmt: skip
    expected = [upright(bvh_places(whole, angles[i]), metres, of) for i in recording.frames]
    np.testing.assert_allclose(recording.joints, expected, atol=TENTH_MM)


def test_another_skeleton_is_read_by_a_table(tmp_path: Path) -> None:
    person = Bone("hip centre", (0, 0, 0), "xyz", children=[Bone("Bip01 L Thigh", (0.1, 0, 0.2), "zxy")])
    angles = random_angles(person.all(), 3, 0)
    write_bvh(tmp_path / "in" / "me_1.bvh", person, angles, frame_time_s=0.04)
    table = {j: {"Bip01 L Thigh": 1} for j in H36M17.joints} | {"Nose": {"hip centre": 0.25, "Bip01 L Thigh_end": 0.75}}
    (tmp_path / "table.json").write_text(json.dumps(table))
    source = Bvh(tmp_path / "in", table=tmp_path / "table.json", metres=0.02, up="z")
    assert source.describe().dataset == "in"
    assert source.describe().approximate == ("Nose",)
    (recording,) = source.recordings()
    assert (recording.subject, recording.frame_rate_hz, recording.source) == ("me", 25.0, "bvh, own table")
    for frame, joints in zip(angles, recording.joints, strict=True):
        places = {n: 0.02 * p for n, p in bvh_places(person, frame).items()}
        np.testing.assert_allclose(joints[0], places["Bip01 L Thigh"], atol=TENTH_MM)
        nose = 0.25 * places["hip centre"] + 0.75 * places["Bip01 L Thigh_end"]
        np.testing.assert_allclose(joints[H36M17.index("Nose")], nose, atol=TENTH_MM)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "holds list; it must name Pelvis, RHip"),
        ('{"Pelvis": {"Hips": 1}}', "holds Pelvis; it must name"),
        (json.dumps({j: {"Hips": 0.9} for j in H36M17.joints}), "Pelvis has .* shares that sum to 1"),
        (json.dumps({j: {"Hips": "1"} for j in H36M17.joints}), "Pelvis has .* shares that sum to 1"),
        (json.dumps({j: "Hips" for j in H36M17.joints}), "Pelvis has Hips"),
        (json.dumps({j: {"Hips": float("nan")} for j in H36M17.joints}), "Pelvis has"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "table.json").write_text(table)
    with pytest.raises(ValueError, match=words):
        load_table(tmp_path / "table.json")


def test_position_channels_of_inner_joints_replace_their_offsets(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(
        "HIERARCHY\nROOT a\n{\nOFFSET 9 9 9\nCHANNELS 3 Zposition Xposition Yposition\nJOINT b\n{\nOFFSET 5 6 7\n"
        "CHANNELS 1 Yposition\nEnd Site\n{\nOFFSET 0 0 1\n}\n}\n}\nMOTION\nFrames: 1\nFrame Time: 1\n3 1 2 0.5\n"
    )
    motion = read_bvh(tmp_path / "a.bvh")
    assert motion.positions(motion.values).tolist() == [[[1, 2, 3], [6, 2.5, 10], [6, 2.5, 11]]]


def deep(levels: int) -> str:
    joints = "".join(f"JOINT j{i}\n{{\nOFFSET 0 1 0\nCHANNELS 1 Xrotation\n" for i in range(levels))
    return f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 0\n{joints}" + "}\n" * (levels + 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("HIERARCHY", "HIERARCHIE", "the first line must be HIERARCHY"),
        ("Frames: 3", "Frames: 1000000000", r":133: Frames: 1000000000, but there are 3 lines of motion"),
        ("Frames: 3", "Frames: -3", "Frames: -3, but"),
        ("Frames: 3", "Frames: three", "Frames: three, but"),
        ("Frames: 3\n", "", "expected Frames: and Frame Time:, got 'Frame Time:"),
        ("Frame Time: 0.0083333", "Frame Time: 0", "must be positive, got 0.0"),
        ("Frame Time: 0.0083333", "Frame Time: nan", "'nan' is not a finite number"),
        ("MOTION", "", "does not belong there"),
        ("JOINT LeftLeg", "JOINT LeftUpLeg", "a second root or name"),
        ("JOINT LeftLeg", "ROOT LeftLeg", "a second root or name"),
        ("CHANNELS 3 Zrotation", "CHANNELS 4 Zrotation", "'CHANNELS 4 Zrotation Yrotation Xrotation' does not belong"),
        ("Zrotation Yrotation", "Zrotation Qrotation", "'qrotation' is no channel"),
        ("OFFSET 2.50000 -7.00000 0.00000", "OFFSET 2.5 -7", "'OFFSET 2.5 -7' does not belong there"),
        ("OFFSET 2.50000 -7.00000 0.00000", "OFFSET 2.5 -7 inf", ":12: OFFSET: 'inf' is not a finite number"),
        ("OFFSET 2.50000 -7.00000 0.00000", "", "'}' does not belong there"),
        ("\n}\nMOTION", "\nMOTION", "the hierarchy is not complete"),
    ],
)  # fmt: skip
def test_a_bad_bvh_is_refused_by_name(tmp_path: Path, old: str, new: str, words: str) -> None:
    person = bvh_person({})
    path = write_bvh(tmp_path / "a.bvh", person, random_angles(person.all(), 3, 0))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=words) as refused:
        list(Bvh(tmp_path).recordings())
    assert "a.bvh" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.rsplit(" ", 1)[0], r"a.bvh:\d+: 68 values in a frame, expected 69"),
        (lambda row: f"{row} 0", r"a.bvh:\d+: 70 values in a frame, expected 69"),
        (lambda row: row.replace(" ", " nan ", 1).rsplit(" ", 1)[0], r"a.bvh:\d+: 'nan' is not a finite number"),
        (lambda row: row.rsplit(" ", 1)[0] + " 1,5", r"a.bvh:\d+: '1,5' is not a finite number"),
        (lambda row: row.rsplit(" ", 1)[0] + " 1e999", r"a.bvh:\d+: '1e999' is not a finite number"),
        (lambda row: row.rsplit(" ", 1)[0] + " # 1", r"a.bvh:\d+: 70 values"),
    ],
)
@pytest.mark.parametrize("which", [-1, -2])
def test_a_bad_frame_is_refused_by_its_line(
    tmp_path: Path, which: int, change: Callable[[str], str], words: str
) -> None:
    person = bvh_person({})
    path = write_bvh(tmp_path / "a.bvh", person, random_angles(person.all(), 3, 0))
    lines = path.read_text().splitlines()
    lines[which] = change(lines[which])
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=words) as refused:
        read_bvh(path)
    assert f":{len(lines) + which + 1}:" in str(refused.value)


def test_absurd_bvh_files_are_refused(tmp_path: Path) -> None:
    motion = "MOTION\nFrames: 1\nFrame Time: 0.1\n"
    sparse = tmp_path / "sparse.bvh"
    sparse.touch()
    os.truncate(sparse, mocap.LIMIT_BYTES + 1)
    (tmp_path / "deep.bvh").write_text(f"{deep(1000)}{motion}" + "1 " * 1000)
    (tmp_path / "empty.bvh").touch()
    (tmp_path / "still.bvh").write_text(f"{deep(0)}{motion}\n")
    for name, words in (
        ("sparse.bvh", "holds 268,435,457 bytes; at most 268,435,456 are read"),
        ("deep.bvh", "more than 1000 joints"),
        ("empty.bvh", "the first line must be HIERARCHY"),
        ("still.bvh", "Frames: 1, but there are 0 lines of motion"),
    ):
        with pytest.raises(ValueError, match=words):
            read_bvh(tmp_path / name)
    (tmp_path / "deepest.bvh").write_text(f"{deep(999)}{motion}" + "1 " * 999)
    assert len(read_bvh(tmp_path / "deepest.bvh").names) == 1000


def test_an_unknown_skeleton_is_refused_with_what_each_family_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no X.bvh in"):
        list(Bvh(tmp_path).recordings())
    root = Bone("Hips", (0, 0, 0), "zyx", children=[Bone("LeftFoot", (0, 1, 0), "zyx")])
    write_bvh(tmp_path / "a.bvh", root, random_angles(root.all(), 3, 0))
    with pytest.raises(ValueError, match=r"a.bvh: cmu-motionbuilder lacks Head, .*; lafan1 lacks Head, Head_end"):
        list(Bvh(tmp_path).recordings())
    (tmp_path / "table.json").write_text(json.dumps({j: {"Chest": 1} for j in H36M17.joints}))
    with pytest.raises(ValueError, match=r"a.bvh: joints are missing: Chest; there are Hips, LeftFoot, LeftFoot_end"):
        list(Bvh(tmp_path, table=tmp_path / "table.json").recordings())


# The command


def test_long_recordings_are_worked_through_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_acclaim(tmp_path)
    (whole,) = AsfAmc(tmp_path, most_hz=120).recordings()
    monkeypatch.setattr(mocap, "_FRAMES_AT_ONCE", 7)
    (parts,) = AsfAmc(tmp_path, most_hz=120).recordings()
    np.testing.assert_allclose(parts.joints, whole.joints, rtol=0, atol=1e-12)


def check_prepared(out: Path, recording: Recording) -> None:
    data = open_prepared(out)
    assert [r.name for r in data.recordings] == [recording.name]
    np.testing.assert_allclose(data.joints.numpy(), recording.joints, atol=1e-6)
    assert data.frames.tolist() == recording.frames.tolist()


def test_the_commands_prepare_and_leave_nothing_on_failure(tmp_path: Path) -> None:
    write_acclaim(tmp_path / "acclaim")
    person = bvh_person({})
    bvh = write_bvh(tmp_path / "bvh" / "walk1_subject5.bvh", person, random_angles(person.all(), 9, 0))
    out = tmp_path / "out" / "a.safetensors"
    done = prepare("asf-amc", "--source", tmp_path / "acclaim", "--out", out, "--test", "5", "--most-hz", "60")
    assert done.returncode == 0, done.stderr
    assert "test: 20 poses of 1 people: 5" in done.stdout
    assert "joints made from others: Pelvis Spine Thorax Nose HeadTop" in done.stdout
    check_prepared(out, *AsfAmc(tmp_path / "acclaim", most_hz=60).recordings())
    done = prepare("bvh", "--source", tmp_path / "bvh", "--out", out, "--licence", "ours")
    assert done.returncode == 0, done.stderr
    assert f"{out}: bvh, 3 poses in 1 recordings" in done.stdout
    check_prepared(out, *Bvh(tmp_path / "bvh").recordings())

    out.unlink()
    bvh.write_text(bvh.read_text()[:-200])
    (tmp_path / "acclaim" / "05" / "05_02.amc").write_text("1\nroot 1 2 3")
    for kind, folder, words in (("bvh", "bvh", "walk1_subject5.bvh:"), ("asf-amc", "acclaim", "05_02.amc:2: 'root'")):
        done = prepare(kind, "--source", tmp_path / folder, "--out", out)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(out.parent.iterdir())


def test_links_are_followed_and_names_that_nobody_has_are_refused(tmp_path: Path) -> None:
    person = bvh_person({})
    write_bvh(tmp_path / "far" / "2_a.bvh", person, random_angles(person.all(), 9, 0))
    write_bvh(tmp_path / "all" / "1_a.bvh", person, random_angles(person.all(), 9, 0))
    (tmp_path / "all" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "loop").symlink_to(tmp_path / "all")
    assert [r.name for r in Bvh(tmp_path / "all").recordings()] == ["1_a", "linked/2_a"]
    with pytest.raises(ValueError, match="validation names 'two'; there are 1, 2"):
        list(Bvh(tmp_path / "all", validation=("two",)).recordings())
    with pytest.raises(ValueError, match=r"metres must be positive and finite, got -0\.01"):
        Bvh(tmp_path / "all", metres=-0.01)
    write_acclaim(tmp_path / "acclaim")
    with pytest.raises(ValueError, match="sixty_hz names '60_01'; there are 05_01, 5"):
        list(AsfAmc(tmp_path / "acclaim", sixty_hz=("60_01",)).recordings())
