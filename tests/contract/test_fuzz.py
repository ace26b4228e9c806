# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A small part of what ``python -m diffpose_ros.reliability fuzz`` and ``corrupt`` do at length."""

import copy
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffpose_ros.reliability.corrupt import outcome
from diffpose_ros.reliability.damage import corrupted, source_files
from diffpose_ros.reliability.fuzz_targets import TARGETS, heatmaps
from diffpose_ros.reliability.fuzz_worker import Counters
from diffpose_ros.reliability.malform import malform, malform_bytes


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_are_taken(name):
    for seed in TARGETS[name].seeds():
        if name != "parameters":
            TARGETS[name].use(copy.deepcopy(seed))


@pytest.mark.parametrize("name", [n for n in TARGETS if n != "checkpoint"])
def test_malformed_inputs_are_refused_or_right(name):
    target = TARGETS[name]
    seeds = target.seeds()
    refused = []

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.randoms(use_true_random=False), st.integers(0, len(seeds) - 1))
    def run(rng, number):
        seed = copy.deepcopy(seeds[number])
        if target.kind is None:
            seed = malform_bytes(rng, seed)
        else:
            malform(rng, seed)
        try:
            target.use(seed)
        except ValueError as error:
            refused.append(str(error))

    run()
    assert refused
    assert all(refused)


def test_bytes_that_are_no_message_end_no_process(tmp_path):
    command = [sys.executable, "-m", "diffpose_ros.reliability.fuzz_worker", "heatmaps", "bytes", "--runs", "100"]
    command += ["--folder", str(tmp_path), "--counts", str(tmp_path / "counts")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    counts = Counters(tmp_path / "counts").values()
    assert counts["runs"] == counts["refused"] + counts["not_deserialized"] + counts["taken"]
    assert counts["not_deserialized"] > 10
    assert counts["refused"] + counts["taken"] > 0


@pytest.mark.parametrize("persons", [0, 1])
def test_announced_tiles_take_no_memory(persons):
    message = heatmaps()[0]
    del message.persons[persons:]
    message.tile_height = message.tile_width = 65535
    with pytest.raises(ValueError, match=r"tile_height and tile_width must lie in 4\.\.1024, got 65535 x 65535"):
        TARGETS["heatmaps"].use(message)


@pytest.mark.parametrize("value", [1e30, -3e38, 1.1e6])
def test_values_out_of_all_range_are_refused(value):
    message = heatmaps()[0]
    message.persons[0].tile_to_image[2] = value
    with pytest.raises(ValueError, match="tile_to_image must lie within 1e\\+06 px"):
        TARGETS["heatmaps"].use(message)
    (hypotheses,) = TARGETS["hypotheses"].seeds()
    hypotheses.persons[1].joints[4] = value
    with pytest.raises(ValueError, match="joints must lie within 1e\\+06 m"):
        TARGETS["hypotheses"].use(hypotheses)


def test_malforming_changes_every_kind_of_field():
    seed = heatmaps()[0]
    changed = set()
    for number in range(400):
        message = copy.deepcopy(seed)
        malform(random.Random(number), message, changes=1)
        if len(message.persons) == 1:
            for part, before in ((message, seed), (message.persons[0], seed.persons[0])):
                for name in part.get_fields_and_field_types():
                    a, b = getattr(part, name), getattr(before, name)
                    if not np.array_equal(a, b) if isinstance(a, np.ndarray) else a != b:
                        changed.add(name)
    assert {
        "header",
        "camera_info",
        "skeleton",
        "joint_names",
        "tile_height",
        "persons",
        "box",
        "visibility",
    } <= changed


def test_corrupted_checkpoints_are_refused(tmp_path):
    sources = source_files()
    kinds = set()
    for number in range(45):
        kind, _, data = corrupted(7, number, sources, str(tmp_path / "executed"))
        (tmp_path / "prior.safetensors").write_bytes(data)
        found = outcome(tmp_path / "prior.safetensors")
        assert found != "LOADED", kind
        assert not found.startswith("FAILED"), (kind, found)
        kinds.add(kind)
    assert len(kinds) == 15
    assert not (tmp_path / "executed").exists()


def test_a_std_whose_square_overflows_is_refused():
    from diffpose_core.checks import checked_std

    assert checked_std("std", 1e9, (2,)).tolist() == [1e9, 1e9]
    with pytest.raises(ValueError, match="std must be at most 1e\\+09, got 1e\\+30"):
        checked_std("std", 1e30, (2,))


def test_heatmaps_that_the_camera_cannot_have_are_refused_not_failed():
    """Found by fuzzing a node: a tile that is sheared far out of a wide-angle camera's image."""
    from diffpose_core import PoseEstimator, PosePrior, SamplerConfig
    from diffpose_ros.conversions import heatmaps_from_message

    message = heatmaps()[0]
    message.persons[0].tile_to_image[3] = 640.0
    found, camera = heatmaps_from_message(message)
    estimator = PoseEstimator(PosePrior.from_pretrained(), "cpu", SamplerConfig(steps=1))
    with pytest.raises(ValueError, match="its likelihood is not finite"):
        estimator(found, camera, 2, torch.Generator().manual_seed(0))
