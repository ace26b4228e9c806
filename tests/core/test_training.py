# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Training as a user runs it: a process, or several, killed and resumed, or refused."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from diffpose_core import H36M17, PosePrior
from diffpose_core.data.prepared import SPLITS, Description, Recording, open_prepared, write_prepared
from diffpose_core.training import MixtureConfig, TrainConfig, open_data, read_settings
from diffpose_core.training.run import check_run, lock_run
from diffpose_core.training.trainer import HeldOut, shards_of

SCRIPT = Path(__file__).parents[2] / "training" / "train.py"
STEPS, SAVE_EVERY, KILLED_AT, PATIENCE = 40, 5, 10, 3
HASTY = ("--learning-rate", "0.02", "--warmup-steps", "5", "--ema", "0.5", "--patience", str(PATIENCE))
UPRIGHT = {
    "Pelvis": (0, 0, 1), "RHip": (-0.1, 0, 1), "RKnee": (-0.1, -0.05, 0.55), "RAnkle": (-0.1, 0, 0.1),
    "LHip": (0.1, 0, 1), "LKnee": (0.1, -0.05, 0.55), "LAnkle": (0.1, 0, 0.1), "Spine": (0, 0, 1.25),
    "Thorax": (0, 0, 1.5), "Nose": (0, -0.1, 1.62), "HeadTop": (0, 0, 1.75), "LShoulder": (0.18, 0, 1.45),
    "LElbow": (0.3, 0, 1.2), "LWrist": (0.35, -0.1, 1), "RShoulder": (-0.18, 0, 1.45),
    "RElbow": (-0.3, 0, 1.2), "RWrist": (-0.35, -0.1, 1),
}  # fmt: skip


def write_motion(
    path: Path,
    subject: tuple[int, ...] = (1, 2, 3),
    split: tuple[int, ...] = (0, 0, 1),
    seed: int = 0,
    upside_down: bool = False,
) -> Path:
    """A person near standing, 144 poses shared alike by the recordings walk, run, jump, and more if asked for.

    Validation subjects may stand on their heads, which is less and less expected the longer training is.
    """
    rest = np.array([UPRIGHT[name] for name in H36M17.joints], dtype=np.float32)
    noise = np.random.default_rng(seed).normal(scale=0.03, size=(144, *rest.shape)).astype(np.float32)
    parts = np.split(rest + noise, len(subject))
    names = ("walk", "run", "jump", *(f"more {i}" for i in range(3, len(subject))))
    if upside_down:
        parts = [p * np.float32([1, 1, -1]) if which == 1 else p for p, which in zip(parts, split, strict=True)]
    recordings = [
        Recording(name, str(who), SPLITS[which], 30.0, np.arange(len(joints)), joints, source=("own", "generic")[i % 2])
        for i, (name, who, which, joints) in enumerate(zip(names, subject, split, parts, strict=False))
    ]
    write_prepared(path, Description("made up", "free", "nobody"), recordings)
    return path


def run_command(data: Path, out: Path, *more: str) -> list[str]:
    command = [str(SCRIPT), "--data", str(data), "--out", str(out), "--device", "cpu", "--batch", "32", "--shard", "8"]
    return [*command, "--steps", str(STEPS), "--save-every", str(SAVE_EVERY), "--width", "32", *more]


def start(command: list[str]) -> subprocess.Popen[str]:
    pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"step {step}/"):
            return
    raise AssertionError(f"it ended before step {step}: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one piece whose held-out figures only get worse."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_motion(folder / "motion.safetensors", upside_down=True)
    status, _, err = finish(start(run_command(data, folder / "run", *HASTY)))
    assert status == 0, err
    return folder / "run"


def read_log(run: Path) -> list[dict[str, float]]:
    return json.loads((run / "log.json").read_text())


def test_killed_and_resumed_gives_the_same_weights_bit_for_bit(tmp_path: Path, whole: Path) -> None:
    data, cut = write_motion(tmp_path / "motion.safetensors", upside_down=True), tmp_path / "cut"
    victim = start(run_command(data, cut, *HASTY))
    wait_for_step(victim, KILLED_AT)
    victim.send_signal(signal.SIGKILL)
    status, _, err = finish(victim)
    assert status == -signal.SIGKILL, err
    assert (cut / "state.safetensors").is_file()
    assert not (cut / "prior.safetensors").exists()

    (cut / "state.safetensors.partial").write_bytes(b"cut off while writing")
    with SummaryWriter(str(cut / "tensorboard")) as unsaved:
        unsaved.add_scalar("held_out/loss", 0.0, STEPS + 1)
    status, out, err = finish(start(run_command(data, cut, *HASTY)))
    assert status == 0, err
    resumed_at = int(out.split("resumed at step ")[1].split()[0])
    assert KILLED_AT - SAVE_EVERY <= resumed_at < STEPS

    for name in ("prior.safetensors", "state.safetensors"):
        one, again = (load_file(run / name) for run in (whole, cut))
        assert one.keys() == again.keys()
        different = [name for name, tensor in one.items() if not torch.equal(tensor, again[name])]
        assert different == []
    assert any(tensor.abs().max() > 0 for name, tensor in one.items() if name.endswith("project.weight"))

    logs = [read_log(run) for run in (whole, cut)]
    for entry in (*logs[0], *logs[1]):
        assert entry.pop("elapsed_s") > 0
    assert logs[0] == logs[1]

    begun = json.loads((cut / "run.json").read_text())["starts"]
    assert [start["from_step"] for start in begun] == [0, resumed_at]
    board = events(cut)
    assert [e.step for e in board.Scalars("held_out/loss")] == [entry["step"] for entry in logs[0]]
    prior = PosePrior.from_pretrained(cut / "prior.safetensors")
    assert torch.isfinite(prior.sample(2, torch.Generator().manual_seed(0), steps=2)).all()


def events(run: Path) -> EventAccumulator:
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return board


def test_training_stops_when_held_out_people_gain_no_more_and_the_best_weights_come_out(whole: Path) -> None:
    log = read_log(whole)
    losses = [entry["held_out_loss"] for entry in log]
    assert losses[0] == min(losses)
    assert [entry["step"] for entry in log] == [5, 10, 15, 20]
    assert "stopped at step 20: no lower held-out loss in 3 validations" in (whole / "train.log").read_text()

    settings = read_settings(whole / "config.yaml")
    _, validation = open_data(settings.mixture)
    world = validation.sample(settings.mixture.validation_poses)
    held_out = HeldOut(world, settings, torch.device("cpu"))
    figures = held_out.figures(PosePrior.from_pretrained(whole / "prior.safetensors").model)
    assert figures["held_out_loss"] == pytest.approx(losses[0], rel=1e-6)
    assert figures["rmse_mm@0.5"] == pytest.approx(log[0]["rmse_mm@0.5"], rel=1e-6)
    assert figures["held_out_loss"] < losses[-1]


def test_the_run_folder_repeats_the_run(whole: Path) -> None:
    about = json.loads((whole / "run.json").read_text())
    (data,), (begun,) = about["data"], about["starts"]
    prepared = open_prepared(whole.parent / "motion.safetensors")
    assert (data["file"], data["sha256"]) == ("motion.safetensors", prepared.sha256)
    assert data["description"]["licence"] == "free"
    assert "train.py --data" in begun["command"]
    assert begun["packages"]["torch"] == torch.__version__
    assert begun["processes"] == 1
    metadata = PosePrior.from_pretrained(whole / "prior.safetensors").metadata
    assert metadata["training_data"].startswith("Trained on made up (licence: free; to cite: nobody).")
    assert json.loads(metadata["settings"])["mixture"]["data"] == ["motion.safetensors"]
    assert str(whole.parent) not in json.dumps(metadata)
    card = (whole / "MODEL_CARD.md").read_text()
    best = min(read_log(whole), key=lambda entry: entry["held_out_loss"])
    for words in (
        hashlib.sha256((whole / "prior.safetensors").read_bytes()).hexdigest(), prepared.sha256["joints"], "made up",
        "licence: free", "to cite: nobody", f"| 0.5 | {best['rmse_mm@0.5']:.2f} |", "learning_rate: 0.02",
        "the weights at step 5, where", "of 20 steps made", "generic 50.0 %, own 50.0 %",
    ):  # fmt: skip
        assert words in card
    board = events(whole)
    sigmas = {f"held_out_rmse_mm/sigma_{s}" for s in ("0.05", "0.1", "0.2", "0.5", "1", "2")}
    train = {f"train/{name}" for name in ("loss", "learning_rate", "gradient_norm", "poses_per_s")}
    assert set(board.Tags()["scalars"]) == {"held_out/loss"} | sigmas | train
    picture = board.Images("generated_poses")[-1]
    assert (picture.width, picture.height) == (960, 256)
    assert len(picture.encoded_image_string) > 10_000


def test_other_settings_or_other_data_in_the_same_folder_are_refused(whole: Path, tmp_path: Path) -> None:
    data = whole.parent / "motion.safetensors"
    status, _, err = finish(start(run_command(data, whole, *HASTY, "--seed", "1")))
    assert status == 1
    assert "holds a run with other settings: seed is 0, not 1" in err
    other = write_motion(tmp_path / "motion.safetensors", seed=1)
    status, _, err = finish(start(run_command(other, whole, *HASTY)))
    assert status == 1
    assert "holds a run with other data: the checksums of motion.safetensors differ" in err


def copy_of(run: Path, to: Path, *without: str) -> Path:
    """Copy what says of a run how it goes on."""
    to.mkdir()
    for name in {"state.safetensors", "run.json", "config.yaml"} - {*without}:
        shutil.copy(run / name, to)
    return to


def test_a_state_goes_on_under_its_own_settings_alone(whole: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path / "run", "run.json")
    status, _, err = finish(start(run_command(whole.parent / "motion.safetensors", run, *HASTY, "--seed", "7")))
    assert (status, "Traceback" in err) == (1, False)
    assert f"{run / 'state.safetensors'}: the saved state is unusable: it belongs to a run with other settings" in err
    assert not (run / "prior.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"), ("[]", "data must be a list of tables"), ("{}", "data must be a list of tables, got None"),
        ('{"data": [{}], "starts": []}', r"data\[0\].sha256 must be a table, got None"),
        ('{"data": [], "starts": 1}', "starts must be a list of tables, got 1"),
        ('{"data": [], "starts": []}', "data holds 0 files"),
    ],
)  # fmt: skip
def test_a_damaged_run_json_is_named(whole: Path, tmp_path: Path, text: str, words: str) -> None:
    run = copy_of(whole, tmp_path / "run")
    write_text(run / "run.json", text)
    settings = read_settings(whole / "config.yaml")
    with pytest.raises(ValueError, match=rf"run\.json: {words}"):
        check_run(run, settings, open_data(settings.mixture)[0].files)


def test_one_training_at_a_time_and_ctrl_c_says_how_to_go_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    data, run = write_motion(tmp_path / "motion.safetensors"), tmp_path / "run"
    command = run_command(data, run, "--steps", "1000000", "--patience", "0")
    first = start(command)
    request.addfinalizer(first.kill)  # it goes on for ever otherwise, should this test fail
    wait_for_step(first, SAVE_EVERY)
    status, _, err = finish(start(command))
    assert (status, err.splitlines()[-1].startswith(f"train.py: {run}: another process trains there")) == (1, True)
    first.send_signal(signal.SIGINT)
    status, _, err = finish(first)
    assert (status, "Traceback" in err) == (130, False)
    assert "the same command goes on from the last saved state" in err
    held = lock_run(run)
    with pytest.raises(ValueError, match="another process trains there"):
        lock_run(run)
    held.close()
    lock_run(run).close()


def test_a_file_in_the_place_of_the_run_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors")
    status, _, err = finish(start(run_command(data, write_text(tmp_path / "run", ""))))
    assert (status, "Traceback" in err) == (1, False)
    assert f"File exists: '{tmp_path / 'run'}'" in err


def test_an_excluded_recording_that_no_file_holds_is_refused(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors")
    assert len(open_data(MixtureConfig((data,)))[0]) == 96  # the default names clips of one data set
    assert len(open_data(MixtureConfig((data,), exclude_recordings=("walk",)))[0]) == 48
    with pytest.raises(ValueError, match=r"exclude_recordings names \['wlak'\], which no file holds: .*motion"):
        open_data(MixtureConfig((data,), exclude_recordings=("walk", "wlak")))


def test_two_processes_train_what_one_does_and_end_when_one_is_killed(tmp_path: Path) -> None:
    data = write_motion(tmp_path / "motion.safetensors")
    more = ["--precision", "float32", "--warmup-steps", "5"]
    status, _, err = finish(start(run_command(data, tmp_path / "one", *more)))
    assert status == 0, err
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    status, _, err = finish(start([*torchrun, *run_command(data, tmp_path / "two", *more)]))
    assert status == 0, err
    assert json.loads((tmp_path / "two" / "run.json").read_text())["starts"][0]["processes"] == 2
    one, two = (load_file(tmp_path / run / "prior.safetensors") for run in ("one", "two"))
    for name, tensor in one.items():
        scale = tensor.abs().max()
        assert (tensor - two[name]).abs().max() <= 1e-5 * scale, name
        if name.endswith("project.weight"):
            assert scale > 1e-3  # it was zero at the start
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(p.name for p in (tmp_path / "two").iterdir())
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    assert (tmp_path / "two" / "train.log").read_text().count(f"step {STEPS}/") == 1

    endless = start([*torchrun, *run_command(data, tmp_path / "three", *more, "--steps", "1000000")])
    wait_for_step(endless, 5)
    workers = Path(f"/proc/{endless.pid}/task/{endless.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert finish(endless)[0] != 0


def test_processes_share_a_batch_alike_or_refuse_it() -> None:
    config = TrainConfig(batch=96, shard=16)
    assert [list(shards_of(config, process, 3)) for process in range(3)] == [[0, 3], [1, 4], [2, 5]]
    words = r"batch 96 is 6 shards of 16, which 4 processes cannot share alike: .* of 64,"
    with pytest.raises(ValueError, match=words):
        shards_of(config, 0, 4)


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    own_mib = []
    for clips in (10, 500):
        data = tmp_path / f"{clips}.safetensors"
        joints = np.tile(np.array([UPRIGHT[name] for name in H36M17.joints], dtype=np.float32), (1000, 1, 1))
        write_prepared(
            data,
            Description("standing", "free", "nobody"),
            (
                Recording(f"clip {i}", str(i % 4), SPLITS[i % 4 == 0], 30.0, np.arange(1000), joints)
                for i in range(clips)
            ),
        )
        process = start(run_command(data, tmp_path / f"run {clips}", "--steps", "1000000"))
        wait_for_step(process, 5)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        own_mib.append(int(status["RssAnon"].removesuffix("kB")) / 1024)
        process.kill()
        process.communicate()
    assert data.stat().st_size > 100e6
    assert own_mib[1] - own_mib[0] < 8


@pytest.mark.parametrize(
    ("replaced", "named"),
    [
        pytest.param(None, ["absent.safetensors"], id="no data file"),
        pytest.param({"split": (0, 0, 2)}, ["motion.safetensors", "'validation'"], id="an empty split"),
    ],
)
def test_unusable_data_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, replaced: dict[str, tuple[int, ...]] | None, named: list[str]
) -> None:
    data = tmp_path / "absent.safetensors"
    if replaced is not None:
        data = write_motion(tmp_path / "motion.safetensors", **replaced)
    status, _, err = finish(start(run_command(data, tmp_path / "run")))
    assert status not in (0, -signal.SIGKILL)
    assert "Traceback" not in err
    assert all(name in err for name in named), err
    assert not (tmp_path / "run").exists()


def test_curves_are_drawn_and_carry_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    plot_log = importlib.import_module("plot_log")
    log = [{"step": s, "loss": 1 / s, "rmse_mm@0.1": 30 + 10 / s, "rmse_mm@1": 90 + s} for s in (1, 2, 3)]
    (tmp_path / "log.json").write_text(json.dumps(log))
    picture = tmp_path / "curves.png"
    monkeypatch.setattr(sys, "argv", ["plot_log.py", str(tmp_path / "log.json"), "--out", str(picture)])
    plot_log.main()
    assert picture.stat().st_size < 200_000
    assert plot_log.read_log(picture) == log
    assert "| σ = 1 (280 mm) | 93.00 | 91.00 | 1 |" in plot_log.table(log, 0.28)
    with pytest.raises(ValueError, match=r"other\.json holds no training log"):
        plot_log.read_log(write_text(tmp_path / "other.json", '{"train": {}}'))
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        plot_log.read_log(tmp_path / "absent.json")


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
