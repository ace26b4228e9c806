# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Completion of partly known poses: what is missing, the simple ways that it is compared with, the report."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import write_motion

from diffpose_core import H36M17, PoseEstimator, PosePrior
from diffpose_core.evaluation.completers import (
    AlignedPoses,
    Gaussian,
    GaussianAligned,
    GaussianAsSeen,
    MeanPose,
    NearestPoses,
    best_turn,
    centred,
    mirrored,
    turn,
)
from diffpose_core.evaluation.completion import CASES, missing_joints, score_missing
from diffpose_core.sampler import COMPLETING

SCRIPT = Path(__file__).parents[2] / "training" / "completion.py"
J = H36M17.index
COUNTS = {
    "arm": 3, "leg": 3, "lower body": 7, "upper body": 10, "left half": 6, "1 joint": 1, "4 joints": 4, "8 joints": 8,
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


@pytest.fixture(scope="module")
def poses(prior: PosePrior) -> torch.Tensor:
    return prior.sample(400, seeded(1))


@pytest.mark.parametrize("case", CASES)
def test_every_case_misses_as_many_joints_of_everybody(case: str) -> None:
    missing = missing_joints(case, 40, seeded())
    assert missing.sum(-1).tolist() == [COUNTS[case]] * 40


def test_what_is_missing_is_what_the_case_says() -> None:
    names = {
        case: {
            tuple(H36M17.joints[i] for i in row.nonzero()[:, 0].tolist()) for row in missing_joints(case, 40, seeded())
        }
        for case in ("leg", "left half")
    }
    assert names["leg"] == {("RHip", "RKnee", "RAnkle"), ("LHip", "LKnee", "LAnkle")}
    assert names["left half"] == {("LHip", "LKnee", "LAnkle", "LShoulder", "LElbow", "LWrist")}
    assert len({tuple(row) for row in missing_joints("4 joints", 40, seeded()).tolist()}) > 30
    with pytest.raises(ValueError, match="got 'head'"):
        missing_joints("head", 1, seeded())


def test_scores_count_missing_joints_alone() -> None:
    """Two hypotheses 30 and 50 mm off at one joint of two, exact at the other; metres off at a joint that is known."""
    truth = torch.zeros(1, 17, 3)
    samples = torch.zeros(1, 2, 17, 3)
    samples[0, :, J("LWrist"), 0] = torch.tensor([0.03, 0.05])
    samples[0, :, J("Nose"), 1] = 7.0
    missing = torch.zeros(1, 17, dtype=torch.bool)
    missing[0, [J("LWrist"), J("LElbow")]] = True
    row = score_missing(samples, truth, missing)
    assert row["best of 1"].item() == pytest.approx(20)  # the mean of 40 and 0
    assert "best of 10" not in row
    assert row["energy score"].item() == pytest.approx((40 - 0.5 * 20) / 2)
    assert row["energy score together"].item() == pytest.approx(30 / math.sqrt(2))
    assert row["inside 0.9, z"].item() == 1
    assert row["inside 0.9"].item() == pytest.approx(5 / 6)


@given(st.floats(-3.1, 3.1), st.integers(0, 399))
@settings(max_examples=20, deadline=None)
def test_the_best_turn_undoes_a_turn(poses: torch.Tensor, angle: float, which: int) -> None:
    known = missing_joints("upper body", 1, seeded())[0]
    pose, _ = centred(poses[which], known)
    there = best_turn(turn(pose, torch.tensor(angle)), pose, known)
    assert math.cos(float(there) + angle) == pytest.approx(1, abs=1e-4)


def test_a_conditional_gaussian_is_the_textbook_one() -> None:
    """x of variance 4, y of variance 9 and covariance 3; x seen as 2 above its mean, with variance 1."""
    mean, covariance = torch.zeros(51, dtype=torch.float64), torch.eye(51, dtype=torch.float64)
    mean[0], mean[3] = 5.0, 7.0
    covariance[0, 0], covariance[3, 3], covariance[0, 3], covariance[3, 0] = 4.0, 9.0, 3.0, 3.0
    joints, known = torch.zeros(17, 3), torch.zeros(17, dtype=torch.bool)
    joints[0, 0], known[0] = 7.0, True
    told = Gaussian(mean, covariance).given(joints, known, 1.0)
    assert told.mean[3].item() == pytest.approx(7 + 3 * 2 / 5)
    assert told.covariance[3, 3].item() == pytest.approx(9 - 3 * 3 / 5)
    drawn = told.draw(20_000, seeded()).flatten(1)
    assert drawn[:, 3].mean().item() == pytest.approx(8.2, abs=0.1)
    assert drawn[:, 3].var().item() == pytest.approx(7.2, rel=0.05)


def test_gaussian_completion_is_exact_where_poses_are_gaussian() -> None:
    """Joints of one another's sums: what is missing follows from what is known, wherever the person stands."""
    base = torch.randn(3000, 6, 3, generator=seeded())
    mix = torch.randn(17, 6, generator=seeded(1))
    people = torch.einsum("jk,nkc->njc", mix, base)
    people = people - people[:, :1]
    known = ~missing_joints("arm", 5, seeded(2))
    there = people[:5] + torch.tensor([3.0, 1.0, 6.0])
    post = GaussianAsSeen(people)(there, known, 1e-4, 10, seeded(3))
    torch.testing.assert_close(post, there[:, None].expand_as(post), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "way", [NearestPoses, lambda p: GaussianAligned(AlignedPoses(p)), lambda p: MeanPose(AlignedPoses(p))]
)
def test_ways_that_place_poses_turn_and_move_with_what_is_known(poses: torch.Tensor, way) -> None:
    completer = way(poses)
    known = ~missing_joints("4 joints", 3, seeded(2))
    here = completer(poses[:3], known, 0.01, 4, seeded(5))
    there = turn(poses[:3], torch.tensor([1.0, 1.0, 1.0])) + torch.tensor([0.5, -0.2, 4.0])
    moved = completer(there, known, 0.01, 4, seeded(5))
    expected = turn(here, torch.ones(3, 4)) + torch.tensor([0.5, -0.2, 4.0])
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


def test_the_nearest_pose_of_a_training_pose_is_that_pose(poses: torch.Tensor) -> None:
    known = ~missing_joints("leg", 5, seeded(2))
    there = turn(poses[:5], torch.linspace(-2, 2, 5)) + torch.tensor([0.5, -0.2, 4.0])
    found = NearestPoses(poses)(there, known, 0.01, 1, seeded())
    torch.testing.assert_close(found[:, 0], there, atol=1e-4, rtol=0)


def symmetric(turned: torch.Tensor) -> torch.Tensor:
    pose = torch.zeros(17, 3)
    for name, place in {
        "Spine": (0, -0.25, 0), "Thorax": (0, -0.5, 0), "Nose": (0, -0.6, -0.1), "HeadTop": (0, -0.75, 0),
        "LHip": (0.13, 0, 0), "LKnee": (0.2, 0.4, -0.2), "LAnkle": (0.3, 0.8, 0.1),
        "LShoulder": (0.17, -0.5, 0), "LElbow": (0.4, -0.3, -0.1), "LWrist": (0.5, -0.5, -0.3),
    }.items():  # fmt: skip
        pose[J(name)] = torch.tensor(place)
    for joint, other in enumerate(H36M17.mirror):
        if H36M17.joints[joint].startswith("R"):
            pose[joint] = pose[other] * torch.tensor([-1.0, 1, 1])
    q, _ = torch.linalg.qr(turned)
    return pose @ q.T + torch.tensor([1.0, 2.0, 3.0])


@given(st.integers(0, 1000), st.sampled_from(["arm", "leg", "left half", "4 joints"]))
@settings(max_examples=30, deadline=None)
def test_a_mirrored_limb_of_a_symmetric_pose_is_exact(seed: int, case: str) -> None:
    pose = symmetric(torch.randn(3, 3, generator=seeded(seed)))[None]
    missing = missing_joints(case, 1, seeded(seed))
    image, there = mirrored(torch.where(missing[..., None], 99.0, pose), ~missing)
    assert not (there & ~missing).any()
    if case != "4 joints":
        assert torch.equal(there, missing)
    torch.testing.assert_close(image[there], pose[there], atol=1e-5, rtol=0)


def test_nothing_is_mirrored_where_both_sides_or_the_trunk_are_missing() -> None:
    pose = symmetric(torch.eye(3))[None]
    for case in ("lower body", "upper body"):
        assert not mirrored(pose, ~missing_joints(case, 1, seeded()))[1].any()
    known = torch.ones(1, 17, dtype=torch.bool)
    known[0, [J("LKnee"), J("Spine")]] = False
    assert not mirrored(pose, known)[1].any()


def test_joints_known_to_a_millimetre_do_not_shake_what_is_missing(prior: PosePrior, poses: torch.Tensor) -> None:
    """The spine between pelvis and thorax is known to centimetres, however exact the others are said to be."""
    known = torch.ones(4, 17, dtype=torch.bool)
    known[:, J("Spine")] = False
    people = poses[:4] + torch.tensor([0.2, 0.1, 3.5])
    post = PoseEstimator(prior, sampler=COMPLETING).complete(people, known, 0.001, 20, seeded())
    assert post.joints[:, :, J("Spine")].std(1).max() < 0.04
    assert (post.joints - people[:, None]).norm(dim=-1).median() < 0.02


def test_unusual_poses_are_completed_with_more_spread(prior: PosePrior, poses: torch.Tensor) -> None:
    """Known joints that no body has leave the missing arm far less certain, those of the prior's own people hardly."""
    known = torch.ones(8, 17, dtype=torch.bool)
    arm = [J("LShoulder"), J("LElbow"), J("LWrist")]
    known[:, arm] = False
    odd = poses[:8] + 0.05 * torch.randn(8, 17, 3, generator=seeded(3)) + torch.tensor([0.0, 0.0, 4.0])
    usual = poses[:8] + torch.tensor([0.0, 0.0, 4.0])

    def spread(joints: torch.Tensor, expected_misfit: float) -> torch.Tensor:
        sampler = replace(COMPLETING, repeats=1, expected_misfit=expected_misfit)
        post = PoseEstimator(prior, sampler=sampler).complete(joints, known, 0.001, 40, seeded())
        return post.joints[:, :, arm].var(1).sum(-1).mean(-1).sqrt()

    wider = [spread(joints, 0.7) / spread(joints, 0.0) for joints in (odd, usual)]
    assert wider[0].min() > 1.3
    assert wider[0].mean() > 1.5 * wider[1].mean()


def test_one_known_joint_says_nothing_of_how_usual_a_pose_is(prior: PosePrior, poses: torch.Tensor) -> None:
    known = torch.zeros(4, 17, dtype=torch.bool)
    known[:, J("Nose")] = True
    posts = [
        PoseEstimator(prior, sampler=replace(COMPLETING, repeats=1, expected_misfit=misfit)).complete(
            poses[:4], known, 0.01, 10, seeded()
        )
        for misfit in (0.0, 0.7)
    ]
    assert torch.equal(posts[0].joints, posts[1].joints)


def test_the_report_as_a_user_runs_it(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 6, 7, 9), split=(0, 1, 2, 2))
    out, figure = tmp_path / "completion.json", tmp_path / "completion.png"
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--poses", "4", "--seeds", "2", "--hypotheses", "4"]
    command += ["--training-poses", "300", "--cases", "arm", "lower body", "--json", str(out), "--figure", str(figure)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    report = json.loads(out.read_text())
    assert (report["poses"], list(report["cases"])) == (4, ["arm", "lower body"])
    for case, kinds in report["cases"].items():
        for known, rows in kinds.items():
            others = {"mean pose", "nearest poses", "Gaussian as seen", "Gaussian, placed"}
            pair = {"mirrored limb", "diffpose, the same joints"} if case == "arm" else set()
            assert set(rows) == {"diffpose"} | others | pair
            for row in rows.values():
                assert len(row["energy score"]) == 2
            if pair:
                assert rows["diffpose, the same joints"] == rows["diffpose"]
            best = min(sum(rows[m]["energy score"]) / 2 for m in others)
            low, lead, high = report["below_the_next_best_mm"][case][known]
            assert lead == pytest.approx(best - sum(rows["diffpose"]["energy score"]) / 2, abs=1e-3)
            assert low <= lead <= high
            assert f"| {case} | {known} | " in done.stdout
    exact, noisy = (report["cases"]["arm"][k]["mirrored limb"]["energy score"] for k in ("exact", "1 cm"))
    assert exact != noisy


def test_the_report_of_poses_that_the_prior_generated_needs_no_people(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 6, 7), split=(0, 1, 2))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--poses", "49", "--seeds", "1", "--of-the-prior"]
    command += ["--hypotheses", "20", "--training-poses", "300", "--cases", "arm", "--json", str(tmp_path / "r.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "49 poses that the prior generated" in done.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["split"], report["poses"]) == ("prior", 49)
    ours = report["cases"]["arm"]["exact"]["diffpose"]
    # The sampler might have drawn every one of these: of very many, half would lie inside.
    assert ours["inside 0.5"][0] == pytest.approx(0.5, abs=0.12)
    assert ours["energy score"][0] < 100  # of an arm that can be a metre away


def test_more_poses_than_every_subject_has_are_refused(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors", subject=(1, 6, 7), split=(0, 1, 2))
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--poses", "49"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "--poses must lie in 1..48, got 49" in done.stderr
