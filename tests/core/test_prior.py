import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from diffpose_core import H36M17, PosePrior
from diffpose_core.prior import Denoiser, DenoiserConfig, karras_sigmas, load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.from_pretrained()


def test_schedule_literal_values():
    sigmas = karras_sigmas(3, 0.1, 3.0)
    # middle: ((3^(1/7) + 0.1^(1/7)) / 2)^7
    assert sigmas.tolist() == pytest.approx([3.0, ((3 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7, 0.1], rel=1e-5)


def test_untrained_denoiser_is_the_preconditioned_skip():
    model = Denoiser(DenoiserConfig(width=16, blocks=1, noise_channels=8))
    x = torch.randn(5, 51)
    out = model(x, torch.full((5,), 2.0))
    torch.testing.assert_close(out[:, 3:], x[:, 3:] / 5.0)
    assert (out[:, :3] == 0).all()


def test_samples_are_human(prior):
    joints = prior.sample(200, torch.Generator().manual_seed(0))
    assert joints.shape == (200, 17, 3)
    assert (joints[:, 0] == 0).all()
    thigh = (joints[:, 2] - joints[:, 1]).norm(dim=-1)
    assert 0.33 < thigh.median() < 0.5
    left = (joints[:, 5] - joints[:, 4]).norm(dim=-1)
    assert (thigh - left).abs().median() < 0.04
    head_up = -(joints[:, H36M17.index("HeadTop"), 1])
    assert (head_up > 0).float().mean() > 0.9
    assert joints.std(0)[1:].min() > 0.01
    # The augmented training poses reach from 0.68 m above the pelvis to 0.70 m below it in the mean.
    assert float(head_up.mean()) == pytest.approx(0.68, abs=0.03)
    assert float(joints[:, [3, 6], 1].mean()) == pytest.approx(0.70, abs=0.03)


def test_same_seed_same_bits(prior):
    a, b = (prior.sample(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, prior.sample(3, torch.Generator().manual_seed(6)))


def test_covariance_grows_with_noise_and_is_interpolated(prior):
    traces = [float(prior.covariance(s).trace()) for s in (0.05, 0.1, 0.5, 1.0, 3.0)]
    assert traces == sorted(traces)
    low, middle, high = (float(prior.covariance(s).trace()) for s in (0.30, 0.31, 0.32))
    assert low < middle < high
    assert torch.linalg.eigvalsh(prior.covariance(0.31)).min() > -1e-5


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


def rewrite(path, change_tensors=None, change_meta=None):
    with safe_open(path, "pt") as f:
        tensors, meta = {k: f.get_tensor(k) for k in f.keys()}, f.metadata()  # noqa: SIM118
    if change_tensors:
        change_tensors(tensors)
    if change_meta:
        change_meta(meta)
    save_file(tensors, path, meta)


def test_checkpoint_round_trip(checkpoint):
    model, sigmas, covariances, meta = load_checkpoint(checkpoint)
    assert model.config.width == 16
    assert sigmas.tolist() == pytest.approx([1.0, 0.1])
    assert covariances.shape == (2, 51, 51)
    assert meta["training_data"] == "note"
    assert json.loads(meta["joints"]) == list(H36M17.joints)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        PosePrior.from_pretrained(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, 1000, -1])
def test_truncated_checkpoint(checkpoint, keep):
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[:keep])
    with pytest.raises(ValueError, match="not a readable safetensors"):
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


def test_wrong_contents_are_named(checkpoint):
    original = checkpoint.read_bytes()
    cases = {
        "head.weight has shape": lambda t: t.update({"denoiser.head.weight": torch.zeros(3, 3)}),
        "tensor names differ": lambda t: t.pop("denoiser.head.bias"),
        "not finite": lambda t: t["denoiser.head.bias"].fill_(torch.nan),
        "type torch.float16": lambda t: t.update({"denoiser.head.bias": t["denoiser.head.bias"].half()}),
        "positive and falling": lambda t: t["covariance.sigmas"].copy_(torch.tensor([0.1, 1.0])),
    }
    for message, change in cases.items():
        checkpoint.write_bytes(original)
        rewrite(checkpoint, change_tensors=change)
        with pytest.raises(ValueError, match=message):
            PosePrior.from_pretrained(checkpoint)
    for field, value in {"format": "other", "skeleton": "SMPL", "denoiser": '{"width": -1}'}.items():
        checkpoint.write_bytes(original)
        rewrite(checkpoint, change_meta=lambda m, f=field, v=value: m.update({f: v}))
        with pytest.raises(ValueError, match="width" if field == "denoiser" else field):
            PosePrior.from_pretrained(checkpoint)
