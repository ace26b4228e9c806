# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints damaged by chance, forged by someone who knows the format, or replaced by other files. No ROS."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from diffpose_core.prior.checkpoint import DIGEST, seal
from diffpose_core.prior.prior import packaged_checkpoint

Damage = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Trap:
    """Its pickle makes a file when it is loaded."""

    path: str

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def header_end(data: bytes) -> int:
    """Return where the tensors begin."""
    return 8 + int.from_bytes(data[:8], "little")


def flip(data: bytes, places: list[int]) -> bytes:
    """Flip these bits of a file."""
    result = bytearray(data)
    for place in places:
        result[place // 8] ^= 1 << place % 8
    return bytes(result)


def some_part(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Return where a random part begins and ends, most of them short."""
    at, size = rng.randrange(len(data)), 2 ** rng.randrange(17)
    return at, min(at + size, len(data))


def exchanged(rng: random.Random, data: bytes) -> bytes:
    """Exchange two blocks of equal size."""
    size = 2 ** rng.randrange(2, 16)
    a, b = sorted(rng.randrange(len(data) // size) * size for _ in range(2))
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :] if b > a else data


def header_number(rng: random.Random, data: bytes) -> bytes:
    """Change one digit of the header."""
    digits = [i for i in range(8, header_end(data)) if 48 <= data[i] < 58]
    at = rng.choice(digits)
    return data[:at] + str(rng.randrange(10)).encode() + data[at + 1 :]


def header_rewritten(rng: random.Random, data: bytes) -> bytes:
    """Change one tensor's entry, the file else consistent."""
    end = header_end(data)
    header = json.loads(data[8:end])
    name = rng.choice([n for n in header if n != "__metadata__"])
    entry = header[name]
    change = rng.randrange(6)
    if change == 0:
        entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I32", "U8", "BOOL", "F4", "F8_E4M3", "", 7])
    elif change == 1:
        entry["shape"] = [rng.choice([0, -1, 2**31, 2**63, 2**64, 51.5, "51"]), *entry["shape"][1:]]
    elif change == 2:
        entry["data_offsets"] = [rng.randrange(-8, 2**40), rng.randrange(2**63)]
    elif change == 3:
        header[name + rng.choice("abc")] = header.pop(name)
    elif change == 4:
        other = rng.choice([n for n in header if n != "__metadata__" and n != name])
        header[name], header[other] = header[other], header[name]
    else:
        header.pop(name)
    return with_header(json.dumps(header, separators=(",", ":")), data[end:])


def with_header(text: str, tensors: bytes) -> bytes:
    """Return a safetensors file of these parts."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw + tensors


def metadata_changed(rng: random.Random, data: bytes) -> bytes:
    """Change what the metadata say, nothing else."""
    end = header_end(data)
    header = json.loads(data[8:end])
    meta = header["__metadata__"]
    key = rng.choice(sorted(meta))
    change = rng.randrange(4)
    if change == 0:
        meta.pop(key)
    elif change == 1:
        meta[key] = rng.choice(["", "0" * 64, "[" * 10_000, "\0", "{}", meta[key] + " ", meta[key][::-1]])
    elif change == 2:
        meta[key] = rng.choice([None, 1, [], {}])
    else:
        meta["more"] = "text"
    return with_header(json.dumps(header, separators=(",", ":")), data[end:])


def header_length(rng: random.Random, data: bytes) -> bytes:
    """Announce another header length."""
    length = rng.choice([rng.randrange(2**64), rng.randrange(len(data)), 0, 2**63, 2**40, header_end(data) - 9])
    return struct.pack("<Q", length) + data[8:]


def inserted(rng: random.Random, data: bytes) -> bytes:
    """Insert random bytes."""
    at, _ = some_part(rng, data)
    return data[:at] + rng.randbytes(rng.randrange(1, 64)) + data[at:]


def cut_out(rng: random.Random, data: bytes) -> bytes:
    """Leave a part out."""
    start, end = some_part(rng, data)
    return data[:start] + data[end:]


def overwritten(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a part with zeros, ones or random bytes."""
    start, end = some_part(rng, data)
    size = end - start
    return data[:start] + rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)]) + data[end:]


BY_CHANCE: dict[str, Damage] = {
    "a bit of the header": lambda r, d: flip(d, [r.randrange(8 * header_end(d))]),
    "a bit of the weights": lambda r, d: flip(d, [r.randrange(8 * header_end(d), 8 * len(d))]),
    "several bits": lambda r, d: flip(d, [r.randrange(8 * len(d)) for _ in range(r.randrange(2, 65))]),
    "cut off": lambda r, d: d[: r.choice([r.randrange(len(d)), r.randrange(header_end(d)), len(d) - 1])],
    "bytes appended": lambda r, d: d + r.randbytes(r.randrange(1, 10_000)),
    "bytes inserted": inserted,
    "a part left out": cut_out,
    "a part overwritten": overwritten,
    "blocks exchanged": exchanged,
    "another header length": header_length,
    "a digit of the header": header_number,
    "a tensor's entry rewritten": header_rewritten,
    "metadata changed": metadata_changed,
}


def forged(rng: random.Random, data: bytes) -> bytes:
    """Write contents that are wrong under a digest that is right."""
    tensors = safetensors.torch.load(data)
    meta: dict[str, str] = json.loads(data[8 : header_end(data)])["__metadata__"]
    meta.pop(DIGEST, None)
    name = rng.choice(sorted(n for n in tensors if n.startswith("denoiser.")))
    matrices = tensors["covariance.matrices"]
    changes: list[Callable[[], Any]] = [
        lambda: tensors[name].view(-1)[rng.randrange(tensors[name].numel())].fill_(rng.choice([torch.nan, torch.inf])),
        lambda: tensors.update({name: tensors[name].to(rng.choice([torch.float16, torch.float64, torch.int32]))}),
        lambda: tensors.update({name: tensors[name].flatten()[1:].clone()}),
        lambda: tensors.update({name: tensors[name][None].clone()}),
        lambda: tensors.pop(name),
        lambda: tensors.update({f"{name}.more": torch.zeros(rng.randrange(1, 100))}),
        lambda: tensors["covariance.sigmas"].copy_(tensors["covariance.sigmas"].flip(0)),
        lambda: tensors["covariance.sigmas"][rng.randrange(len(matrices))].neg_(),
        lambda: matrices[rng.randrange(len(matrices)), 1, 2].add_(rng.uniform(1, 9)),
        lambda: matrices[rng.randrange(len(matrices)), 5, 5].fill_(-1.0),
        lambda: meta.update(format=rng.choice(["diffpose-prior-2", "", "pt"])),
        lambda: meta.update(skeleton=rng.choice(["SMPL", "COCO17", ""])),
        lambda: meta.update(denoiser=config_forged(rng, json.loads(meta["denoiser"]))),
    ]
    rng.choice(changes)()
    return seal(tensors, meta)


def config_forged(rng: random.Random, config: dict[str, Any]) -> str:
    """Return a configuration that does not fit the tensors or is out of range."""
    name = rng.choice(["width", "blocks", "noise_channels"])
    value = rng.choice([0, -1, 1.5, 10**9, 10**400, True, None, "384", [384], float("nan"), config[name] + 2, 4096])
    return json.dumps({**config, name: value})


def other_file(rng: random.Random, marker: str) -> bytes:
    """Return a file of another kind; pickles of them would make ``marker``."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(marker)))
    saved = io.BytesIO()
    torch.save({"model": Trap(marker), "weights": torch.zeros(3)}, saved)
    tensor: dict[str, Tensor] = {"x": torch.zeros(rng.randrange(1, 50))}
    return rng.choice([
        *(pickle.dumps(Trap(marker), protocol) for protocol in range(6)),
        pickle.dumps({"state_dict": [Trap(marker)], "n": rng.random()}),
        zipped.getvalue(),
        saved.getvalue(),
        with_header("{}", pickle.dumps(Trap(marker))),
        safetensors.torch.save(tensor, {"format": "pt"}),
        b"",
        rng.randbytes(rng.randrange(1, 10_000)),
        bytes(rng.randrange(1, 10_000)),
        b"<!DOCTYPE html><html><body>404: not found</body></html>",
        b'{"weights": [1.0, 2.0]}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 6877404\n",
        b"GGUF" + rng.randbytes(500),
        b"\x08\x07\x12\x07pytorch:" + rng.randbytes(500),
        b"\x89HDF\r\n\x1a\n" + rng.randbytes(500),
    ])  # fmt: skip


def corrupted(seed: int, number: int, sources: dict[str, bytes], marker: str) -> tuple[str, str, bytes]:
    """Return the kind, the source and the bytes of one corrupted file: the same for the same seed and number."""
    rng = random.Random(f"{seed} {number}")
    kinds = [*BY_CHANCE, "forged with a right digest", "another file"]
    kind = kinds[number % len(kinds)]
    source = rng.choice(sorted(sources))
    while True:
        if kind == "another file":
            return kind, "none", other_file(rng, marker)
        damage = BY_CHANCE.get(kind, forged)
        data = damage(rng, sources[source])
        if data not in sources.values():
            return kind, source, data


def source_files() -> dict[str, bytes]:
    """Return the packaged file and the same prior as training writes it now."""
    packaged = packaged_checkpoint().read_bytes()
    meta = json.loads(packaged[8 : header_end(packaged)])["__metadata__"]
    return {"packaged": packaged, "with a digest": seal(safetensors.torch.load(packaged), meta)}
