"""torch's layers in all their configurations, pair by pair, against twins that run every sample alone.

All start from a state other than zero, without which much of what is to be compared would be zero too.
"""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import naive
import throughtime as tt

FEATURES = 3
# How a layer gets its sequences, and how long they are.
FORMS = {
    "time first": (5, 5, 5),
    "batch first": (5, 5, 5),
    "one sample": (5,),
    "no batch axis": (5,),
    "one step": (1, 1, 1),
    "one step of one sample": (1,),
    "padded": (2, 5, 1),
    "packed both ways": (2, 5, 1),
    "packed by length": (5, 2, 1),
}
BATCH_FIRST = ("batch first", "one step", "packed both ways")
KINDS = {
    "tanh": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    # A projection must be narrower than what it projects.
    "projected": lambda size, units, **k: nn.LSTM(size, units + 1, proj_size=units, **k),
}
FACTORS = {
    "kind": tuple(KINDS),
    "form": tuple(FORMS),
    "layers": (1, 2, 3),
    "dropout": (0.0, 0.5),
    "bidirectional": (False, True),
    "bias": (True, False),
    "start": ("given", "trainable"),
    "units": (4, 1),
    "reads": ("outputs", "outputs and last states"),
}


def pairwise(factors):
    """Rows in which any two values of any two factors stand together: few, where all combinations are thousands."""
    names, choose, rows = list(factors), random.Random(0), []
    missing = {
        ((one, a), (other, b))
        for one, other in itertools.combinations(names, 2)
        for a, b in itertools.product(factors[one], factors[other])
    }
    while missing:
        wanted = dict(min(missing, key=str))
        drawn = [{n: wanted.get(n, choose.choice(values)) for n, values in factors.items()} for _ in range(100)]
        best = max(drawn, key=lambda row: len(missing.intersection(itertools.combinations(row.items(), 2))))
        missing -= set(itertools.combinations(best.items(), 2))
        rows.append(best)
    return rows


class Model(nn.Module):
    """A layer and a readout, for inputs (time, batch, features) whatever the layer wants them to be."""

    def __init__(self, case, batch):
        super().__init__()
        self.case, self.packed = case, "packed" in case["form"]
        # Padding is what a reverse recurrence meets first, so that every kind of layer must be tried with both.
        both = case["bidirectional"] or case["form"] == "packed both ways"
        self.recurrence = KINDS[case["kind"]](
            FEATURES,
            case["units"],
            num_layers=case["layers"],
            bias=case["bias"],
            batch_first=case["form"] in BATCH_FIRST,
            # torch warns of a dropout that has no layer to follow.
            dropout=case["dropout"] if case["layers"] > 1 else 0.0,
            bidirectional=both,
        )
        directions, sizes = 1 + both, naive.sizes(self.recurrence)
        learned = case["start"] == "trainable"
        starts = [torch.randn(case["layers"] * directions, 1 if learned else batch, size) for size in sizes]
        self.starts = nn.ParameterList(nn.Parameter(start, learned) for start in starts)
        self.readout = nn.Linear(sizes[0] * directions, 2)

    def initial(self, batch):
        """h_0 and c_0, (layers and directions, batch, features)."""
        return tuple(start.expand(-1, batch, -1) for start in self.starts)

    def read(self, states, last):
        """What the loss reads: of every step, and of the last states."""
        return self.readout(states), [] if self.case["reads"] == "outputs" else list(last)

    def forward(self, inputs, lengths):
        layer, unbatched = self.recurrence, self.case["form"] == "no batch axis"
        sequence, start = inputs, self.initial(inputs.shape[1])
        if unbatched:
            sequence, start = inputs.squeeze(1), tuple(state.squeeze(1) for state in start)
        elif layer.batch_first:
            sequence = inputs.transpose(0, 1)
        if self.packed:
            by_length = self.case["form"] == "packed by length"
            sequence = pack_padded_sequence(sequence, lengths, layer.batch_first, enforce_sorted=by_length)
        states, last = layer(sequence, start if isinstance(layer, nn.LSTM) else start[0])
        if self.packed:
            states, _ = pad_packed_sequence(states, layer.batch_first)
        if unbatched:
            states = states.unsqueeze(1)
        elif layer.batch_first:
            states = states.transpose(0, 1)
        return self.read(states, last if isinstance(last, tuple) else (last,))


def losses_of(output, lengths, steps):
    """One loss per step, padding left out; what the last states say counts at the last step."""
    logits, last = output
    valid = torch.arange(len(logits)).unsqueeze(1) < lengths
    losses = nn.functional.pad((logits.square().sum(-1) * valid).sum(1), (0, steps - len(logits)))
    return torch.cat([losses[:-1], losses[-1:] + sum(state.sin().sum() for state in last)])


def drawn_masks(model, inputs, lengths):
    """What dropout multiplies with, (time, batch, features), drawn for every layer but the last."""
    layer = model.recurrence
    ones = torch.ones(*inputs.shape[:2], naive.sizes(layer)[0] * (1 + layer.bidirectional), dtype=inputs.dtype)
    masks = []
    for _ in range(layer.num_layers - 1 if layer.dropout else 0):
        packed = pack_padded_sequence(ones, lengths, enforce_sorted=False)
        if model.packed:
            packed = packed._replace(data=nn.functional.dropout(packed.data, layer.dropout))
            masks.append(pad_packed_sequence(packed)[0])
        else:
            masks.append(nn.functional.dropout(ones, layer.dropout))
    return masks


def alone(model, inputs, lengths, sample, masks):
    """One sample, unrolled at its own length: what is read of it, and all derivatives of the losses, in sequence.

    By recurrence and state or weight, (loss_step, step, *shape).
    """
    layer, one, steps = model.recurrence, slice(sample, sample + 1), len(inputs)
    length = int(lengths[sample]) if model.packed else steps
    start = [state[:, one].detach().requires_grad_() for state in model.initial(len(lengths))]
    unrolled = naive.layers(
        layer,
        list(inputs[:length, one].unbind(0)),
        list(zip(*start, strict=True)),
        [mask[:length, one] for mask in masks],
    )
    last = [torch.stack(states) for states in zip(*unrolled.last, strict=True)]
    output = model.read(torch.stack(unrolled.outputs), last if isinstance(layer, nn.LSTM) else last[:1])
    tensors = {}
    for name, run in unrolled.runs.items():
        tensors[name, "h"] = run.hidden
        if isinstance(layer, nn.LSTM):
            tensors[name, "c"] = run.carried
        for weight in run.copies[0]:
            tensors[name, weight] = [copies[weight] for copies in run.copies]
    losses = list(losses_of(output, lengths[one], steps).unbind(0))
    found = iter(naive.gradients(losses, list(itertools.chain(*tensors.values()))))
    gradients = {key: torch.stack([next(found) for _ in group], 1) for key, group in tensors.items()}
    return output, {key: value.flip(1) if "reverse" in key[0] else value for key, value in gradients.items()}


def summed(gradients, steps):
    """Over the samples, of which shorter ones end with zeros."""
    total = gradients[0].new_zeros(steps, *np.max([gradient.shape[1:] for gradient in gradients], axis=0))
    for gradient in gradients:
        total[:, : gradient.shape[1]] += gradient
    return total


@pytest.mark.parametrize("case", pairwise(FACTORS), ids=lambda case: "-".join(map(str, case.values())))
def test_configuration(case):
    torch.manual_seed(0)
    lengths = torch.tensor(FORMS[case["form"]])
    steps, batch = int(lengths.max()), len(lengths)
    model = Model(case, batch).double()
    inputs = torch.randn(steps, batch, FEATURES, dtype=torch.float64)
    given, before = inputs.clone(), copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    exam = tt.examine(model, (inputs, lengths), loss=lambda output, _: losses_of(output, lengths, steps))
    output, last = model(inputs, lengths)  # the random state is as before
    assert torch.equal(inputs, given)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())

    torch.manual_seed(1)
    masks = drawn_masks(model, inputs, lengths)
    samples = [alone(model, inputs, lengths, sample, masks) for sample in range(batch)]
    for sample, ((logits, states), _) in enumerate(samples):
        torch.testing.assert_close(output[: len(logits), sample], logits[:, 0], rtol=1e-12, atol=1e-14)
        for mine, theirs in zip(states, last, strict=True):
            theirs = theirs.unsqueeze(1) if case["form"] == "no batch axis" else theirs
            torch.testing.assert_close(theirs[:, sample], mine[:, 0], rtol=1e-12, atol=1e-14)
    assert exam.recurrences == [f"recurrence.{name}" for name in dict.fromkeys(name for name, _ in samples[0][1])]
    for recurrence, part in samples[0][1]:
        gradients = [gradients[recurrence, part] for _, gradients in samples]
        name = f"recurrence.{recurrence}"
        if part in ("h", "c"):
            square = summed([gradient.square().sum((2, 3)) for gradient in gradients], steps) / batch
            np.testing.assert_allclose(exam[name].gradient_map.sel(state=part), square.log() / 2, rtol=0, atol=1e-9)
        else:
            found = exam.weight_terms(name, part)
            norm = summed(gradients, steps).flatten(2).norm(dim=-1)
            np.testing.assert_allclose(found.norm, norm, rtol=1e-9, atol=1e-12)
            assert found.attrs["relative_error"] < 1e-9
