# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints: what is written comes back; whatever else a file holds is refused by name, and never executed."""

import hashlib
import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from diffpose_core import H36M17, PosePrior
from diffpose_core.prior import Denoiser, DenoiserConfig, load_checkpoint, save_checkpoint
from diffpose_core.prior.checkpoint import DIGEST, MAX_FILE_BYTES, PACKAGED_SHA256, seal
from diffpose_core.prior.prior import packaged_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "p.safetensors"
    torch.manual_seed(0)
    save_checkpoint(
        path,
        Denoiser(DenoiserConfig(width=16, blocks=1, noise_channels=8)),
        torch.tensor([1.0, 0.1]),
        torch.eye(51).repeat(2, 1, 1),
        "note",
        {},
    )
    return path


def contents(path):
    with safe_open(path, "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata()  # noqa: SIM118 - not a dict


def reseal(path, change_tensors=lambda t: None, change_meta=lambda m: None):
    """Change a file as one does who knows the format: with a digest that is right again."""
    tensors, meta = contents(path)
    change_tensors(tensors)
    change_meta(meta)
    path.write_bytes(seal(tensors, {k: v for k, v in meta.items() if k != DIGEST}))


def rewrite_header(path, change, more=b""):
    """Change the header's JSON text, its length told rightly and the digest, where the text still has it, too."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    stored = contents(path)[1][DIGEST].encode()
    text = change(data[8 : 8 + length].decode().rstrip()).encode()
    data = (struct.pack("<Q", len(text)) + text + data[8 + length :] + more).replace(stored, b"0" * 64)
    path.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode()))


def test_checkpoint_round_trip(checkpoint):
    found = load_checkpoint(checkpoint)
    assert found.model.config.width == 16
    assert found.sigmas.tolist() == pytest.approx([1.0, 0.1])
    assert found.covariances.shape == (2, 51, 51)
    assert found.metadata["training_data"] == "note"
    assert json.loads(found.metadata["joints"]) == list(H36M17.joints)
    assert found.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_the_digest_is_that_of_the_file_with_its_own_digits_zeroed(checkpoint):
    stored = contents(checkpoint)[1][DIGEST]
    data = checkpoint.read_bytes()
    assert data.count(stored.encode()) == 1
    assert hashlib.sha256(data.replace(stored.encode(), b"0" * 64)).hexdigest() == stored


def test_the_packaged_file_is_the_one_that_the_constant_and_the_model_card_name():
    assert hashlib.sha256(packaged_checkpoint().read_bytes()).hexdigest() == PACKAGED_SHA256
    card = Path(__file__).parents[2] / "docs" / "model_card.md"
    assert f"`{PACKAGED_SHA256}`" in card.read_text()


@pytest.mark.parametrize("where", ["header", "weights", "last byte"])
def test_every_flipped_bit_is_found(checkpoint, where):
    data = bytearray(checkpoint.read_bytes())
    length = int.from_bytes(data[:8], "little")
    places = {"header": range(8, 8 + length, 7), "weights": range(8 + length, len(data), 1009), "last byte": [-1]}
    for place in places[where]:
        data[place] ^= 1
        checkpoint.write_bytes(data)
        with pytest.raises(ValueError, match=r"p\.safetensors"):
            PosePrior.from_pretrained(checkpoint)
        data[place] ^= 1
    checkpoint.write_bytes(data)
    PosePrior.from_pretrained(checkpoint)


def test_a_flipped_bit_of_the_packaged_weights_is_found(tmp_path):
    data = bytearray(packaged_checkpoint().read_bytes())
    data[-5] ^= 1
    (tmp_path / "copy.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="holds no digest"):
        PosePrior.from_pretrained(tmp_path / "copy.safetensors")
    with pytest.raises(ValueError, match=f"expected {PACKAGED_SHA256}"):
        PosePrior.from_pretrained(tmp_path / "copy.safetensors", PACKAGED_SHA256)


def test_a_stated_sha256_is_compared(checkpoint):
    right = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert PosePrior.from_pretrained(checkpoint, right.upper()).sha256 == right
    with pytest.raises(ValueError, match=f"sha256 is {right}, expected {'0' * 64}"):
        PosePrior.from_pretrained(checkpoint, "0" * 64)
    with pytest.raises(ValueError, match="expected 1111"):
        PosePrior.from_pretrained(sha256="1111")


def test_a_file_without_digest_needs_a_stated_sha256(checkpoint):
    rewrite_header(checkpoint, lambda text: text.replace(DIGEST, "something_else"))
    with pytest.raises(ValueError, match="holds no digest"):
        load_checkpoint(checkpoint)
    load_checkpoint(checkpoint, hashlib.sha256(checkpoint.read_bytes()).hexdigest())


def test_a_copy_or_a_link_of_the_packaged_file_is_taken(tmp_path):
    (tmp_path / "link.safetensors").symlink_to(packaged_checkpoint())
    assert PosePrior.from_pretrained(tmp_path / "link.safetensors").sha256 == PACKAGED_SHA256


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        PosePrior.from_pretrained(tmp_path / "nowhere.safetensors")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="dangling"):
        PosePrior.from_pretrained(tmp_path / "dangling")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="is not a regular file"):
            PosePrior.from_pretrained(path)
    with pytest.raises(ValueError, match="cannot be read"):
        PosePrior.from_pretrained("a\0b")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match="at most 1,073,741,824 are read"):
        PosePrior.from_pretrained(path)


@pytest.mark.parametrize("keep", [0, 5, 8, 100, 1000, -1])
def test_truncated_checkpoint(checkpoint, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"not a readable safetensors|is damaged"):
        PosePrior.from_pretrained(checkpoint)


def test_bytes_behind_the_end_are_refused_even_with_a_digest_of_them(checkpoint):
    rewrite_header(checkpoint, lambda text: text, more=b"more")
    with pytest.raises(ValueError, match="not fully covered"):
        PosePrior.from_pretrained(checkpoint)


def test_a_renamed_pickle_is_refused_and_not_executed(tmp_path):
    marker = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="not a readable safetensors"):
        PosePrior.from_pretrained(path)
    assert not marker.exists()


TENSORS = {
    "head.weight has shape": lambda t: t.update({"denoiser.head.weight": torch.zeros(3, 3)}),
    "tensor names differ": lambda t: t.pop("denoiser.head.bias"),
    "superfluous": lambda t: t.update(superfluous=torch.zeros(1)),
    "head.bias holds values that are not finite": lambda t: t["denoiser.head.bias"].fill_(torch.nan),
    "norm.bias holds values that are not finite": lambda t: t["denoiser.norm.bias"].fill_(torch.inf),
    "head.bias has type F16, expected F32": lambda t: t.update({"denoiser.head.bias": t["denoiser.head.bias"].half()}),
    "positive and falling": lambda t: t["covariance.sigmas"].copy_(torch.tensor([0.1, 1.0])),
    r"2\.\.1000 levels, got 1": lambda t: t.update(
        {k: v[:1].clone() for k, v in t.items() if k.startswith("covariance")}
    ),
    "must be symmetric": lambda t: t["covariance.matrices"][0, 0, 1].fill_(1.0),
    "no negative eigenvalue": lambda t: t["covariance.matrices"][1, 3, 3].fill_(-1.0),
}


@pytest.mark.parametrize("message", TENSORS)
def test_wrong_tensors_are_named(checkpoint, message):
    reseal(checkpoint, change_tensors=TENSORS[message])
    with pytest.raises(ValueError, match=message):
        PosePrior.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "other", "format is 'other'"),
        ("skeleton", "SMPL", "skeleton is 'SMPL'"),
        ("denoiser", '{"width": -1}', "width"),
        ("denoiser", '{"width": 16.5}', "whole numbers"),
        ("denoiser", '{"width": true}', "whole numbers"),
        ("denoiser", '{"width": 1e999}', "whole numbers"),
        ("denoiser", '{"width": 16, "width": 17}', "twice"),
        ("denoiser", '{"unit_m": "long"}', "unusable"),
        ("denoiser", '{"unit_m": NaN}', "unit_m"),
        ("denoiser", f'{{"unit_m": 1{"0" * 400}}}', "unusable"),
        ("denoiser", f'{{"width": {"1" * 5000}}}', "unusable"),
        ("denoiser", '{"run": "rm"}', "unusable"),
        ("denoiser", "[16]", "unusable"),
        ("denoiser", "[" * 100_000, "unusable"),
        # 110 GB, if it were built before it is compared with the file.
        ("denoiser", '{"width": 4096, "blocks": 512}', "tensor names differ"),
    ],
)
def test_wrong_metadata_is_named(checkpoint, field, value, message):
    reseal(checkpoint, change_meta=lambda m: m.update({field: value}))
    with pytest.raises(ValueError, match=message):
        PosePrior.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1] + ',"covariance.sigmas":{}}', "twice"),
        (lambda text: text.replace('"shape":[2]', '"shape":[2],"more":1'), "must hold dtype, shape and data_offsets"),
        (lambda text: text.replace('"shape":[2]', '"shape":[2,1]'), r"has shape \(2, 1\)"),
        (lambda text: text.replace('"shape":[2]', '"shape":[18446744073709551615,2]'), "overflow"),
        (lambda text: text.replace('"dtype":"F32"', '"dtype":"F4"', 1), "has type F4"),
        (lambda text: text.replace('"dtype":"F32"', '"dtype":["F32"]', 1), "has type"),
        (lambda text: text.replace('"note"', "7"), "texts by name"),
        (lambda text: text[:-1], "its header"),
        (lambda text: "[" * 100_000 + text, "its header"),
        (lambda text: f"[{text}]", "its header is a list"),
        (lambda text: text.replace(f'"{DIGEST}":', f'"{DIGEST}" :'), "0 times, expected once"),
    ],
)  # fmt: skip
def test_wrong_headers_are_refused(checkpoint, change, message):
    rewrite_header(checkpoint, change)
    with pytest.raises(ValueError, match=message):
        PosePrior.from_pretrained(checkpoint)


def test_places_that_overlap_are_refused(checkpoint):
    def overlap(text):
        header = json.loads(text)
        offsets = header["denoiser.head.bias"]["data_offsets"]
        same = next(n for n, e in header.items() if n.startswith("denoiser.blocks") and e.get("shape") == [16])
        header[same]["data_offsets"] = [offsets[0], offsets[0] + 64]
        return json.dumps(header, separators=(",", ":"))

    rewrite_header(checkpoint, overlap)
    with pytest.raises(ValueError, match="invalid offset"):
        PosePrior.from_pretrained(checkpoint)


@pytest.mark.parametrize("length", [2**63, 2**40, 2**22 + 1])
def test_a_header_that_announces_more_than_there_is_takes_no_memory(checkpoint, length):
    checkpoint.write_bytes(struct.pack("<Q", length) + checkpoint.read_bytes()[8:])
    with pytest.raises(ValueError, match=f"the header announces {length:,} bytes"):
        PosePrior.from_pretrained(checkpoint)
