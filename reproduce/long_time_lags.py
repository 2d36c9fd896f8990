"""Task 2a of the LSTM paper: of two sequences, which one is it? The first symbol tells, and it is asked for at the end.

(y, a_1, ..., a_{p-1}, y) or (x, a_1, ..., a_{p-1}, x), each half of the time; at every step the next symbol is to be
told. The networks are the paper's: p + 1 inputs that see one symbol each, one hidden unit, p + 1 sigmoid outputs that
see the inputs and the hidden unit; no biases, weights from U[-0.2, 0.2], one sequence after the other. The
hidden unit is a sigmoid unit with a weight to itself, by the whole gradient of a sequence; or a memory cell with an
input gate, which is added once the rest has learned what it can, and whose gradient goes back through the cell alone,
not through what its gates see of it, both as in the paper.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numba import njit

from reproduce.claim import Claim, Found

# The paper's rates: of a memory cell, and the largest of those that it tried on a sigmoid unit.
CELLS_RATE, UNITS_RATE = 1.0, 10.0
SPREAD = 0.2
# It has been learned once no output is further off than this, in either sequence.
TOLERANCE = 0.25
# As long as the paper tried, in sequences.
LONGEST = 5_000_000
# How many of the trials may learn it for a claim to hold.
NONE, MOST, ALL = (0.0, 0.0), (0.5, 1.0), (1.0, 1.0)
# After so many sequences a memory cell is added.
ALONE = 5_000


@njit(cache=True, error_model="numpy")
def _sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


@njit(cache=True, error_model="numpy")
def _sequence(symbols, memory, weights, gradients):
    """One sequence: the largest error of an output, and the gradients of half the squared errors, added up.

    A unit is h' = s(a); a memory cell h' = h + s(b) s(a), a and b of the input and of h.
    """
    to_hidden, to_itself, direct, from_hidden = weights
    steps, outputs = len(symbols) - 1, len(direct)
    g_hidden, g_itself, g_direct, g_from = gradients
    states, written, gate = np.zeros(steps + 1), np.zeros(steps), np.ones(steps)
    deltas, sent = np.empty((steps, outputs)), np.zeros(steps)
    worst = 0.0
    for t in range(steps):
        seen, before = symbols[t], states[t]
        written[t] = _sigmoid(to_hidden[0, seen] + to_itself[0] * before)
        if memory:
            gate[t] = _sigmoid(to_hidden[1, seen] + to_itself[1] * before)
        states[t + 1] = (before if memory else 0.0) + gate[t] * written[t]
        for k in range(outputs):
            y = _sigmoid(direct[k, seen] + from_hidden[k] * states[t + 1])
            error = y - (1.0 if symbols[t + 1] == k else 0.0)
            worst = max(worst, abs(error))
            deltas[t, k] = error * y * (1.0 - y)
            sent[t] += deltas[t, k] * from_hidden[k]
    adjoint = 0.0
    for t in range(steps - 1, -1, -1):
        seen, before = symbols[t], states[t]
        adjoint += sent[t]
        for k in range(outputs):
            g_direct[k, seen] += deltas[t, k]
            g_from[k] += deltas[t, k] * states[t + 1]
        unit = adjoint * gate[t] * written[t] * (1.0 - written[t])
        g_hidden[0, seen] += unit
        g_itself[0] += unit * before
        if memory:
            opened = adjoint * written[t] * gate[t] * (1.0 - gate[t])
            g_hidden[1, seen] += opened
            g_itself[1] += opened * before
        else:
            adjoint = unit * to_itself[0]
    return worst


@njit(cache=True, error_model="numpy")
def _learned_after(lag, memory, weights, presented, alone, rate, tolerance):
    """How many sequences it takes until both are right; -1 if those that there are do not suffice."""
    to_hidden, to_itself, direct, from_hidden = weights
    symbols, worst, sent = np.arange(-1, lag), np.full(2, np.inf), from_hidden.copy()
    if alone:
        from_hidden[:] = 0.0
    gradients = np.zeros_like(to_hidden), np.zeros_like(to_itself), np.zeros_like(direct), np.zeros_like(from_hidden)
    unused = np.zeros_like(to_hidden), np.zeros_like(to_itself), np.zeros_like(direct), np.zeros_like(from_hidden)
    for count in range(len(presented)):
        which = presented[count]
        symbols[0] = symbols[lag] = lag - 1 + which
        if count == alone:
            from_hidden[:] = sent
        worst[which] = _sequence(symbols, memory, weights, gradients)
        if worst.max() < tolerance:
            # Each was right when it was last seen; now both, with the same weights.
            symbols[0] = symbols[lag] = lag - which
            worst[1 - which] = _sequence(symbols, memory, weights, unused)
            if worst.max() < tolerance:
                return count
        direct -= rate * gradients[2]
        if count >= alone:
            to_hidden -= rate * gradients[0]
            to_itself -= rate * gradients[1]
            from_hidden -= rate * gradients[3]
        gradients[0][:], gradients[1][:], gradients[2][:], gradients[3][:] = 0.0, 0.0, 0.0, 0.0
    return -1


def drawn(lag: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """The weights to the hidden unit from the inputs and from itself, and to the outputs from both."""
    shapes = (2, lag + 1), (2,), (lag + 1, lag + 1), (lag + 1,)
    return tuple(random.uniform(-SPREAD, SPREAD, shape) for shape in shapes)


def trials(lag: int, memory: bool, count: int, sequences: int) -> list[int]:
    """For every trial, after how many sequences it was learned; -1 if it was not."""
    found = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        weights, presented = drawn(lag, random), random.integers(2, size=sequences)
        found.append(
            _learned_after(
                lag, memory, weights, presented, ALONE if memory else 0, CELLS_RATE if memory else UNITS_RATE, TOLERANCE
            )
        )
    return found


def check() -> str:
    """The gradients of both networks are autograd's, on the graph that they go back through."""
    for memory in (False, True):
        weights = drawn(5, np.random.default_rng(0))
        gradients = tuple(map(np.zeros_like, weights))
        symbols = np.array([4, 0, 1, 2, 3, 4])
        _sequence(symbols, memory, weights, gradients)
        leaves = [torch.from_numpy(weight).requires_grad_() for weight in weights]
        to_hidden, to_itself, direct, from_hidden = leaves
        state, loss = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for seen, next_one in pairwise(symbols):
            unit, gate = torch.sigmoid(to_hidden[:, seen] + to_itself * (state.detach() if memory else state))
            state = state + gate * unit if memory else unit
            target = torch.zeros(len(from_hidden), dtype=torch.float64)
            target[next_one] = 1
            loss = loss + (torch.sigmoid(direct[:, seen] + from_hidden * state) - target).square().sum() / 2
        for mine, autograds in zip(gradients, torch.autograd.grad(loss, leaves), strict=True):
            if not np.allclose(mine, autograds.numpy(), rtol=1e-9, atol=1e-12):
                return f"the gradient is {mine}, not {autograds.numpy()}"
    return ""


def numbers() -> Iterator[Found]:
    """How often each is learned: a sigmoid unit at growing lags, and a memory cell at the longest."""
    yield _found("most sigmoid units learn lag 4", "78 %", trials(4, False, 9, LONGEST), MOST)
    yield _found(f"none learns lag 10 in {LONGEST:,} sequences", "0 %", trials(10, False, 4, LONGEST), NONE)
    cells = trials(100, True, 9, 100_000)
    yield _found("every memory cell learns lag 100", "100 %", cells, ALL)
    # Five times as many as the slowest memory cell needed.
    enough = 5 * max(cells) if min(cells) >= 0 else 100_000
    yield _found(f"no sigmoid unit does in {enough:,} sequences", "0 %", trials(100, False, 4, enough), NONE)


def _found(claim: str, published: str, learned_after: list[int], expected: tuple[float, float]) -> Found:
    learned = [count for count in learned_after if count >= 0]
    share = len(learned) / len(learned_after)
    after = f", after {sum(learned) / len(learned):,.0f} sequences" if learned else ""
    ours = f"{share:.0%} ({len(learned)} of {len(learned_after)}){after}"
    return Found(claim, published, ours, expected[0] <= share <= expected[1])


LONG_TIME_LAGS = Claim(18, "long time lags", "Hochreiter, Schmidhuber 1997, task 2a", check, numbers)
