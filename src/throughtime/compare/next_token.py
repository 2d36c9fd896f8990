"""A network that says what comes next, its loss, and one step of its training: words and characters alike."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from throughtime.tasks.agreement import NO_TARGET


class NextToken(nn.Module):
    """x_t = embedding of token t, a recurrence, y_t = softmax(W_oh h_t + b_h): the probabilities of the next token.

    `forward` gives the logits, `readout` makes them from the hidden states.

    Args:
        recurrence: One layer, of torch's kind.
        tokens: How many there are.
    """

    def __init__(self, recurrence: Any, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, recurrence.input_size)
        self.recurrence = recurrence
        self.readout = nn.Linear(recurrence.hidden_size, tokens)

    def forward(self, tokens: Int[Tensor, "time batch"]) -> Float[Tensor, "time batch tokens"]:
        """The logits of every next token."""
        return self.readout(self.recurrence(self.embedding(tokens))[0])


def loss_per_step(
    logits: Float[Tensor, "time batch tokens"], targets: Int[Tensor, "time batch"]
) -> Float[Tensor, " time"]:
    """Cross-entropy in nats of the next token at every step, summed over the batch; padding counts nothing."""
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="none")
    return losses.view_as(targets).sum(1)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, schedule: Any, largest: float) -> None:
    """One step of training.

    Args:
        loss: Its loss.
        optimiser: Of the parameters.
        schedule: Of the learning rate.
        largest: The norm to which the gradient is clipped.
    """
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_((one for group in optimiser.param_groups for one in group["params"]), largest)
    optimiser.step()
    schedule.step()
