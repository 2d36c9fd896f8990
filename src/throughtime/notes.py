"""What a reader must know to read an examination right, in sentences."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from throughtime.capture import Recurrence
from throughtime.capture.runs import Runs
from throughtime.measures import Film
from throughtime.notation import INPUTS


@dataclass
class Noted:
    """What has turned out while a film was played and its terms were summed.

    Args:
        mistaken: Why something that was taken for a recurrence is left out, in sentences.
        overflowed: Weights of which autograd's own gradient is not finite.
        outside: Weights of loops of whose gradient a part is of no single step.
        arose: By recurrence, where inf arises first.
        without_windows: Whether the cost of the training's window could not be told.
    """

    mistaken: list[str] = field(default_factory=list)
    overflowed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    arose: dict[str, str] = field(default_factory=dict)
    without_windows: bool = False

    def sentences(
        self, runs: Runs, films: Sequence[Film], reached: Sequence[bool], max_lag: int | None
    ) -> tuple[str, ...]:
        """All notes on an examination.

        Args:
            runs: Of the user's model.
            films: The axes of every recurrence.
            reached: Whether the losses depend on it.
            max_lag: The largest lag that was followed; None for all.
        """
        return (
            *_of_what_was_found(runs),
            *self.mistaken,
            *self._of_the_window(),
            *_of_what_is_followed(runs, reached),
            *self._of_gradients(),
            *_of_lags(films, max_lag),
            *_of_losses(runs, films),
        )

    def _of_the_window(self) -> list[str]:
        if not self.without_windows:
            return []
        return [
            "What the window of the training costs cannot be told here: a loop is followed beside other recurrences, "
            "or with a single loss."
        ]

    def _of_gradients(self) -> list[str]:
        notes = []
        if self.overflowed:
            notes.append(
                f"Autograd's own gradient of {', '.join(self.overflowed)} is not finite, so the terms were not "
                "compared with it."
            )
        if self.outside:
            notes.append(
                f"Of the gradient of {', '.join(self.outside)} so much is of no single step: it comes from elsewhere "
                "in the model, or a step hands it on beside its states. It has no lag, and the reach does not count it."
            )
        return notes + [f"In {name!r}, inf arises first in the {place}." for name, place in self.arose.items()]


def _of_what_was_found(runs: Runs) -> list[str]:
    names = [recurrence.name for recurrence in runs.recurrences]
    notes = []
    if names == [INPUTS] and runs.guessed:
        notes.append(
            "No recurrence was found in this model; if there is one, name with recurrence= the module or function that "
            "is called step by step."
        )
    if INPUTS in names:
        notes.append(
            "What is named inputs are the derivatives of the losses with respect to the model's input, step by step: "
            "what the output depends on, not what a state passes on."
        )
    return notes


def _of_what_is_followed(runs: Runs, reached: Sequence[bool]) -> list[str]:
    recurrences, notes = runs.recurrences, []
    if runs.left_out:
        notes.append(f"Left out, since not named or not called: {_quoted(runs.left_out)}.")
    for recurrence, depended_on in zip(recurrences, reached, strict=True):
        if not depended_on:
            notes.append(f"The loss does not depend on recurrence {recurrence.name!r}; it was not followed.")
    if len(runs.sources) == len(runs.losses) and any(recurrence.batch == 1 for recurrence in recurrences):
        notes.append("There is one sample and every loss is followed, so the lag profile has no interval.")
    if all(recurrence.steps == 1 for recurrence in recurrences):
        notes.append("The sequence has one step: there is nothing to look back on but the initial state.")
    return notes


def _of_lags(films: Sequence[Film], max_lag: int | None) -> list[str]:
    if max_lag is None or not any(film.cut for film in films):
        return []
    return [
        f"Lags beyond {max_lag} were not followed one by one. What they add up to is what the others leave of .grad: a "
        f"reach up to {max_lag} is exact, and one of {max_lag + 1} at least that."
    ]


def _of_losses(runs: Runs, films: Sequence[Film]) -> list[str]:
    """From where lags are counted, where that is not the step of the loss."""
    recurrences, losses, notes = runs.recurrences, len(runs.losses), []
    lengths = {recurrence.steps for recurrence in recurrences} - {losses}
    if losses > 1 and lengths:
        notes.append(
            f"There are {losses} losses for sequences of {listed(lengths)} steps: there, the lag of a loss is counted "
            "from the last step that it reads."
        )
    out_of_step = [one.name for one, film in zip(recurrences, films, strict=True) if film.out_of_step]
    if out_of_step:
        notes.append(
            f"The losses read {_quoted(out_of_step)} at other steps than their own: there, the lag of a loss is "
            "counted from the last step that it reads."
        )
    if runs.apart:
        notes.append(
            "The loss is a scalar that reads many steps: what it sends back through the states of each step is "
            "followed as the loss of that step, and lags are counted from there. All of it adds up to .grad."
        )
    elif losses == 1 and any(recurrence.steps > 1 for recurrence in recurrences):
        notes.append(
            "The loss is a scalar: it counts as the loss of the last step that it reads, of every sample its own, and "
            "lags are counted from there. Where it reads many steps, what it reads near the beginning hides what comes "
            "from far back: return one loss per step, each summed over the batch."
        )
    return notes


def one_per_sample(losses: int, recurrences: Sequence[Recurrence]) -> str:
    """What is wrong where there is one loss per sample, and what to do."""
    return (
        f"loss: found {losses} losses, as many as there are samples, for sequences of "
        f"{listed({recurrence.steps for recurrence in recurrences})} steps; expected one loss per step, each summed "
        "over the batch, or a scalar"
    )


def listed(steps: Collection[int]) -> str:
    """Numbers in words: "5 and 7"."""
    return " and ".join(map(str, sorted(steps)))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
