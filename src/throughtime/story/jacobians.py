"""The matrices of the chain rule through time, all of them from the cell's equations."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named, derive
from throughtime.unroll import Trajectory, Weights

# Steps whose terms are summed in one matrix product; all of a long sentence at once would take gigabytes.
AT_ONCE = 64


def path_jacobians(
    cell: Cell, weights: Weights, trajectory: Trajectory
) -> dict[str, Float[Tensor, "time hidden hidden"]]:
    """The paths of dh_i/dh_{i-1}, i = 1 .. T, of the first sample. They add up to the step Jacobian.

    Raises:
        ValueError: The cell has other states than h, or h does not enter its gates through a matrix.
    """
    if cell.states != ("h",):
        raise ValueError(f"cell: expected one whose only state is h, found {cell!r} with {cell.states}")
    if cell.enters != "dense":
        raise ValueError(f"cell: expected one whose gates see h through a matrix W_hh, found {cell!r}")
    arguments, rows = _arguments(cell, trajectory), weights.by_gate(cell)
    jacobians = {}
    for path, evaluate in derive(cell).evaluate_paths.items():
        partial = evaluate(*arguments)
        matrices = [] if partial.carried is None else [torch.diag_embed(partial.carried)]
        matrices += [slope.unsqueeze(-1) * rows[gate] for gate, slope in partial.recurrent.items()]
        jacobians[path] = torch.stack(matrices).sum(0)
    return jacobians


def immediate_slopes(cell: Cell, trajectory: Trajectory) -> dict[str, Float[Tensor, "time gates hidden"]]:
    """By weight, the slope of h_i along every gate's pre-activation with h_{i-1} held constant, of the first sample."""
    partial = derive(cell).evaluate_update(*_arguments(cell, trajectory))
    zero = torch.zeros_like(trajectory.states["h"][1:, 0])
    return {
        "W_hx": torch.stack([partial.input.get(gate, zero) for gate in cell.gates], dim=1),
        "W_hh": torch.stack([partial.recurrent.get(gate, zero) for gate in cell.entered], dim=1),
    }


@dataclass(frozen=True)
class Products:
    """dh_t/dh_{t-1} ... dh_{i+1}/dh_i for i = 1 .. t, as matrices * exp(ln_scale), so that none underflows.

    Args:
        matrices: Of Frobenius norm 1, but for the empty product, the identity.
        ln_scale: In nats; -inf for a product that is zero.
    """

    matrices: Float[Tensor, "time hidden hidden"]
    ln_scale: Float[Tensor, " time"]

    @classmethod
    def of(cls, jacobians: Float[Tensor, "time hidden hidden"]) -> "Products":
        """From the step Jacobians dh_i/dh_{i-1}, i = 1 .. t."""
        product, ln_scale = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype), 0.0
        matrices, scales = [product], [ln_scale]
        for jacobian in jacobians[1:].flip(0):
            product = product @ jacobian
            size = float(product.norm())
            ln_scale += math.log(size) if size else -math.inf
            product = product / size if size else product
            matrices.append(product)
            scales.append(ln_scale)
        return cls(torch.stack(matrices[::-1]), torch.tensor(scales[::-1], dtype=jacobians.dtype))


def total_derivative(
    products: Products, slopes: Float[Tensor, "time gates hidden"], read: Float[Tensor, "time columns"]
) -> Float[Tensor, "hidden gates hidden columns"]:
    """dh_t/dW, the sum over i of a product of step Jacobians times the immediate derivative of h_i.

    Args:
        products: Those in front of every i.
        slopes: Of h_i along every gate's pre-activation.
        read: What W is multiplied with at step i.
    """
    matrices = products.matrices * products.ln_scale.exp()[:, None, None]
    total = torch.zeros((), dtype=read.dtype)
    for some, slope, x in zip(*(part.split(AT_ONCE) for part in (matrices, slopes, read)), strict=True):
        total = total + torch.einsum("iagb,ic->agbc", some.unsqueeze(2) * slope.unsqueeze(1), x)
    return total


def stretch(matrices: Float[Tensor, "*steps rows columns"]) -> Float[Tensor, "*steps"]:
    """The largest factor by which a matrix stretches a vector: its largest singular value."""
    return torch.linalg.matrix_norm(matrices, ord=2)


def _arguments(cell: Cell, trajectory: Trajectory) -> tuple[Named, Named, Tensor, Tensor]:
    """What a derivation is evaluated on: pre-activations by gate and the state before and after, first sample."""
    x, u, before, after = trajectory.seen_by(cell)
    x, u = ({gate: value[:, 0].detach() for gate, value in pre.items()} for pre in (x, u))
    return x, u, before[:, 0].detach(), after[:, 0].detach()
