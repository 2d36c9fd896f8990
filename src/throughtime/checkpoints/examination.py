"""Examining a checkpoint: without code, so without a loss."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from throughtime.capture import ExaminationError, capture
from throughtime.causes.findings import findings
from throughtime.cells.rnn import NONLINEARITIES
from throughtime.checkpoints.data import read_data
from throughtime.checkpoints.inputs import Inputs, drawn_inputs, given_inputs
from throughtime.checkpoints.layers import Checkpoint
from throughtime.checkpoints.onnx_graph import read_onnx
from throughtime.checkpoints.probe import Probe, along
from throughtime.checkpoints.recognition import recognised
from throughtime.checkpoints.tensors import read_tensors
from throughtime.examination import Examination, Record
from throughtime.examine import examine
from throughtime.measures import StepJacobians, step_jacobians
from throughtime.notation import LARGEST, MEAN, NORM, SAMPLE, STEP, WINDOW

# What a probe has no use for: they speak of weights that learn from a loss.
OF_A_LOSS = ("truncation_error", "gradient_share")
# What is said of Keras's own formats.
_KERAS = (".h5", ".hdf5", ".keras")

Progress = Callable[[int, int, str], None]


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
    reach: they need a loss. There is `step_jacobian` (norm, step, sample) instead: ln of the norms of ds_i/ds_{i-1}, in
    nats, "largest" for the largest singular value and "mean" for the root mean square of all of them; and, as for every
    gated cell, `time_constant` (unit), in steps.

    Nothing in the file is run: it is read with `weights_only=True`.

    Args:
        path: A state_dict or a checkpoint with one in it, written with torch.save, a .safetensors or an .onnx file.
        data: A .npy, .npz, .csv or .txt file, or numbers: (steps, features) or (steps, samples, features), or whole
            numbers (steps) or (steps, samples), rows of an embedding of the checkpoint. It is read by every layer that
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
    """
    for name, number, least in (("steps", steps, 2), ("samples", samples, 1)):
        if number < least:
            raise ExaminationError(f"{name}: expected at least {least}, found {number}")
    if nonlinearity not in NONLINEARITIES:
        raise ExaminationError(f"nonlinearity: expected one of {sorted(NONLINEARITIES)}, found {nonlinearity!r}")
    path = Path(path)
    checkpoint = _read(path)
    dtype = _dtype(checkpoint)
    if data is None:
        inputs = drawn_inputs(checkpoint, steps, samples, seed, dtype)
    else:
        inputs = given_inputs(checkpoint, *read_data(data), seed, dtype)
    probe = Probe(checkpoint.layers, nonlinearity, dtype)
    try:
        exam, jacobians = _examined(probe, inputs, seed, on_progress)
    except ExaminationError as error:
        raise ExaminationError(f"{path}: {_renamed(str(error), probe.names)}") from None
    records = {
        name: _record(exam, own_name, name, jacobians[own_name])
        for own_name, name in probe.names.items()
        if own_name in exam.recurrences
    }
    found = [finding for name, record in records.items() for finding in findings(name, record.measures, record.causes)]
    notes = (
        *_about(checkpoint, nonlinearity),
        *inputs.notes,
        *(_renamed(note, probe.names) for note in exam.notes),
        *checkpoint.notes,
    )
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
    dtypes = {
        weight.dtype for layer in checkpoint.layers for named in layer.directions.values() for weight in named.values()
    }
    return torch.float64 if torch.float64 in dtypes else torch.float32


def _examined(
    probe: Probe, inputs: Inputs, seed: int, on_progress: Progress | None
) -> tuple[Examination, dict[str, StepJacobians]]:
    steps, samples = next(iter(inputs.sequences.values())).shape[:2]
    progress = on_progress or (lambda done, total, name: None)
    exam = examine(
        probe,
        (inputs.sequences,),
        probe.directions(steps, samples, seed),
        loss=along,
        seed=seed,
        on_progress=lambda done, total, name: progress(done, total, probe.names.get(name, name)),
    )
    with torch.no_grad():
        recurrences = capture(probe, lambda: probe(inputs.sequences)).recurrences
        jacobians = {
            one.name: step_jacobians(one.cell, one.weights, one.trajectory)
            for one in recurrences
            if one.name in probe.names
        }
    return exam, jacobians


def _record(exam: Examination, own_name: str, name: str, jacobians: StepJacobians) -> Record:
    """The record of a recurrence without what needs a loss, and with its step Jacobians."""
    measures = exam[own_name].drop_vars(OF_A_LOSS).drop_vars(WINDOW)
    reverse = measures.attrs["direction"] == "reverse"
    steps = measures.attrs["steps"] + 1 - jacobians.steps if reverse else jacobians.steps
    both = torch.stack([jacobians.largest, jacobians.mean]).numpy()
    array = xr.DataArray(
        both, {NORM: [LARGEST, MEAN], STEP: steps.numpy()}, (NORM, STEP, SAMPLE), attrs={"units": "nats"}
    )
    named = measures.assign(step_jacobian=array.sortby(STEP)).assign_attrs(name=name)
    return Record(named, {}, exam.causes(own_name))


def _about(checkpoint: Checkpoint, nonlinearity: str) -> tuple[str, ...]:
    kinds = ", ".join(f"{layer.name} ({layer.kind})" for layer in checkpoint.layers)
    notes = [
        "No loss was followed: the source at step t is a random direction v of unit length of h_t, and the map shows "
        "ln |v·dh_t/ds_i|. What the weights learn from, and the reach, need the model's code and its loss: "
        "throughtime.examine.",
        f"Recognised by the shapes of their weights: {kinds}. Each was followed by itself, from a state of zeros.",
    ]
    assumed = [layer.name for layer in checkpoint.layers if layer.kind == "RNN" and layer.nonlinearity is None]
    if assumed:
        notes.append(
            f"Weights do not tell the nonlinearity of an RNN: {nonlinearity} was assumed for {', '.join(assumed)}."
        )
    short = {
        str(weight.dtype).removeprefix("torch.")
        for layer in checkpoint.layers
        for named in layer.directions.values()
        for weight in named.values()
        if weight.dtype not in (torch.float32, torch.float64)
    }
    if short:
        notes.append(f"Weights stored in {' and '.join(sorted(short))} were followed in float32.")
    return tuple(notes)


def _renamed(words: str, names: dict[str, str]) -> str:
    """With the names of the checkpoint in place of the probe's; the longest first, as one may begin another."""
    for own_name in sorted(names, key=len, reverse=True):
        words = words.replace(own_name, names[own_name])
    return words
