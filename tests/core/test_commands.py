# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""``complete`` and ``generate``: every format, known joints, conditions, seeds, one error for each mistake."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bounded import refusal_within
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_core import H36M17, PosePrior
from diffpose_core.commands import complete, generate
from diffpose_core.commands.complete import CAMERA_FROM_FILE
from diffpose_core.commands.main import main
from diffpose_core.commands.pose_files import LIMIT_BYTES, SUFFIXES, pose_bytes, read_poses

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "commands.md").read_text()
ARM = [H36M17.index(joint) for joint in ("LElbow", "LWrist")]
NAN3 = (float("nan"),) * 3


@pytest.fixture(scope="module")
def people() -> torch.Tensor:
    """Two people as a camera sees them, metres."""
    poses = PosePrior.from_pretrained().sample(2, torch.Generator().manual_seed(3))
    return poses + torch.tensor([[[0.5, 0.2, 3.0]], [[-1.0, 0.0, 6.0]]])


@pytest.fixture
def seen(people: torch.Tensor) -> torch.Tensor:
    """The same, of the first without the left forearm, of the second the arms alone."""
    seen = people.clone()
    seen[0, ARM] = torch.nan
    seen[1, :11] = torch.nan
    return seen


def save(path: Path, poses: torch.Tensor) -> Path:
    path.write_bytes(pose_bytes(poses, path.suffix))
    return path


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments], "diffpose")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line with which a command refuses."""
    assert run(*arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    return error


# Files of poses


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SUFFIXES), st.integers(1, 4))
def test_poses_come_back_as_they_were_written(tmp_path_factory, seed: int, suffix: str, persons: int) -> None:
    g = torch.Generator().manual_seed(seed)
    poses = torch.rand(persons, 17, 3, generator=g) * 2 + 20 * torch.randn(persons, 1, 3, generator=g)
    gone = torch.rand(persons, 17, generator=g) < 0.5
    gone[:, seed % 17] = False
    poses[gone] = torch.nan
    found = read_poses(save(tmp_path_factory.mktemp("poses") / f"poses{suffix}", poses))
    torch.testing.assert_close(found, poses, rtol=0, atol=6e-6, equal_nan=True)


def test_what_is_not_known_may_be_left_out_empty_null_or_nan(tmp_path: Path) -> None:
    files = {
        "a.json": '{"persons": [{"joints": {"Nose": [1, 2.5, -3e-1], "LHip": null, "RHip": [NaN, NaN, NaN]}}]}',
        "b.csv": "joint,person,z_m,y_m,x_m\r\nNose,0,-0.3,2.5,1\r\nLHip,0,,,\r\n\r\nRHip,0,nan,nan,nan\r\n",
        "bom.csv": "\ufeffperson,joint,x_m,y_m,z_m\n0,Nose,1,2.5,-.3\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = read_poses(tmp_path / name)
        assert found.shape == (1, 17, 3)
        torch.testing.assert_close(found[0, 9], torch.tensor([1, 2.5, -0.3]))
        assert torch.isnan(found[0, [j for j in range(17) if j != 9]]).all()


GOOD = '{"persons": [{"joints": {"Nose": [1, 2, 3]}}]}'
BAD_JSON = {
    GOOD.replace("Nose", "Nase"): "person 0: no joint 'Nase'; there are Pelvis",
    GOOD.replace("2", '"two"'): 'person 0, Nose: [x, y, z] or null is needed, got [1, "two", 3]',
    GOOD.replace("2", "true"): "got [1, true, 3]",
    GOOD.replace("2, 3", "2"): "got [1, 2]",
    GOOD.replace("[1, 2, 3]", "{}"): "got {}",
    GOOD.replace("2", "null"): "got [1, null, 3]",
    GOOD.replace("2", "NaN"): "person 0, Nose: three finite numbers are needed, got [1.0, nan, 3.0]",
    GOOD.replace("2", "1e999"): "got [1.0, inf, 3.0]",
    GOOD.replace("2", "1" + "0" * 400): "person 0, Nose: a number has too many digits",
    GOOD.replace("[1, 2, 3]", "null"): "person 0: no joint is known",
    GOOD.replace(
        "[1, 2, 3]", '[1, 2, 3], "RHip": [1, 900, 3]'
    ): "person 0: joints lie 898 m apart; are the units metres?",
    GOOD.replace("2", "2000"): "person 0: joints lie more than 1000 m from the origin",
    GOOD.replace("[1, 2, 3]", '[1, 2, 3], "Nose": null'): "'Nose' stands twice in one object",
    GOOD.replace("joints", "points"): "person 0: an object with the keys ['joints'] is needed, got the keys ['points']",
    '{"persons": []}': "the number of persons must lie in 1..10,000, got 0",
    '{"persons": [' + "1," * 10_000 + "1]}": "persons: a list of at most 10,000 is needed",
    '{"persons": [[]]}': "person 0: an object with the keys ['joints'] is needed, got a list",
    '{"persons": [{"joints": 1}]}': "person 0: joints must be an object",
    "[]": "the file: an object with the keys ['persons'] is needed, got a list",
    GOOD[:-1]: "Expecting",
    "": "Expecting value",
    "[" * 100_000: "too deeply nested",
}
HEAD = "person,joint,x_m,y_m,z_m\n"
BAD_CSV = {
    HEAD + "0,Nose,1,2,3\n0,Nase,1,2,3\n": "line 3: no joint 'Nase'",
    HEAD + "0,Nose,1,zwei,3\n": "line 2, y_m: a number is needed, got 'zwei'",
    HEAD + "0,Nose,1,,3\n": "person 0, Nose: three finite numbers are needed, got [1.0, nan, 3.0]",
    HEAD + "0,Nose,1,2\n": "line 2: 5 values are needed, got 4",
    HEAD + "0,Nose,1,2,3\n0,Nose,1,2,3\n": "line 3: Nose of person 0 stands there twice",
    HEAD + "-1,Nose,1,2,3\n": "line 2: person must be a number in 0..9999, got '-1'",
    HEAD + "10000,Nose,1,2,3\n": "got '10000'",
    HEAD + "1,Nose,1,2,3\n": "person 0: no joint is known",
    HEAD: "the number of persons must lie in 1..10,000, got 0",
    HEAD.replace("z_m", "z") + "0,Nose,1,2,3\n": "the first line must name the columns person,joint,x_m,y_m,z_m, got",
    "": "the first line must name the columns",
    HEAD + '0,"' + "N" * 200_000 + '",1,2,3\n': "field larger than field limit",
}


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [(".json", *case) for case in BAD_JSON.items()] + [(".csv", *case) for case in BAD_CSV.items()],
    ids=lambda value: value[:30],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, suffix: str, text: str, message: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        read_poses(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_arrays_of_other_shapes_names_and_types_are_refused(tmp_path: Path) -> None:
    names, joints = np.array(H36M17.joints), np.zeros((2, 17, 3))
    path = tmp_path / "bad.npz"
    for message, arrays in {
        "joints must be numbers of shape [P, 17, 3], got float64 [17, 3]": {"joints": joints[0]},
        "joints must be numbers of shape [P, 17, 3], got <U1": {"joints": joints.astype("U1")},
        "holds Python objects": {"joints": joints.astype(object)},
        "joint_names must be Pelvis RHip": {"joint_names": names[::-1]},
        "joint_names must be Pelvis": {"joint_names": names[:3]},
        "key 'joint_names' is missing": {"joint_names": None},
        "the number of persons must lie in 1..10,000, got 10,001": {"joints": np.zeros((10_001, 17, 3), np.uint8)},
        "person 1: no joint is known": {"joints": joints + np.array([0, np.nan])[:, None, None]},
    }.items():
        found = {"joints": joints, "joint_names": names} | arrays
        np.savez(path, **{key: value for key, value in found.items() if value is not None})
        with pytest.raises(ValueError, match=re.escape(message)) as refused:
            read_poses(path)
        assert str(path) in str(refused.value)
    path.write_text("not a zip")
    with pytest.raises(ValueError, match="not a zip file"):
        read_poses(path)


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"large{suffix}"
        with path.open("wb") as file:
            file.truncate(LIMIT_BYTES + 1)
        with pytest.raises(ValueError, match=f"large{suffix} holds 16,777,217 bytes; at most 16,777,216 are read"):
            read_poses(path)


def test_nested_lists_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "lists.json"
    path.write_text('{"persons": [' + "[]," * 5_000_000 + "[]]}")
    imports = "from diffpose_core.commands.pose_files import read_poses"
    assert "at most 10,000" in refusal_within(700, imports, f"read_poses({str(path)!r})")


# Complete


def test_known_joints_stay_and_the_others_are_inferred(tmp_path: Path, people, seen, capsys) -> None:
    out = tmp_path / "out.npz"
    assert run("complete", save(tmp_path / "seen.json", seen), "--out", out, "--hypotheses", "30") == 0
    assert capsys.readouterr().out == f"2 persons, 21 joints known, 13 completed: {out}\n"
    found = np.load(out)
    assert found["joints"].shape == (2, 30, 17, 3)
    known = np.isfinite(seen[..., 0].numpy())
    np.testing.assert_array_equal(found["status"], np.where(known, 0, 1))
    np.testing.assert_allclose(np.exp(found["log_weights"]).sum(1), 1, rtol=1e-5)
    error = np.linalg.norm(found["joints"] - people.numpy()[:, None], axis=-1)
    assert error.max(1)[known].max() < 0.08
    assert np.sqrt((error**2).mean(1)[known].mean()) < 0.025
    # An arm has a length; of the person whose arms alone are known the ankles may be anywhere in a step.
    assert error.mean(1)[~known].max() < 0.8
    sd = np.sqrt(np.trace(found["covariance"], axis1=-2, axis2=-1))
    assert sd[known].max() < 0.05 < sd[1, H36M17.index("LAnkle")]
    np.testing.assert_allclose(found["mean"], found["joints"].mean(1), atol=1e-5)
    assert np.isfinite(found["log_evidence"]).all()
    assert {k: found[k].item() for k in ("axes", "root_relative", "std_m", "seed")} == {
        "axes": "camera", "root_relative": False, "std_m": 0.01, "seed": 0,
    }  # fmt: skip


def test_the_three_formats_say_the_same(tmp_path: Path, seen) -> None:
    path = save(tmp_path / "seen.csv", seen)
    for suffix in SUFFIXES:
        assert run("complete", path, "--out", tmp_path / f"out{suffix}", "--hypotheses", "3", "--seed", "5") == 0
    arrays, text = np.load(tmp_path / "out.npz"), json.loads((tmp_path / "out.json").read_text())
    assert (text["seed"], text["axes"], text["joint_names"]) == (5, "camera", list(H36M17.joints))
    assert text["prior_sha256"] == arrays["prior_sha256"].item() == PosePrior.from_pretrained().sha256
    names = ["OBSERVED", "INFERRED"]
    for p, person in enumerate(text["persons"]):
        np.testing.assert_allclose(person["hypotheses"], arrays["joints"][p], atol=1e-6)
        np.testing.assert_allclose(person["weights"], np.exp(arrays["log_weights"][p]), rtol=1e-6)
        for key in ("mean", "covariance"):
            np.testing.assert_allclose(list(person[key].values()), arrays[key][p], atol=1e-6)
            assert list(person[key]) == list(H36M17.joints)
        assert list(person["status"].values()) == [names[s] for s in arrays["status"][p]]
        assert person["log_evidence"] == pytest.approx(arrays["log_evidence"][p], abs=1e-4)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert len(rows) == 2 * 4 * 17
    assert all(None not in row and None not in row.values() for row in rows)
    for row in rows:
        p, j = int(row["person"]), H36M17.index(row["joint"])
        position = [float(row[f"{axis}_m"]) for axis in "xyz"]
        assert row["status"] == names[arrays["status"][p, j]]
        if row["hypothesis"] == "mean":
            np.testing.assert_allclose(position, arrays["mean"][p, j], atol=1e-6)
            assert float(row["xz_m2"]) == pytest.approx(arrays["covariance"][p, j, 0, 2], abs=1e-7)
            assert float(row["log_evidence"]) == pytest.approx(arrays["log_evidence"][p], abs=1e-4)
        else:
            np.testing.assert_allclose(position, arrays["joints"][p, int(row["hypothesis"]), j], atol=1e-6)
            assert float(row["weight"]) == pytest.approx(1 / 3)
            assert row["zz_m2"] == row["log_evidence"] == ""


@pytest.mark.parametrize("axes", ["z-up", "y-up"])
def test_axes_turn_there_and_back(tmp_path: Path, seen, axes: str) -> None:
    turn = torch.tensor(CAMERA_FROM_FILE[axes])
    torch.testing.assert_close(torch.linalg.det(turn), torch.tensor(1.0))
    up = {"z-up": [0.0, 0.0, 1.0], "y-up": [0.0, 1.0, 0.0]}[axes]
    assert (turn @ torch.tensor(up)).tolist() == [0, -1, 0]
    camera, turned = tmp_path / "camera.npz", tmp_path / "turned.npz"
    assert run("complete", save(tmp_path / "a.npz", seen), "--out", camera, "--hypotheses", "4") == 0
    path = save(tmp_path / "b.npz", seen @ turn)
    assert run("complete", path, "--out", turned, "--hypotheses", "4", "--axes", axes) == 0
    np.testing.assert_allclose(np.load(turned)["joints"] @ turn.numpy().T, np.load(camera)["joints"], atol=1e-4)
    assert str(np.load(turned)["axes"]) == axes


def test_where_people_are_does_not_matter(tmp_path: Path, seen) -> None:
    """Nor that they lie behind the camera; relative to the pelvis, the pelvis is at zero."""
    away = torch.tensor([300.0, -20.0, -500.0])
    results = []
    for name, poses in (("here", seen), ("away", seen + away)):
        out = tmp_path / f"{name}_out.npz"
        assert run("complete", save(tmp_path / f"{name}.npz", poses), "--out", out, "--hypotheses", "4") == 0
        results.append(np.load(out))
    # Half a kilometre away a float tells 30 micrometres; missing joints of single hypotheses make centimetres of that.
    apart = np.linalg.norm(results[1]["joints"] - away.numpy() - results[0]["joints"], axis=-1)
    assert np.median(apart) < 1e-3
    assert apart.max() < 0.05
    np.testing.assert_allclose(results[1]["log_evidence"], results[0]["log_evidence"], atol=0.2)


def test_positions_relative_to_the_pelvis(tmp_path: Path, people, seen) -> None:
    path, out = save(tmp_path / "seen.npz", seen[:1] - people[:1, :1]), tmp_path / "out.npz"
    assert run("complete", path, "--out", out, "--root-relative", "--hypotheses", "20") == 0
    found = np.load(out)["joints"]
    assert np.abs(found[:, :, 0]).max() == 0
    known = np.isfinite(seen[0, :, 0].numpy())
    error = np.linalg.norm(found - (people - people[:, :1])[:1].numpy(), axis=-1)
    assert np.sqrt((error[:, :, known] ** 2).mean()) < 0.025


def test_many_are_drawn_in_parts(tmp_path: Path, seen, monkeypatch) -> None:
    monkeypatch.setattr(complete, "AT_ONCE", 100)
    monkeypatch.setattr(generate, "AT_ONCE", 2)
    path, out = save(tmp_path / "seen.npz", seen.repeat(3, 1, 1)), tmp_path / "out.npz"
    assert run("complete", path, "--out", out, "--hypotheses", "40") == 0
    found = np.load(out)
    assert found["joints"].shape == (6, 40, 17, 3)
    assert found["log_evidence"].shape == (6,)
    # The same people again, in another part and with other draws.
    np.testing.assert_allclose(found["mean"][:2], found["mean"][4:], atol=0.3)
    assert not np.array_equal(found["joints"][:2], found["joints"][4:])
    assert run("generate", "--count", "5", "--out", out) == 0
    assert np.unique(np.load(out)["joints"], axis=0).shape == (5, 17, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_seed_gives_the_same_bytes(tmp_path: Path, seen, suffix: str) -> None:
    path = save(tmp_path / "seen.json", seen)
    for command in (["complete", path, "--hypotheses", "2"], ["generate", "--count", "3"]):
        written = []
        for name, seed in (("a", 7), ("b", 7), ("c", 8)):
            assert run(*command, "--out", tmp_path / f"{name}{suffix}", "--seed", seed) == 0
            written.append((tmp_path / f"{name}{suffix}").read_bytes())
        assert written[0] == written[1] != written[2]


# Generate


def test_generated_poses_are_those_of_the_prior_in_every_format(tmp_path: Path, capsys) -> None:
    expected = PosePrior.from_pretrained().sample(5, torch.Generator().manual_seed(2))
    for suffix in SUFFIXES:
        out = tmp_path / f"out{suffix}"
        assert run("generate", "--count", "5", "--seed", "2", "--out", out) == 0
        assert capsys.readouterr().out == f"5 poses: {out}\n"
        torch.testing.assert_close(read_poses(out), expected, rtol=0, atol=1e-6)


def test_a_scene_holds_the_tree_of_joints(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (the export extra)")
    assert run("generate", "--count", "5", "--seed", "2", "--out", tmp_path / "out.glb") == 0
    poses = PosePrior.from_pretrained().sample(5, torch.Generator().manual_seed(2)).numpy()
    scene = trimesh.load_scene(tmp_path / "out.glb")
    for p, pose in enumerate(poses):
        positions = np.stack([scene.graph.get(f"person {p}/{joint}")[0][:3, 3] for joint in H36M17.joints])
        # y up and z towards the reader; left stays left.
        expected = (pose - pose[0]) * [1, -1, -1]
        np.testing.assert_allclose(positions - positions[0], expected, atol=1e-5)
        assert positions[:, 1].min() == pytest.approx(0, abs=1e-5)
    parents = scene.graph.transforms.parents
    for j, parent in enumerate(H36M17.parents[1:], 1):
        assert parents[f"person 4/{H36M17.joints[j]}"] == f"person 4/{H36M17.joints[parent]}"
    assert parents["person 4/Pelvis"] == "person 4"
    # What is to be seen lies where the joints are: a stick reaches from the elbow to the wrist.
    stick, name = scene.graph.get("person 1/LWrist bone")
    ends = [(stick @ [0, 0, z, 1])[:3] for z in (-0.5, 0.5)]
    joints = [scene.graph.get(f"person 1/{joint}")[0][:3, 3] for joint in ("LElbow", "LWrist")]
    np.testing.assert_allclose(ends, joints, atol=1e-5)
    color = scene.geometry[name].visual.material.baseColorFactor
    assert color[2] > color[0]
    low, high = scene.bounds
    assert low[1] == pytest.approx(0, abs=0.1)
    assert 1.2 < high[1] < 2.6


def test_conditions_are_met(tmp_path: Path, capsys) -> None:
    out = tmp_path / "up.npz"
    above = ("--above", "LWrist:HeadTop", "--above", "RWrist:HeadTop", "--margin", "0.05")
    assert run("generate", "--count", "100", *above, "--out", out) == 0
    height = -np.load(out)["joints"][..., 1]
    printed = capsys.readouterr().out.splitlines()
    for line, wrist in zip(printed[1:], ("LWrist", "RWrist"), strict=True):
        share = (height[:, H36M17.index(wrist)] - height[:, H36M17.index("HeadTop")] >= 0.05).mean()
        assert line == f"{wrist} above HeadTop: {share:.1%}"
        assert share > 0.9
    # They are many poses, not one.
    assert np.load(out)["joints"][:, H36M17.index("LAnkle")].std(0).min() > 0.05


def test_known_joints_hold_and_the_others_vary(tmp_path: Path, people) -> None:
    legs = people[:1] - people[:1, :1]
    legs[:, 7:] = torch.nan
    out = tmp_path / "out.npz"
    assert run("generate", "--count", "40", "--know", save(tmp_path / "legs.csv", legs), "--out", out) == 0
    found = np.load(out)["joints"]
    error = np.linalg.norm(found[:, 1:7] - legs[:, 1:7].numpy(), axis=-1)
    assert np.sqrt((error**2).mean()) < 0.05
    assert np.linalg.norm(found[:, 13].std(0)) > 0.1


# Pictures, options, the program


def test_pictures(tmp_path: Path, seen) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the viz extra)")
    path = save(tmp_path / "seen.json", seen)
    assert run("complete", path, "--out", tmp_path / "out.json", "--picture", tmp_path / "completed.png") == 0
    assert run("generate", "--count", "3", "--picture", tmp_path / "poses.PNG") == 0
    for name in ("completed.png", "poses.PNG"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("complete seen.json --out out.xml", "out.xml: the name must end in .json, .csv, .npz, got '.xml'"),
        ("complete seen.txt --out out.json", "seen.txt: the name must end in .json, .csv, .npz, got '.txt'"),
        ("complete none.json --out out.json", "file of poses not found: none.json"),
        ("complete seen.json --out out.json --hypotheses 0", "--hypotheses must lie in 1..10,000, got 0"),
        ("complete seen.json --out out.json --std nan", "--std must lie in 0.0001..1, got nan"),
        ("complete seen.json --out out.json --seed -1", "--seed must lie in 0.."),
        ("complete seen.json --out out.json --prior none", "none"),
        ("complete seen.json --out out.json --picture a.jpg", "a.jpg: the name must end in .png, got '.jpg'"),
        ("complete seen.json --out nowhere/out.json", "folder not found: nowhere"),
        ("generate --picture nowhere/a.png", "folder not found: nowhere"),
        ("complete seen.json --out ./seen.json", "--out must be another file than the one that is read, got seen.json"),
        ("generate --know seen.json --out seen.json", "--out must be another file than the one that is read"),
        ("complete seen.json --out folder.json", "Is a directory"),
        ("complete seen.json --out out.json --device tpu", "tpu"),
        ("generate", "--out or --picture must be given"),
        ("generate --count 0 --out out.npz", "--count must lie in 1..100,000, got 0"),
        ("generate --count 1001 --out out.glb", "--count must lie in 1..1,000, got 1001"),
        ("generate --out out.bvh", "out.bvh: the name must end in .json, .csv, .npz, .glb, got '.bvh'"),
        (
            "generate --out out.npz --above LWrist",
            "--above takes two joints, UPPER:LOWER, got 'LWrist': H36M17 has no joint ''",
        ),
        ("generate --out out.npz --above Nose:Nose", "--above takes two joints, UPPER:LOWER, got 'Nose:Nose'"),
        ("generate --out out.npz --above LWrist:Head", "got 'LWrist:Head': H36M17 has no joint 'Head'; it has Pelvis"),
        ("generate --out out.npz --margin -1", "--margin must lie in 0..1, got -1.0"),
        ("generate --out out.npz --know two.json", "two.json: one person is needed, got 2"),
        ("generate --out out.npz --know seen.json", "seen.json: Pelvis must lie at 0, positions are relative to it"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(
    tmp_path: Path, people, capsys, monkeypatch, command: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("seen.json"), people[:1])
    save(Path("two.json"), people - people[:, :1])
    Path("folder.json").mkdir()
    before = sorted(tmp_path.iterdir())
    assert message in refusal(capsys, *command.split())
    assert sorted(tmp_path.iterdir()) == before


def test_the_number_of_all_hypotheses_is_bounded(tmp_path: Path, people, capsys) -> None:
    path = save(tmp_path / "many.npz", people.repeat(26, 1, 1))
    error = refusal(capsys, "complete", path, "--out", tmp_path / "out.npz", "--hypotheses", "10000")
    assert "52 persons times 10,000 --hypotheses exceed 500,000" in error


def test_a_missing_extra_is_named(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    monkeypatch.delitem(sys.modules, "diffpose_core.commands.scene", raising=False)
    error = refusal(capsys, "generate", "--out", tmp_path / "a.glb")
    assert "--out .glb needs trimesh: pip install 'diffpose-core[export]'" in error


@pytest.mark.parametrize("program", [["-m", "diffpose_core"], [str(ROOT / "ros2_ws/src/diffpose_ros/cli.py")]])
def test_both_programs_know_the_commands(tmp_path: Path, program: list[str]) -> None:
    """The one beside ROS does not need ROS for these."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "ros2_ws/src")])
    done = subprocess.run(
        [sys.executable, *program, "generate", "--count", "2", "--out", "out.npz"], cwd=tmp_path, capture_output=True,
        text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 poses: out.npz\n", "")
    assert np.load(tmp_path / "out.npz")["joints"].shape == (2, 17, 3)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the viz extra")
def test_the_document_s_examples_run(tmp_path: Path, monkeypatch, capsys) -> None:
    pytest.importorskip("trimesh", reason="trimesh is not installed (the export extra)")
    monkeypatch.chdir(tmp_path)
    for name, block in re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```", DOCUMENT, re.S):
        Path(name).write_text(block)
    commands = re.findall(r"^    diffpose (.*)$", DOCUMENT, re.M)
    assert len(commands) == 9
    for command in commands:
        assert run(*shlex.split(command)) == 0, (command, capsys.readouterr().err)
        for written in re.findall(r"--(?:out|picture) (\S+)", command):
            assert Path(written).stat().st_size > 500
    assert {"seen.json", "legs.json"} <= {path.name for path in tmp_path.iterdir()}
