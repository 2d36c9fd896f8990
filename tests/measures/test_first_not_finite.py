"""Where NaN or inf arises first: recurrence, step and quantity, forwards and backwards."""

import pickle

import pytest
import torch
from torch import nn

import throughtime as tt

STEPS = 9


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


def linear(weight, of_input=1.0, **keywords):
    layer = tt.Recurrent(Linear, 1, 1, bias=False, **keywords)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.fill_(weight if "hh" in name else of_input)
    return layer


def per_step(output, _):
    return output[0].sum((1, 2))


def overflows(weight, dtype):
    """The last h_i whose derivative of h_9 autograd cannot hold in this dtype."""
    states = [torch.zeros(1, dtype=dtype, requires_grad=True)]
    for _ in range(STEPS):
        states.append(weight * states[-1])
    gradients = torch.autograd.grad(states[-1], states)
    return max(step for step, gradient in enumerate(gradients) if not gradient.isfinite())


@pytest.mark.parametrize(("dtype", "weight", "lag"), [(torch.float32, 1e8, 5), (torch.float64, 1e60, 6)], ids=str)
def test_a_power_that_the_dtype_cannot_hold(dtype, weight, lag):
    """dl_t/dh_i is w^(t-i): 1e40 is beyond 3.4e38, 1e360 beyond 1.8e308. The states of zero inputs stay zero."""
    model = linear(weight, bidirectional=True, dtype=dtype)
    exam = tt.examine(model, torch.zeros(STEPS, 2, 1, dtype=dtype), loss=per_step)
    step = STEPS - lag
    assert overflows(weight, dtype) == step
    assert exam["l0"].attrs["first_not_finite"] == f"adjoint of h at step {step}, of the loss at step 9"
    # What is read from the end runs into it at the other end.
    assert exam["l0.reverse"].attrs["first_not_finite"] == f"adjoint of h at step {10 - step}, of the loss at step 1"
    assert f"In 'l0', inf arises first in the adjoint of h at step {step}, of the loss at step 9." in exam.notes


def test_a_weight_term_beyond_the_range():
    """Every adjoint is 1e20, every state 1, and every input 1e30."""
    loss = lambda output, _: 1e20 * per_step(output, None)  # noqa: E731
    exam = tt.examine(linear(0.0, 1e-30), torch.full((STEPS, 2, 1), 1e30), loss=loss)
    assert exam["l0"].attrs["first_not_finite"] == "weight term of weight_ih at step 9, of the loss at step 9"


def test_where_all_is_finite_there_is_none():
    exam = tt.examine(linear(0.5), torch.ones(STEPS, 2, 1), loss=per_step)
    assert exam["l0"].attrs["first_not_finite"] == ""


class Read(nn.Module):
    def __init__(self, recurrence: nn.Module, read) -> None:
        super().__init__()
        self.recurrence, self.read = recurrence, read

    def forward(self, inputs):
        return self.read(self.recurrence(inputs)[0])


def refused(call):
    with pytest.raises(tt.NotFiniteError) as caught:
        call()
    # As on its way out of another process.
    found = pickle.loads(pickle.dumps(caught.value))
    assert str(found) == str(caught.value)
    return found.recurrence, found.step, found.quantity, found.loss_step


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, tt.Gated])
def test_a_state_forwards(kind):
    """The first overflow: of the pre-activation, which is computed before the state."""
    model = Read(kind(2, 3), lambda states: states)
    inputs = torch.zeros(STEPS, 2, 2)
    inputs[4:] = 3e38
    with torch.no_grad():
        model.recurrence.weight_ih_l0.fill_(10.0)
    found = refused(lambda: tt.examine(model, inputs, loss=lambda output, _: output.sum((1, 2))))
    assert found == ("recurrence.l0", 5, "pre-activation", None)


def test_a_carried_state_forwards():
    """x^2^t: 1e5, 1e10, 1e20, 1e40."""

    class Squaring(tt.Cell):
        """h_t = h_{t-1}^2."""

        gates = ("h",)

        def step(self, x, u, h):
            return tt.Update(keep=h, write=1, candidate=x.h + u.h)

    model = tt.Recurrent(Squaring, 1, 1, bias=False)
    with torch.no_grad():
        model.weight_hh_l0.zero_()
        model.weight_ih_l0.fill_(1.0)
    inputs = torch.zeros(STEPS, 1, 1)
    inputs[0] = 1e5
    assert refused(lambda: tt.examine(model, inputs, loss=per_step)) == ("l0", 4, "state h", None)


def root_of_zero(each):
    """Its value is 0, and its derivative is infinite."""
    return (each - each.detach()).sqrt()


def at_one_step(each):
    return torch.cat([each[:3], root_of_zero(each[3:4]), each[4:]])


def behind_a_mask(each):
    """Nothing times inf is NaN at every step."""
    return torch.where(torch.arange(1, STEPS + 1) == 4, root_of_zero(each), each)


@pytest.mark.parametrize(("read", "step"), [(at_one_step, 4), (behind_a_mask, 9)])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_loss_without_a_finite_derivative(kind, read, step):
    torch.manual_seed(0)
    model = Read(kind(2, 3), lambda states: states)
    loss = lambda output, _: read(output.square().sum((1, 2)))  # noqa: E731
    found = refused(lambda: tt.examine(model, torch.randn(STEPS, 2, 2), loss=loss))
    assert found == ("recurrence.l0", step, "direct derivative of the state h", step)


@pytest.mark.parametrize(("slope", "weight"), [(1e30, 1e20), (1e60, 1e-30)])
def test_an_adjoint_that_overflows_within_a_step(slope, weight):
    """1e50 in one step is beyond float32, and so is a slope of 1e60."""

    class Steep(tt.Cell):
        """h_t = x_t + slope W h_{t-1}, the slope in two factors, since float32 has none above 3.4e38."""

        gates = ("h",)

        def step(self, x, u, h):
            return tt.Update(keep=0, write=1, candidate=x.h + slope**0.5 * (slope**0.5 * u.h))

    model = tt.Recurrent(Steep, 2, 3, bias=False)
    nn.init.constant_(model.weight_hh_l0, weight)
    found = refused(lambda: tt.examine(model, torch.zeros(STEPS, 2, 2), loss=per_step))
    assert found == ("l0", 8, "adjoint", 9)


class Step(nn.Module):
    """h and c are exchanged, and one of them grows: (h, c) to (c, w h)."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x, state):
        h, c = state
        return c + 0 * x, self.weight * h


class Loop(nn.Module):
    def __init__(self, weight: float, start: float) -> None:
        super().__init__()
        self.step, self.start = Step(weight), start

    def forward(self, inputs):
        state, outputs = (torch.full((2, 1), self.start),) * 2, []
        for x in inputs:
            state = self.step(x, state)
            outputs.append(state[0])
        return torch.stack(outputs)


def test_a_loop_forwards():
    """c is 1e15, 1e15, 1e30, 1e30, 1e45 after steps 1 to 5."""
    model = Loop(1e15, 1.0)
    found = refused(lambda: tt.examine(model, torch.zeros(STEPS, 2, 1), loss=lambda output, _: output.sum((1, 2))))
    assert found == ("step", 5, "state c", None)


def test_a_loop_backwards():
    """dl_9/dh_i is w^((9-i)/2): 1e45 at i = 3."""
    model = Loop(1e15, 0.0)
    found = refused(lambda: tt.examine(model, torch.zeros(STEPS, 2, 1), loss=lambda output, _: output.sum((1, 2))))
    assert found == ("step", 3, "adjoint", 9)
