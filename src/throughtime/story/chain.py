"""The chain rule through time on one sentence: every factor, every term, and autograd's own value beside their sum.

With t the last word, for a weight W of the recurrence,

    dl_t/dW = dl_t/dy_t * dy_t/dh_t * dh_t/dW,
    dh_t/dW = sum over i <= t of (dh_t/dh_{t-1} ... dh_{i+1}/dh_i) * (immediate derivative of h_i).

No derivative is written here: the step Jacobians and the immediate derivatives come from the cell's equations, the
first two factors and the value to compare with from autograd. All in float64.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.cells import Named
from throughtime.compare.next_token import NextToken
from throughtime.story.jacobians import Products, immediate_slopes, path_jacobians, stretch, total_derivative
from throughtime.story.numbers import Chain, Gradient, StepJacobian, Term
from throughtime.unroll import unroll

# The recurrent layer's weights by the story's names.
WEIGHTS = {"W_hx": "weight_ih", "W_hh": "weight_hh"}
# Relative difference between the summed terms and autograd's value that float64 rounding may leave.
TOLERANCE = 1e-9


def chain(network: NextToken, words: Int[Tensor, " time"], target: int, shown: Mapping[str, int]) -> Chain:
    """The chain rule through time, for the loss of the last word.

    Args:
        network: In float64, with a cell whose only state is h.
        words: Ids, one per word.
        target: The id of the word that should follow.
        shown: The next words whose probabilities are wanted, with their ids.

    Raises:
        ValueError: The cell has other states than h, or the loss is infinite.
        ArithmeticError: The terms do not add up to autograd's value.
    """
    return _Chain(network, words, target).told(shown)


class _Chain:
    """The tensors behind a chain."""

    def __init__(self, network: NextToken, words: Tensor, target: int) -> None:
        layer = network.recurrence
        self.readout, self.cell, self.weights = network.readout, layer.cell, layer.weights(0, 0)
        inputs = network.embedding(words).detach().unsqueeze(1)
        initial = dict.fromkeys(self.cell.states, inputs.new_zeros(1, layer.hidden_size))
        self.trajectory = unroll(self.cell, self.weights, inputs, initial)
        hidden = self.trajectory.states["h"][:, 0]
        loss = self.loss_of(self.output(hidden[-1]), target)
        if not loss.isfinite():
            raise ValueError(
                f"sentence: after its {len(words)} words, {type(self.cell).__name__} gives the word that should follow "
                "a probability of 0 in float64, so that there is no gradient to follow; shorten it"
            )
        weights = [getattr(self.weights, name) for name in WEIGHTS.values()]
        self.autograd = dict(zip(WEIGHTS, torch.autograd.grad(loss, weights), strict=True))
        self.loss, self.hidden = float(loss.detach()), hidden.detach()
        self.probabilities = self.output(self.hidden[-1]).detach()
        self.loss_by_output = torch.func.jacrev(self.loss_of)(self.probabilities, target)
        self.output_by_hidden = torch.func.jacrev(self.output)(self.hidden[-1]).detach()
        self.paths = {path: matrix.detach() for path, matrix in self._paths().items()}
        self.jacobians = torch.stack(list(self.paths.values())).sum(0)
        self.products = Products.of(self.jacobians)
        self.slopes = immediate_slopes(self.cell, self.trajectory)
        self.read = {"W_hx": inputs[:, 0], "W_hh": self.hidden[:-1]}

    def output(self, hidden: Float[Tensor, " hidden"]) -> Float[Tensor, " words"]:
        """y_t, the probabilities of the next word."""
        return torch.softmax(self.readout(hidden), dim=-1)

    @staticmethod
    def loss_of(output: Float[Tensor, " words"], target: int) -> Float[Tensor, ""]:
        """l_t, in nats."""
        return -output[target].log()

    @torch.no_grad()
    def told(self, shown: Mapping[str, int]) -> Chain:
        """The numbers of the story."""
        delta = self.loss_by_output @ self.output_by_hidden
        rows, columns = self.output_by_hidden.shape
        gates = self.weights.by_gate(self.cell)
        return Chain(
            probabilities={word: float(self.probabilities[index]) for word, index in shown.items()},
            loss=self.loss,
            loss_by_output=float(self.loss_by_output.norm()),
            output_by_hidden=float(self.output_by_hidden.norm()),
            output_shape=(rows, columns),
            weight_norm={gate: float(stretch(matrix)) for gate, matrix in gates.items()},
            terms=self._terms(delta),
            jacobians=self._steps(),
            gradients={weight: self._gradient(weight, delta) for weight in WEIGHTS},
        )

    def _paths(self) -> Named:
        return path_jacobians(self.cell, self.weights, self.trajectory)

    def _terms(self, delta: Tensor) -> tuple[Term, ...]:
        scale = self.products.ln_scale
        # On the scale of its product, every adjoint is a vector of ordinary size.
        adjoints = delta @ self.products.matrices
        stretches = scale + stretch(self.products.matrices).log()
        norms = scale + adjoints.norm(dim=-1).log()
        columns = {weight: self._columns(weight, adjoints) for weight in WEIGHTS}
        return tuple(
            Term(
                step=i + 1,
                ln_product=float(stretches[i]),
                ln_adjoint=float(norms[i]),
                immediate={weight: float(columns[weight][0][i]) for weight in WEIGHTS},
                ln_norm={weight: float(columns[weight][1][i]) for weight in WEIGHTS},
                share={weight: float(columns[weight][2][i]) for weight in WEIGHTS},
            )
            for i in reversed(range(self.trajectory.steps))
        )

    def _columns(self, weight: str, adjoints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """By step: the norm of the immediate derivative, ln of the norm of the term, its share of the gradient."""
        slopes, read, whole = self.slopes[weight], self.read[weight], self.autograd[weight]
        scale, size = self.products.ln_scale, read.norm(dim=-1)
        # A term is the outer product of these with what the weight reads.
        received = (adjoints.unsqueeze(1) * slopes).flatten(1)
        along = ((received @ whole) * read).sum(-1) * scale.exp()
        share = along / whole.square().sum() if whole.any() else torch.zeros_like(along)
        return slopes.flatten(1).norm(dim=-1) * size, scale + (received.norm(dim=-1) * size).log(), share

    def _steps(self) -> tuple[StepJacobian, ...]:
        norms = stretch(self.jacobians)
        of_paths = {path: stretch(matrices) for path, matrices in self.paths.items()}
        # Without a gate the slope along the recurrent pre-activation is phi' itself.
        ungated = len(self.paths) == 1 and len(self.cell.gates) == 1
        slopes = self.slopes["W_hh"]
        return tuple(
            StepJacobian(
                step=i + 1,
                norm=float(norms[i]),
                paths={path: float(stretches[i]) for path, stretches in of_paths.items()},
                slopes=(float(slopes[i].mean()), float(slopes[i].max())) if ungated else None,
            )
            for i in reversed(range(1, self.trajectory.steps))
        )

    def _gradient(self, weight: str, delta: Tensor) -> Gradient:
        autograd = self.autograd[weight]
        hidden_by_weight = total_derivative(self.products, self.slopes[weight], self.read[weight])
        summed = torch.einsum("a,agbc->gbc", delta, hidden_by_weight).flatten(0, 1)
        difference, size = float((summed - autograd).norm()), float(autograd.norm())
        if not difference <= TOLERANCE * size:
            raise ArithmeticError(
                f"the terms of dl_t/d{weight} add up to norm {float(summed.norm()):.12g}, autograd says {size:.12g}"
            )
        rows, columns = autograd.shape
        return Gradient(
            factor=float(hidden_by_weight.norm()),
            shape=(len(delta), rows, columns),
            norm=float(summed.norm()),
            autograd=size,
            relative_error=difference / size if size else 0.0,
        )
