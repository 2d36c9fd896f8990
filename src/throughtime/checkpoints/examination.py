"""Examining a checkpoint: without code, so without a loss."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from throughtime.capture import ExaminationError, Opened, Run
from throughtime.capture.checks import check_whole
from throughtime.cells import Cell
from throughtime.cells.nonlinearity import known_nonlinearity
from throughtime.checkpoints.data import read_data
from throughtime.checkpoints.inputs import Inputs, drawn_inputs, given_inputs
from throughtime.checkpoints.layers import Checkpoint
from throughtime.checkpoints.onnx_graph import read_onnx
from throughtime.checkpoints.probe import followed
from throughtime.checkpoints.recognition import recognised
from throughtime.checkpoints.tensors import read_tensors
from throughtime.examination import Examination
from throughtime.findings import findings
from throughtime.progress import Progress, untold
from throughtime.unroll import Reading, Weights, unroll

# What is said of Keras's own formats.
_KERAS = (".h5", ".hdf5", ".keras")


def examine_checkpoint(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    *,
    steps: int = 100,
    samples: int = 8,
    seed: int = 0,
    nonlinearity: str = "tanh",
    on_progress: Progress | None = None,
) -> Examination:
    """What the recurrences of a checkpoint do to a gradient, without the model's code and without its loss.

    The layers are recognised by torch's names (`weight_ih_l0`, `weight_hh_l0`, ..., anywhere in the keys) and by their
    shapes, rebuilt, and each is followed by itself, on what reaches it, starting from zeros. In place of a loss, the
    source at step t is a random direction v of unit length of h_t, so that `gradient_map` is ln |v^T dh_t/ds_i|, in
    nats, root mean square over the samples. There are no weight terms, no truncation error, no gradient share and no
    reach: they need a loss. There is `step_jacobian` (norm, step, first_sample) instead: ln of the norms of
    ds_i/ds_{i-1}, in nats, "largest" for the largest singular value and "mean" for the root mean square of all of them;
    and, as for every gated cell, `time_constant` (unit), in steps.

    Nothing in the file is run: it is read with `weights_only=True`.

    Args:
        path: A state_dict or a checkpoint with one in it, written with torch.save, a .safetensors or an .onnx file.
        data: A .npy, .npz, .csv or .txt file, or numbers: (steps, features) or (steps, samples, features), or whole
            numbers (steps) or (steps, samples), rows of an embedding of the checkpoint. Where it could be both, whole
            numbers of a dtype of integers, or of a text, are rows. It is read by every layer that
            it fits; for other layers, and without data, inputs are drawn: rows of the checkpoint's own embedding where
            one is as wide as the layer's input, otherwise standard normal numbers. The notes say which.
        steps: Of a drawn sequence.
        samples: Drawn.
        seed: Of the drawn inputs, of the directions and of the bootstrap behind the intervals.
        nonlinearity: "tanh" or "relu", of an RNN whose file does not say.
        on_progress: Called with (steps done, all steps, name of the recurrence).

    Returns:
        The `Examination`.

    Raises:
        ExaminationError: The file holds no recurrence that can be recognised, or the data fits none; the message says
            what was found and what to do.
        OSError: A file cannot be read.
        TypeError: An argument is of the wrong type.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path: expected a file's name, found {type(path).__name__}; of weights at hand, save them first: "
            'torch.save(model.state_dict(), "weights.pt")'
        )
    for name, number, least in (("steps", steps, 2), ("samples", samples, 1)):
        check_whole(name, number, least)
    check_whole("seed", seed)
    try:
        known_nonlinearity(nonlinearity)
    except ValueError as error:
        raise ExaminationError(*error.args) from None
    path = Path(path)
    checkpoint = _read(path)
    dtype = _dtype(checkpoint)
    if data is None:
        inputs = drawn_inputs(checkpoint, steps, samples, seed, dtype)
    else:
        inputs = given_inputs(checkpoint, *read_data(data), seed, dtype)
    recurrences = _unrolled(checkpoint, inputs, nonlinearity, dtype, path)
    records = {}
    progress = on_progress or untold
    with torch.no_grad():
        for index, one in enumerate(recurrences):

            def show(done: int, total: int, index: int = index, name: str = one.name) -> None:
                progress(index * total + done, len(recurrences) * total, name)

            records[one.name] = followed(one, seed + index, show)
    found = [finding for name, record in records.items() for finding in findings(name, record.measures, record.causes)]
    alone = ("There is one sample, so the lag profile has no interval.",) if recurrences[0].batch == 1 else ()
    notes = (*_about(checkpoint, nonlinearity), *inputs.notes, *alone, *checkpoint.notes)
    return Examination(records, tuple(found), notes=notes)


def _read(path: Path) -> Checkpoint:
    if path.is_dir():
        raise ExaminationError(f"{path}: a folder; give the name of the checkpoint in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix == ".onnx":
        return read_onnx(path)
    if path.suffix in _KERAS:
        raise ExaminationError(f"{path}: a file of Keras; convert it to ONNX first: model.export(..., format='onnx')")
    return recognised(read_tensors(path), path)


def _dtype(checkpoint: Checkpoint) -> torch.dtype:
    """That of the widest weight, at least float32: derivatives far back cannot be told from rounding in less."""
    dtypes = {weight.dtype for weight in checkpoint.weights}
    return torch.float64 if torch.float64 in dtypes else torch.float32


@torch.no_grad()
def _unrolled(
    checkpoint: Checkpoint, inputs: Inputs, nonlinearity: str, dtype: torch.dtype, path: Path
) -> list[Opened]:
    """Every layer and direction on what reaches it."""
    recurrences: list[Opened] = []
    outputs: dict[str, Tensor] = {}
    for layer in checkpoint.layers:
        read = inputs.sequences[layer.name] if layer.reads is None else outputs[layer.reads]
        hidden = []
        for weights, reverse in ((layer.forward, False), (layer.reverse, True)):
            if weights is None:
                continue
            name = layer.name + ".reverse" * reverse
            wide = Weights.of({weight: value.to(dtype) for weight, value in weights.items()})
            run = _run(name, layer.cell(nonlinearity), wide, read, Reading(reverse))
            if not run.hidden.isfinite().all():
                raise ExaminationError(
                    f"{path}: NaN or inf in the states of {name!r}; look at the size of its weights"
                    + (" and at its nonlinearity" if layer.kind == "RNN" else "")
                )
            recurrences.append(Opened(name, [run]))
            hidden.append(run.hidden)
        outputs[layer.name] = torch.cat(hidden, dim=-1)
    return recurrences


def _run(name: str, cell: Cell, weights: Weights, read: Tensor, reading: Reading) -> Run:
    samples = read.shape[1]
    hidden_size = len(weights.weight_ih) // len(cell.gates)
    sizes = dict.fromkeys(cell.states, hidden_size)
    if weights.weight_hr is not None:
        sizes["h"] = len(weights.weight_hr)
    initial = {state: read.new_zeros(samples, size) for state, size in sizes.items()}
    trajectory = unroll(cell, weights, reading.order(read), initial)
    hidden = reading.order(trajectory.states["h"][1:])
    return Run(name, reading, cell, weights, {}, trajectory, read, {}, hidden, {})


def _about(checkpoint: Checkpoint, nonlinearity: str) -> tuple[str, ...]:
    kinds = ", ".join(f"{layer.name} ({layer.kind})" for layer in checkpoint.layers)
    notes = [
        "No loss was followed: the source at step t is a random direction v of unit length of h_t, and the map shows "
        "ln |v·dh_t/ds_i|. What the weights learn from, and the reach, need the model's code and its loss: "
        "throughtime.examine.",
        f"Recognised by the shapes of their weights: {kinds}. Each was followed by itself, from a state of zeros. "
        "Cells of other kinds may have the same shapes, as a leaky network has those of an RNN, and tt.Gated those of "
        "a GRU: what is shown is then not of them; examine these with their code.",
    ]
    assumed = [layer.name for layer in checkpoint.layers if layer.kind == "RNN" and layer.nonlinearity is None]
    if assumed:
        notes.append(
            f"Weights do not tell the nonlinearity of an RNN: {nonlinearity} was assumed for {', '.join(assumed)}."
        )
    short = {
        str(weight.dtype).removeprefix("torch.")
        for weight in checkpoint.weights
        if weight.dtype not in (torch.float32, torch.float64)
    }
    if short:
        notes.append(f"Weights stored in {' and '.join(sorted(short))} were followed in float32.")
    return tuple(notes)
