"""The numbers of a story: plain data, made by `tell` and read by the terminal and the page."""

from collections.abc import Mapping
from dataclasses import dataclass

from throughtime.compare.agreement import Agreement


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
        factor: The norm of dh_t/dW.
        shape: Of dh_t/dW: (hidden, rows of W, columns of W).
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
        probabilities: Of some words to come next.
        loss: l_t in nats.
        loss_by_output: Norm of dl_t/dy_t.
        output_by_hidden: Frobenius norm of dy_t/dh_t.
        output_shape: Its shape, (words, hidden).
        weight_norm: By gate, the largest factor by which its W_hh stretches a vector.
        terms: i = t .. 1.
        jacobians: i = t .. 2, those in front of the first word.
        gradients: By weight.
    """

    probabilities: Mapping[str, float]
    loss: float
    loss_by_output: float
    output_by_hidden: float
    output_shape: tuple[int, int]
    weight_norm: Mapping[str, float]
    terms: tuple[Term, ...]
    jacobians: tuple[StepJacobian, ...]
    gradients: Mapping[str, Gradient]


@dataclass(frozen=True)
class Story:
    """The chain rule through time on a sentence, and how far it lets five networks learn.

    Args:
        words: Of the sentence, as typed.
        unknown: Those that the networks do not know and read as "<unk>".
        target: The word that l_t expects after the last one.
        reason: Why that one.
        untrained: The tanh network before training.
        rnn: The tanh network.
        gated: The gated layer.
        equations: By network, "RNN" and "Gated", its equations in LaTeX.
        path_formulas: By network, the LaTeX of every path of its step Jacobian.
        agreement: Five networks, asked for "was" or "were" at growing distance from the noun.
    """

    words: tuple[str, ...]
    unknown: tuple[str, ...]
    target: str
    reason: str
    untrained: Chain
    rnn: Chain
    gated: Chain
    equations: Mapping[str, tuple[str, ...]]
    path_formulas: Mapping[str, Mapping[str, str]]
    agreement: Agreement
