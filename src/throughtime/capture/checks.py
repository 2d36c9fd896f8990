"""What must hold before a model is examined: finite weights and inputs, a dtype that can be followed, usable losses."""

import numbers
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.capture.errors import ExaminationError

DTYPES = (torch.float32, torch.float64)
# Where a model may be. Logarithms are kept in float64, which MPS does not have.
DEVICES = ("cpu", "cuda")

# An output beyond this has run away: its square is not finite in float32 soon after.
LARGE_OUTPUT = 1e9


def check_model(model: object) -> torch.device:
    """Weights must be float32 or float64, on one device, the CPU or CUDA, and finite; buffers may hold -inf, as
    attention masks do.

    Returns:
        The device; the CPU where there are no weights.

    Raises:
        TypeError: `model` is no module.
        ExaminationError: A weight is elsewhere, of another dtype or not finite; it is named.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, found {type(model).__name__}")
    devices: dict[torch.device, str] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            raise ExaminationError(f"model: {name} is not initialised yet; call the model once before it is examined")
        if tensor.device.type not in DEVICES:
            raise ExaminationError(
                f"model: {name} is on {tensor.device}, where models are not followed; examine a copy on the CPU: "
                "copy.deepcopy(model).cpu()"
            )
        devices.setdefault(tensor.device, name)
        if len(devices) > 1:
            (one, first), (other, second) = devices.items()
            raise ExaminationError(
                f"model: {second} is on {other}, and {first} on {one}; examine a copy on one device: "
                f'copy.deepcopy(model).to("{one}")'
            )
        if not tensor.is_floating_point() or tensor.layout is not torch.strided:
            continue
        if tensor.dtype not in DTYPES:
            raise ExaminationError(
                f"model: {name} is {tensor.dtype}, in which derivatives far back cannot be told from rounding; "
                "examine a copy in float32: copy.deepcopy(model).float()"
            )
        bad = ~tensor.isfinite() if isinstance(tensor, nn.Parameter) else not_a_mask(tensor)
        if bad.any():
            count = int(bad.sum())
            raise ExaminationError(
                f"model: {name} holds {count} NaN or inf among {tensor.numel()} values; load or train a finite one"
            )
    return next(iter(devices), torch.device("cpu"))


def check_whole(argument: str, value: object, least: int | None = None) -> None:
    """An argument must be a whole number, no smaller than `least` where one is given.

    Raises:
        TypeError: It is no whole number.
        ExaminationError: It is too small.
    """
    expected = f"{argument}: expected a whole number{'' if least is None else f' of at least {least}'}, found {value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(expected)
    if least is not None and value < least:
        raise ExaminationError(expected)


def check_strings(argument: str, value: object) -> None:
    """An argument must be a string, or several.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, str):
        return
    if not isinstance(value, Collection) or not value or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{argument}: expected a string or several, found {value!r}")


def check_finite(argument: str, value: Any) -> None:
    """Every floating-point tensor in a nest of tuples, lists and dicts must be finite, but for -inf: a mask.

    Raises:
        ExaminationError: One is not; where it is, is named.
    """
    for place, tensor in tensors_of(argument, value):
        if tensor.is_floating_point() and (bad := not_a_mask(tensor)).any():
            first = bad.nonzero()[0].tolist()
            raise ExaminationError(f"{place}: NaN or inf, first at index {first} of shape {tuple(tensor.shape)}")


def not_a_mask(tensor: Tensor) -> Tensor:
    """Where a tensor is NaN or +inf. -inf is what masks add to scores, and is no mistake by itself."""
    return tensor.isnan() | (tensor == torch.inf)


def call_model(model: nn.Module, inputs: Any) -> Any:
    """model(inputs); a tuple or list is spread over the positional arguments, a dict over the named ones."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if type(inputs) in (tuple, list):
        return model(*inputs)
    return model(inputs)


def call_examined(model: nn.Module, inputs: Any) -> Any:
    """The same of a model that is about to be examined.

    Raises:
        ExaminationError: The model fails, and its inputs are on another device than it is.
        TypeError: It fails, and its inputs are NumPy's.
    """
    try:
        return call_model(model, inputs)
    except (TypeError, AttributeError) as error:
        every = (
            inputs,
            *(inputs.values() if isinstance(inputs, Mapping) else inputs if type(inputs) in (tuple, list) else ()),
        )
        if any(isinstance(one, np.ndarray) for one in every):
            raise TypeError(f"inputs: expected tensors, found a NumPy array; use torch.from_numpy ({error})") from error
        raise
    except RuntimeError as error:
        there = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
        found = {tensor.device for _, tensor in tensors_of("inputs", inputs)}
        if there and found and not there & found:
            raise ExaminationError(
                f"inputs: on {found.pop()}, and the model is on {there.pop()}; move one of them with .to(...)"
            ) from error
        raise


def losses_of(loss: Callable[[Any, Any], Tensor], output: Any, targets: Any) -> Tensor:
    """The losses of all steps as a 1-D tensor; a scalar becomes one loss.

    Raises:
        TypeError: `loss` returns no tensor, or fails without targets.
        ExaminationError: What it returns has the wrong shape, is not finite, or does not depend on the model.
    """
    try:
        value = loss(output, targets)
    except (TypeError, AttributeError) as error:
        if targets is None:
            raise TypeError(f"targets: none were given, and loss(output, None) fails: {error}") from error
        raise
    if not isinstance(value, Tensor):
        raise TypeError(f"loss: expected it to return a tensor, found {type(value).__name__}")
    if value.dim() > 1 or value.numel() == 0:
        raise ExaminationError(
            f"loss: expected a scalar, or a 1-D tensor with one loss per step, each summed over the batch, found shape "
            f"{tuple(value.shape)}; sum over every axis but the one of time"
        )
    value = value.reshape(-1)
    if value.dtype not in DTYPES:
        raise ExaminationError(f"loss: it is {value.dtype}; examine in float32, without autocast")
    if not value.isfinite().all():
        step = int((~value.isfinite()).nonzero()[0]) + 1
        raise ExaminationError(f"loss: NaN or inf, first at step {step} of {len(value)}; {_suspect(output, targets)}")
    if not value.requires_grad:
        raise ExaminationError("loss: it does not depend on the model; was its argument detached?")
    return value


def _suspect(output: Any, targets: Any) -> str:
    """What to look at where a loss is not finite."""
    numbers = [tensor for _, tensor in tensors_of("", output) if tensor.is_floating_point() and tensor.numel()]
    given = [tensor for _, tensor in tensors_of("", targets) if tensor.is_floating_point()]
    if any(not tensor.isfinite().all() for tensor in given) or not numbers:
        return "look at its targets"
    if any(not tensor.isfinite().all() for tensor in numbers):
        return "so does the model's output"
    largest = max(float(tensor.detach().abs().max()) for tensor in numbers)
    if not largest > LARGE_OUTPUT:
        return f"the model's output is finite, up to {largest:.3g}: look at the loss and its targets"
    return f"the model's output goes up to {largest:.3g}, too far for the loss: look for a state that runs away"


def tensors_of(place: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a nest of tuples, lists and dicts, with its place."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_of(f"{place}[{key!r}]", item)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from tensors_of(f"{place}[{index}]", item)
