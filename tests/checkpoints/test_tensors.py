"""Reading files of tensors: what is plain data is read, and nothing in a file is run."""

import argparse
import collections
import os
import pickle
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from throughtime import ExaminationError
from throughtime.checkpoints.tensors import read_tensors, without_wrappers

GRU = nn.GRU(2, 3)
NAMES = [f"{kind}_{side}_l0" for kind in ("weight", "bias") for side in ("ih", "hh")]


class Options(dict):
    """A dict with a class of its own, as training frameworks keep their options in."""


class Attack:
    """Code that a pickle would run."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def names(path):
    return [(place, name) for place, name in read_tensors(path).tensors]


def test_a_state_dict(tmp_path) -> None:
    torch.save(GRU.state_dict(), tmp_path / "new.pt")
    torch.save(GRU.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(GRU.state_dict(), tmp_path / "new.safetensors")
    for file in ("new.pt", "old.pt"):
        assert names(tmp_path / file) == [((), name) for name in NAMES]
    found = read_tensors(tmp_path / "new.safetensors").tensors
    assert {name for _, name in found} == set(NAMES)
    assert torch.equal(found[(), "weight_hh_l0"], GRU.weight_hh_l0)


def test_dicts_lists_and_the_state_of_an_optimiser_around_it(tmp_path) -> None:
    optimiser = torch.optim.Adam(GRU.parameters())
    GRU(torch.ones(1, 1, 2))[0].sum().backward()
    optimiser.step()
    whole = {"epoch": 3, "models": [GRU.state_dict()], "optimizer": optimiser.state_dict(), "best": torch.tensor(1.0)}
    torch.save(whole, tmp_path / "checkpoint.pth.tar")
    found = names(tmp_path / "checkpoint.pth.tar")
    assert found[: len(NAMES)] == [(("models", "0"), name) for name in NAMES]
    assert ((), "best") in found


@pytest.mark.parametrize(
    "extra", [argparse.Namespace(lr=0.1), np.float64(0.5), np.arange(3), {"path": [PurePosixPath("a"), slice(3)]}]
)
def test_what_is_no_plain_data_beside_it_is_left_out(tmp_path, extra) -> None:
    torch.save({"state_dict": GRU.state_dict(), "extra": extra}, tmp_path / "model.ckpt")
    stored = read_tensors(tmp_path / "model.ckpt")
    assert [name for _, name in stored.tensors] == NAMES
    assert stored.unread


@pytest.mark.parametrize("extra", [Options(lr=0.1), collections.deque([1])])
def test_what_only_its_own_class_can_fill_is_refused_with_what_to_do(tmp_path, extra) -> None:
    torch.save({"state_dict": GRU.state_dict(), "extra": extra}, tmp_path / "model.ckpt")
    with pytest.raises(ExaminationError, match=type(extra).__name__ + r".*torch\.save\(model\.state_dict\(\)"):
        read_tensors(tmp_path / "model.ckpt")


def test_nothing_is_run(tmp_path) -> None:
    victim = tmp_path / "made"
    torch.save({"state_dict": GRU.state_dict(), "extra": Attack(str(victim))}, tmp_path / "model.pt")
    with pytest.raises(ExaminationError, match=r"holds whole pickled objects .*posix\.mkdir.*nothing in a file is run"):
        read_tensors(tmp_path / "model.pt")
    assert not victim.exists()


class Evaluated(Attack):
    """The same through a function that is not refused by name, but has nothing in its place."""

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.path!r})",)


def test_what_would_be_run_is_left_out_and_not_run(tmp_path) -> None:
    victim = tmp_path / "made"
    torch.save({"state_dict": GRU.state_dict(), "extra": Evaluated(str(victim))}, tmp_path / "model.pt")
    stored = read_tensors(tmp_path / "model.pt")
    assert [name for _, name in stored.tensors] == NAMES and stored.unread == ("builtins.eval",)
    assert not victim.exists()


def test_a_whole_model_is_refused_with_what_to_do(tmp_path) -> None:
    for whole in (GRU, {"model": GRU}):
        torch.save(whole, tmp_path / "whole.pt")
        with pytest.raises(ExaminationError, match=r"torch\.nn\.modules\.rnn\.GRU.*torch\.save\(model\.state_dict\(\)"):
            read_tensors(tmp_path / "whole.pt")


def test_torchscript_is_refused_with_what_to_do(tmp_path) -> None:
    with pytest.warns(DeprecationWarning):
        torch.jit.script(GRU).save(tmp_path / "script.pt")
    with pytest.raises(ExaminationError, match=r"a TorchScript archive, .*torch\.jit\.load\(.*\.state_dict\(\)"):
        read_tensors(tmp_path / "script.pt")


@pytest.mark.parametrize("content", [b"", b"weights", b"PK\x03\x04 cut short", pickle.dumps([1]), pickle.dumps("x")])
def test_other_files_are_refused(tmp_path, content) -> None:
    for suffix, message in (("pt", "not a file that torch.save has written"), ("safetensors", "no safetensors file")):
        (tmp_path / f"file.{suffix}").write_bytes(content)
        with pytest.raises(ExaminationError, match=message) as refused:
            read_tensors(tmp_path / f"file.{suffix}")
        # Torch's advice to run what is in the file is not passed on.
        assert "weights_only" not in str(refused.value)


def test_what_wrappers_put_before_a_name() -> None:
    assert without_wrappers("module._orig_mod.module.encoder.module.rnn") == "encoder.module.rnn"
