"""What a kernel cannot see, or must not: such a layer says so, or runs as the reference does."""

import subprocess
import sys

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import rnn
from torch.testing._internal.two_tensor import TwoTensor

import throughtime as tt

STEPS, BATCH, FEATURES, HIDDEN = 40, 16, 5, 64
INPUTS = torch.randn(STEPS, BATCH, FEATURES, generator=torch.Generator().manual_seed(0))


def layer(backend: str = "auto", **keywords: object) -> tt.GRU:
    torch.manual_seed(0)
    return tt.GRU(FEATURES, HIDDEN, backend=backend, **keywords)


def alone(program: str, **environment: str) -> str:
    """What a program says, in a process of its own."""
    made = f"import torch, throughtime as tt\nlayer, x = tt.GRU(5, 64), torch.randn(40, 16, 5)\n{program}"
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-c", made]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("name", "shape"), [("bias_hh_l0", (24,)), ("weight_hh_l0", (192, 24)), ("weight_ih_l0", (192, 500))]
)
def test_a_weight_of_another_shape(name: str, shape: tuple[int, ...]) -> None:
    """In a process without the checks of shapes that these tests run with."""
    program = f"""
layer.{name} = torch.nn.Parameter(torch.randn({shape}))
for backend in ("auto", "fused"):
    layer.backend = backend
    try:
        layer(x)
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, error)
"""
    by_torch, by_name = alone(program).splitlines()
    assert by_torch.startswith("RuntimeError ")
    found = f"{name.removesuffix('_l0')} is torch.float32 of shape {shape}"
    assert by_name.startswith(f"ValueError backend: GRU() cannot be fused: {found}")


def test_a_bias_that_torch_expands() -> None:
    program = """
layer.bias_hh_l0 = torch.nn.Parameter(torch.ones(1))
other = torch.nn.GRU(5, 64)
other.load_state_dict({**layer.state_dict(), "bias_hh_l0": torch.ones(192)})
print(torch.allclose(layer(x)[0], other(x)[0], atol=1e-5), layer.backend)
"""
    assert alone(program) == "True reference"


def test_weights_that_are_more_than_numbers() -> None:
    given = layer()
    twice = {name: TwoTensor(one.detach(), one.detach()) for name, one in given.named_parameters()}
    found = torch.func.functional_call(given, twice, (TwoTensor(INPUTS, INPUTS),))[0]
    torch.testing.assert_close(found.a, layer("reference")(INPUTS)[0])
    with pytest.raises(ValueError, match="is a TwoTensor, which is more than its numbers"):
        torch.func.functional_call(layer("fused"), twice, (INPUTS,))


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice differentiable"])
def test_lengths_and_resets_are_those_of_the_call(twice: bool) -> None:
    found = []
    for backend in ("fused", "reference"):
        given, lengths = layer(backend), torch.arange(BATCH) + 20
        resets = torch.rand(STEPS, BATCH, generator=torch.Generator().manual_seed(1)) < 0.1
        output = given(INPUTS, lengths=lengths, reset_mask=resets)[0]
        lengths.fill_(1)
        resets.fill_(True)
        found.append(torch.autograd.grad(output.square().sum(), list(given.parameters()), create_graph=twice))
    torch.testing.assert_close(*found)


def test_a_dispatch_mode_sees_all_operations() -> None:
    given, others = layer(), torch.randn(STEPS, BATCH, FEATURES)
    graph = make_fx(lambda one: given(one)[0])(INPUTS)
    torch.testing.assert_close(graph(others), given(others)[0])


def test_data_that_was_replaced_by_another_shape() -> None:
    given, inputs = layer("fused"), INPUTS.clone().requires_grad_()
    output = given(inputs)[0].sum()
    inputs.data = torch.randn(2, 1, 1)
    with pytest.raises(RuntimeError, match="replaced, by one of another shape, between its forward and its backward"):
        output.backward()


def test_no_digit_is_lost_in_long_sums() -> None:
    torch.manual_seed(0)
    given, inputs = tt.GRU(2, 2, backend="fused"), torch.rand(1000, 512, 2)
    exact = tt.GRU(2, 2, backend="fused").double()
    exact.load_state_dict(given.state_dict())
    found = torch.autograd.grad(given(inputs)[0].sum(), list(given.parameters()))
    expected = torch.autograd.grad(exact(inputs.double())[0].sum(), list(exact.parameters()))
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) < 4e-6


@pytest.mark.parametrize("make", [tt.RNN, tt.GRU, tt.LSTM])
def test_on_a_device_without_numbers(make: type[tt.Recurrent]) -> None:
    output = make(5, 12, device="meta")(torch.randn(STEPS, BATCH, 5, device="meta"))[0]
    assert output.shape == (STEPS, BATCH, 12)
    assert output.device.type == "meta"


def test_a_packed_sequence_where_another_device_is_the_default() -> None:
    packed = rnn.pack_padded_sequence(INPUTS, torch.arange(BATCH) + 20, enforce_sorted=False)
    given = layer()
    expected = given(packed)[0].data
    with torch.device("meta"):
        found = given(packed)[0].data
    torch.testing.assert_close(found, expected)


def test_a_process_that_is_forked_off_after_use() -> None:
    program = """
import os
def found(): return [one.sum().item() for one in torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))]
def examined(): return float(tt.examine(layer, x, loss=lambda o, _: o[0].sum((1, 2)))["l0"].decay_rate[0])
torch.set_num_threads(1)
expected = found(), examined()
child = os.fork()
if child == 0:
    again = found(), examined()
    os._exit(0 if torch.allclose(torch.tensor(again[0]), torch.tensor(expected[0])) and again[1] == expected[1] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert alone(program) == "0"


def test_several_threads_where_numba_has_none_of_openmp() -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
import numba
expected = layer(x)[0]
with ThreadPoolExecutor(3) as pool:
    found = list(pool.map(lambda _: layer(x)[0], range(20)))
assert all(torch.equal(one, expected) for one in found)
print(numba.threading_layer())
"""
    assert alone(program, NUMBA_THREADING_LAYER="workqueue") == "workqueue"


def test_without_a_compiler() -> None:
    assert alone("layer(x); print(layer.backend)", NUMBA_DISABLE_JIT="1") == "reference"


def test_lengths_of_no_samples() -> None:
    assert layer()(torch.randn(4, 0, FEATURES), lengths=[])[0].shape == (4, 0, HIDDEN)


def test_export_by_tracing_bytecode() -> None:
    program = """
exported = torch.export.export(layer, (x[:5],), strict=True)
print(torch.allclose(exported.module()(x[:5])[0], layer(x[:5])[0], atol=1e-6))
"""
    assert alone(program) == "True"


def test_under_torchs_compiler_its_kernel_runs() -> None:
    program = """
compiled = torch.compile(torch.nn.Sequential(layer), backend="eager")
for steps in (40, 39):
    given = x[:steps].clone().requires_grad_()
    found, expected = compiled(given)[0], layer(given)[0]
    print(layer.backend, torch.equal(found, expected))
    mine, theirs = (torch.autograd.grad(one.sum(), [given, *layer.parameters()]) for one in (found, expected))
    print(all(torch.equal(one, other) for one, other in zip(mine, theirs)))
"""
    assert alone(program).splitlines() == ["fused True", "True"] * 2
