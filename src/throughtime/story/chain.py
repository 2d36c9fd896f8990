"""The chain rule through time on one sentence: every factor, every term, and autograd's own value beside their sum.

With t the last word, for a weight W of the recurrence,

    dl_t/dW = dl_t/dy_t * dy_t/dh_t * dh_t/dW,
    dh_t/dW = sum over i <= t of (dh_t/dh_{t-1} ... dh_{i+1}/dh_i) * (immediate derivative of h_i).

No derivative is written here: the step Jacobians and the immediate derivatives come from the cell's equations, the
first two factors and the value to compare with from autograd. All in float64.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named, derive
from throughtime.compare.agreement import NextWord
from throughtime.unroll import Trajectory, Weights, unroll

# The recurrent layer's weights by the story's names.
WEIGHTS = {"W_hx": "weight_ih", "W_hh": "weight_hh"}
# Relative difference between the summed terms and autograd's value that float64 rounding may leave.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Term:
    """The term of one word in dl_t/dW. Norms of vectors and tensors are Frobenius norms.

    Args:
        step: i, the word's position from 1.
        ln_product: ln of the largest factor by which dh_t/dh_{t-1} ... dh_{i+1}/dh_i stretches a vector.
        ln_adjoint: ln |delta(t,i)|, delta(t,i) = dl_t/dh_t times that product.
        immediate: By weight, the norm of the immediate derivative of h_i.
        ln_norm: By weight, ln of the norm of the term.
        share: By weight, the term's part of the whole gradient, as a projection on it; all terms add up to 1.
    """

    step: int
    ln_product: float
    ln_adjoint: float
    immediate: Mapping[str, float]
    ln_norm: Mapping[str, float]
    share: Mapping[str, float]


@dataclass(frozen=True)
class StepJacobian:
    """dh_i/dh_{i-1}; norms are the largest factors by which a matrix stretches a vector.

    Args:
        step: i.
        norm: Of the step Jacobian.
        paths: The norm of each path of it; the matrices add up, their norms need not.
        slopes: Where the step Jacobian is diag(phi') W_hh, the mean and the largest phi'.
    """

    step: int
    norm: float
    paths: Mapping[str, float]
    slopes: tuple[float, float] | None


@dataclass(frozen=True)
class Gradient:
    """dl_t/dW for one weight.

    Args:
        factor: The norm of dh_t/dW, with its shape (hidden, rows, columns) in `shape`.
        shape: Of dh_t/dW.
        norm: Of the sum of all terms.
        autograd: The norm of autograd's own value.
        relative_error: The norm of the difference between the two, against `autograd`; 0 where both are zero.
    """

    factor: float
    shape: tuple[int, int, int]
    norm: float
    autograd: float
    relative_error: float


@dataclass(frozen=True)
class Chain:
    """The chain rule through time of one network on one sentence.

    Args:
        probabilities: Of some next words after the last one.
        loss: l_t in nats.
        loss_by_output: Norm of dl_t/dy_t.
        output_by_hidden: Frobenius norm of dy_t/dh_t.
        output_shape: Its shape, (words, hidden).
        loss_by_hidden: Norm of the product of the two, dl_t/dh_t = delta(t,t).
        weight_norm: Of each gate's W_hh, the largest factor by which it stretches a vector.
        terms: i = t .. 1.
        jacobians: i = t .. 2, those in front of the first word.
        gradients: By weight.
    """

    probabilities: Mapping[str, float]
    loss: float
    loss_by_output: float
    output_by_hidden: float
    output_shape: tuple[int, int]
    loss_by_hidden: float
    weight_norm: Mapping[str, float]
    terms: tuple[Term, ...]
    jacobians: tuple[StepJacobian, ...]
    gradients: Mapping[str, Gradient]


def path_jacobians(cell: Cell, weights: Weights, trajectory: Trajectory) -> dict[str, Float[Tensor, "time hidden hidden"]]:
    """The paths of dh_i/dh_{i-1}, i = 1 .. T, of the first sample. They add up to the step Jacobian.

    Raises:
        ValueError: The cell has other states than h.
    """
    if cell.states != ("h",):
        raise ValueError(f"cell: expected one whose only state is h, found {cell!r} with {cell.states}")
    arguments = _arguments(cell, trajectory)
    rows = cell.split(weights.weight_hh.T)
    jacobians = {}
    for path, evaluate in derive(cell).evaluate_paths.items():
        partial = evaluate(*arguments)
        matrices = [] if partial.carried is None else [torch.diag_embed(partial.carried)]
        matrices += [slope.unsqueeze(-1) * rows[gate].T for gate, slope in partial.recurrent.items()]
        jacobians[path] = torch.stack(matrices).sum(0)
    return jacobians


def immediate_slopes(cell: Cell, trajectory: Trajectory) -> dict[str, Float[Tensor, "time gates hidden"]]:
    """By weight, d h_i / d pre-activation with h_{i-1} held constant, for every gate, of the first sample."""
    partial = derive(cell).evaluate_update(*_arguments(cell, trajectory))
    zero = torch.zeros_like(trajectory.states["h"][1:, 0])
    return {
        "W_hx": torch.stack([partial.input.get(gate, zero) for gate in cell.gates], dim=1),
        "W_hh": torch.stack([partial.recurrent.get(gate, zero) for gate in cell.gates], dim=1),
    }


def chain(network: NextWord, words: Tensor, target: int, shown: Mapping[str, int]) -> Chain:
    """The chain rule through time, for the loss of the last word.

    Args:
        network: In float64, its cell with one state.
        words: Ids, one per word.
        target: The id of the word that should follow.
        shown: The next words whose probabilities are wanted, with their ids.

    Raises:
        ArithmeticError: The terms do not add up to autograd's value.
    """
    return _Chained(network, words, target).told(shown)


class _Chained:
    """The tensors behind a chain."""

    def __init__(self, network: NextWord, words: Tensor, target: int) -> None:
        layer = network.recurrence
        self.network, self.cell, self.weights = network, layer.cell, layer.weights(0, 0)
        inputs = network.embedding(words).detach().unsqueeze(1)
        initial = {"h": inputs.new_zeros(1, layer.hidden_size)}
        self.trajectory = unroll(self.cell, self.weights, inputs, initial)
        hidden = self.trajectory.states["h"][:, 0]
        output = self.output(hidden[-1])
        self.probabilities, self.loss = output.detach(), self.loss_of(output, target)
        tensors = [getattr(self.weights, name) for name in WEIGHTS.values()]
        # The initial state is zero: a single word has nothing to multiply W_hh with, and autograd says None.
        self.autograd = dict(
            zip(WEIGHTS, torch.autograd.grad(self.loss, tensors, allow_unused=True, materialize_grads=True), strict=True)
        )
        self.hidden = hidden.detach()
        self.loss_by_output = torch.func.jacrev(self.loss_of)(self.probabilities, target)
        self.output_by_hidden = torch.func.jacrev(self.output)(self.hidden[-1]).detach()

    def output(self, hidden: Tensor) -> Tensor:
        """y_t, the probabilities of the next word."""
        return torch.softmax(self.network.readout(hidden), dim=-1)

    @staticmethod
    def loss_of(output: Tensor, target: int) -> Tensor:
        """l_t, in nats."""
        return -output[target].log()

    @torch.no_grad()
    def told(self, shown: Mapping[str, int]) -> Chain:
        """The numbers of the story."""
        paths = path_jacobians(self.cell, self.weights, self.trajectory)
        jacobians = torch.stack(list(paths.values())).sum(0)
        products = Products.of(jacobians)
        delta = self.loss_by_output @ self.output_by_hidden
        slopes = immediate_slopes(self.cell, self.trajectory)
        read = {"W_hx": self.trajectory.inputs[:, 0], "W_hh": self.hidden[:-1]}
        return Chain(
            {word: float(self.probabilities[index]) for word, index in shown.items()},
            float(self.loss),
            float(self.loss_by_output.norm()),
            float(self.output_by_hidden.norm()),
            (self.output_by_hidden.shape[0], self.output_by_hidden.shape[1]),
            float(delta.norm()),
            {gate: _stretch(rows) for gate, rows in self.cell.split(self.weights.weight_hh.T).items()},
            self._terms(products, delta, slopes, read),
            self._steps(paths, jacobians, slopes["W_hh"]),
            {weight: self._gradient(weight, products, delta, slopes[weight], read[weight]) for weight in WEIGHTS},
        )

    def _terms(self, products: "Products", delta: Tensor, slopes: Named, read: Named) -> tuple[Term, ...]:
        # On the scale of its product, every adjoint is a vector of ordinary size.
        adjoints = delta @ products.matrices
        rows = {weight: adjoints.unsqueeze(1) * slopes[weight] for weight in WEIGHTS}
        return tuple(
            Term(
                i + 1,
                float(products.ln_scale[i]) + _ln(_stretch(products.matrices[i])),
                float(products.ln_scale[i]) + _ln(float(adjoints[i].norm())),
                {weight: float(slopes[weight][i].norm() * read[weight][i].norm()) for weight in WEIGHTS},
                {
                    weight: float(products.ln_scale[i]) + _ln(float(rows[weight][i].norm() * read[weight][i].norm()))
                    for weight in WEIGHTS
                },
                {
                    weight: self._share(weight, rows[weight][i] * products.ln_scale[i].exp(), read[weight][i])
                    for weight in WEIGHTS
                },
            )
            for i in reversed(range(self.trajectory.steps))
        )

    def _share(self, weight: str, rows: Tensor, read: Tensor) -> float:
        whole = self.autograd[weight]
        size = float(whole.square().sum())
        return float(rows.flatten() @ whole @ read) / size if size else 0.0

    def _steps(self, paths: Named, jacobians: Tensor, slopes: Tensor) -> tuple[StepJacobian, ...]:
        # Without a gate the recurrent pre-activation's slope is phi' itself.
        ungated = len(paths) == 1 and len(self.cell.gates) == 1
        return tuple(
            StepJacobian(
                i + 1,
                _stretch(jacobians[i]),
                {path: _stretch(matrices[i]) for path, matrices in paths.items()},
                (float(slopes[i].mean()), float(slopes[i].max())) if ungated else None,
            )
            for i in reversed(range(1, self.trajectory.steps))
        )

    def _gradient(self, weight: str, products: "Products", delta: Tensor, slopes: Tensor, read: Tensor) -> Gradient:
        hidden_by_weight = total_derivative(products, slopes, read)
        summed = torch.einsum("a,agbc->gbc", delta, hidden_by_weight).flatten(0, 1)
        autograd = self.autograd[weight]
        difference, size = float((summed - autograd).norm()), float(autograd.norm())
        if difference > TOLERANCE * size:
            raise ArithmeticError(
                f"the terms of dl_t/d{weight} add up to norm {float(summed.norm()):.12g}, autograd says {size:.12g}"
            )
        shape = (len(delta), *autograd.shape)
        return Gradient(
            float(hidden_by_weight.norm()), shape, float(summed.norm()), size, difference / size if size else 0.0
        )


@dataclass(frozen=True)
class Products:
    """dh_t/dh_{t-1} ... dh_{i+1}/dh_i for i = 1 .. t, as matrices * exp(ln_scale), so that none underflows.

    Args:
        matrices: Of Frobenius norm 1, but for the empty product, the identity.
        ln_scale: In nats.
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
            ln_scale += _ln(size)
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
        slopes: d h_i / d pre-activation.
        read: What W is multiplied with at step i.
    """
    steps = zip(products.matrices, products.ln_scale.exp(), slopes, read, strict=True)
    # One step at a time: all of them at once would take gigabytes for a long sentence.
    terms = (torch.einsum("ab,gb,c->agbc", scale * matrix, slope, x) for matrix, scale, slope, x in steps)
    total = next(terms)
    for term in terms:
        total += term
    return total


def _arguments(cell: Cell, trajectory: Trajectory) -> tuple[Named, Named, Tensor, Tensor]:
    """What a derivation is evaluated on: pre-activations by gate and the state before and after, first sample."""
    hidden = trajectory.states["h"].detach()[:, 0]
    x, u = trajectory.input_pre.detach()[:, 0], trajectory.recurrent_pre.detach()[:, 0]
    return cell.split(x), cell.split(u), hidden[:-1], hidden[1:]


def _stretch(matrix: Tensor) -> float:
    """The largest factor by which a matrix stretches a vector: its largest singular value."""
    return float(torch.linalg.matrix_norm(matrix, ord=2))


def _ln(size: float) -> float:
    return math.log(size) if size else -math.inf
