"""From the runs of a model to its examination: the film of every recurrence, played once for all measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from throughtime.adjoint import Frame, Network, Playing
from throughtime.budget import SPENT, shared_out
from throughtime.capture import AdjointNotFinite, ExaminationError, Loop, NotFiniteError, Opened, Recurrence
from throughtime.capture.runs import Runs
from throughtime.cells import Named
from throughtime.examination import Examination, Record
from throughtime.films import film_of
from throughtime.findings import findings
from throughtime.measures import Film, LagBands, padding
from throughtime.notation import turned
from throughtime.notes import Noted, one_per_sample
from throughtime.progress import Progress
from throughtime.record import Recorder, terms_of
from throughtime.self_check import Summed, distance, not_finite, not_followed, parts_not_followed, relative_errors

# Lags that are summed one by one; of more, the far ones are summed in bands.
SINGLE_LAGS = 256
# In operations: what the sums of the weight terms may take in any case, and as a part of what the sweep takes; a matrix
# product of the size of all weights is due for every band and step.
FREE_OPERATIONS = 1e9
BANDS_SHARE = 0.25
# So many windows there are however small that part is.
FEWEST_BANDS = 24
# The part of a gradient from which on it is said that it has no lag.
NOTED = 0.01


class Measuring:
    """One examination under way: every recurrence played once through all of its measures.

    Args:
        runs: The runs of the user's model.
        max_lag: The largest lag that is followed; None for all.
        memory: Bytes that the examination may take in all; None for what the machine has.
        seed: Of the bootstrap.
    """

    def __init__(self, runs: Runs, max_lag: int | None, memory: int | None, seed: int) -> None:
        self._runs, self._sources, self._max_lag = runs, runs.sources, max_lag
        self._network = Network(runs.recurrences, runs.losses)
        self._recurrences = runs.recurrences
        losses = runs.losses.detach()[self._sources].cpu()
        self._films = [film_of(self._network, index, self._sources, max_lag) for index in range(len(self._recurrences))]
        bands = [self._bands(*one) for one in zip(self._recurrences, self._films, strict=True)]
        shares = shared_out(memory, self._network, runs.losses, self._films, bands)
        self._at_once = shares.sources
        self._network.differentiate(shares.derivatives)
        self._recorders = [
            Recorder(
                recurrence,
                film,
                self._network.pullbacks.get(index),
                bands[index],
                seed,
                padded,
                losses,
            )
            for index, (recurrence, film, padded) in enumerate(
                zip(self._recurrences, self._films, self._padded(), strict=True)
            )
        ]
        self._reached = [self._network.wiring.reached(index) for index in range(len(self._recurrences))]
        self._shown = [index for index, shown in enumerate(runs.shown) if shown]
        self._noted = Noted()

    def run(
        self, tokens: tuple[str, ...] | None, on_progress: Progress, training: Mapping[str, Any] | None = None
    ) -> Examination:
        """Play the film and take everything down.

        Args:
            tokens: One label per step of the first sample.
            training: What is known of the training, "window" and "trained_in", for the findings.
            on_progress: Called with (states done, all states, name of the recurrence).

        Raises:
            ExaminationError: The losses depend on no recurrence, or the summed weight terms are not `.grad`.
        """
        if not any(self._reached[index] for index in self._shown):
            names = ", ".join(repr(self._recurrences[index].name) for index in self._shown)
            raise ExaminationError(
                f"loss: it does not depend on any recurrence ({names}); was the hidden state detached, or never read?"
            )
        with torch.no_grad():
            self._play(on_progress)
            training = training or {}
            records = self._records(self._in_windows(training["window"]) if "window" in training else None)
        for record in records.values():
            record.measures.attrs.update(training)
        found = tuple(
            finding for name, record in records.items() for finding in findings(name, record.measures, record.causes)
        )
        notes = self._noted.sentences(self._runs, self._films, self._reached, self._max_lag)
        return Examination(records, found, tokens, notes)

    def _play(self, on_progress: Progress) -> None:
        total = -(-len(self._sources) // self._at_once) * sum(
            r.steps + 1 for r, reached in zip(self._recurrences, self._reached, strict=True) if reached
        )
        done = 0  # of all frames
        for rows, play in self._plays([film.followed_to for film in self._films]):
            name, shown = self._recurrences[play.index].name, 0
            self._check_losses(play.index, self._sources[rows], play.read)
            self._recorders[play.index].reads(rows, play.read)
            audience = self._recorders[play.index].audience if play.index in self._shown else ()
            try:
                for shown, frame in enumerate(_frames(play, rows), start=1):
                    for measure in audience:
                        measure.update(frame)
                    on_progress(done + shown, total, name)
            except AdjointNotFinite as error:
                raise self._told(error, play.index) from None
            # Where no source is active, no frame is shown; the last step counts in any case.
            done += play.states
            if shown < play.states:
                on_progress(done, total, name)

    def _plays(self, last_steps: Sequence[Tensor]) -> Iterator[tuple[Tensor, Playing]]:
        """All recurrences played, for some sources after the others: their places among all, and the film.

        Args:
            last_steps: For every recurrence, the smallest step to which each source is followed.
        """
        for rows in torch.arange(len(self._sources)).split(self._at_once):
            for play in self._network.play(self._sources[rows], [steps[rows] for steps in last_steps]):
                yield rows, play

    def _check_losses(self, index: int, sources: Tensor, read: Tensor) -> None:
        """Losses that read one sample each, every one its own, are none of steps: where there are as many samples."""
        recurrence, film = self._recurrences[index], self._films[index]
        losses, in_step = len(self._runs.losses), film.single and not film.out_of_step
        if len(sources) == 1 or losses != recurrence.batch or in_step:
            return
        if torch.equal(read.cpu(), sources.unsqueeze(-1) == torch.arange(losses)):
            raise ExaminationError(one_per_sample(losses, self._recurrences))

    def _told(self, error: AdjointNotFinite, index: int) -> NotFiniteError:
        """Where an adjoint is not finite, as a user counts: in the recurrence, of which loss."""
        recurrence, film = self._recurrences[index], self._films[index]
        step = turned(error.step, recurrence.steps, recurrence.reverse)
        # Autograd makes NaN of nothing times inf, so that other losses have it too: the nearest one counts.
        source = error.sources[(film.positions[error.sources] - error.step).abs().argmin()]
        loss_step = int(film.loss_steps[source])
        return NotFiniteError(recurrence.name, step, recurrence.steps, error.quantity, error.advice, loss_step)

    def _in_windows(self, window: int) -> list[dict[str, Tensor]] | None:
        """By weight of every recurrence, its gradient where the graph is cut after every so many steps.

        None where that cannot be told: the graph of a loop is whole, so that only what a loss sends to the steps of its
        own window can be left out of it.
        """
        loops = [isinstance(recurrence, Loop) for recurrence in self._recurrences]
        if any(loops) and (len(loops) > 1 or len(self._runs.losses) == 1):
            self._noted.without_windows = True
            return None
        films = [
            film if film.max_lag is None else replace(film, max_lag=max(film.max_lag, window - 1))
            for film in self._films
        ]
        terms: list[Any] = [
            terms_of(recurrence, film, self._network.pullbacks.get(index), LagBands.covering(*film.lag_range, 1))
            for index, (recurrence, film) in enumerate(zip(self._recurrences, films, strict=True))
        ]
        last = [film.window_begins(window) if any(loops) else film.followed_to for film in films]
        with self._network.in_windows(window):
            for rows, play in self._plays(last):
                for frame in _frames(play, rows):
                    terms[play.index].update(frame)
        return [{name: term.total() for name, term in one.result().items()} for one in terms]

    def _records(self, windowed: Sequence[Mapping[str, Tensor]] | None = None) -> dict[str, Record]:
        indices = [index for index in self._shown if self._reached[index]]
        for index in indices:
            self._recorders[index].finish()
        summed = [
            Summed(
                self._recurrences[i],
                self._recorders[i].weight_terms(),
                self._recorders[i].slope_rounding(),
                self._network.outside(i, self._sources),
            )
            for i in indices
        ]
        errors: list[dict[str, float] | ExaminationError]
        beyond: list[Named | None] = [None] * len(summed)
        cut = any(film.cut for film in self._films)
        if cut:
            beyond = [*not_followed(self._runs.own, summed)]
            errors = [
                parts_not_followed(one, rest) for one, rest in zip(summed, beyond, strict=True) if rest is not None
            ]
        else:
            errors = relative_errors(self._runs.own, summed)
        self._note_outside(summed)
        records = {}
        for index, one, error, rest, lost in zip(indices, summed, errors, beyond, self._lost(indices), strict=True):
            if isinstance(error, ExaminationError):
                # What was only taken for a recurrence, and is not as it was taken, is left out; that is said.
                if not (self._runs.guessed and isinstance(one.recurrence, Loop)):
                    raise error
                self._noted.mistaken.append(f"{one.recurrence.name!r} is left out: {error}")
                continue
            self._noted.overflowed += [] if cut else not_finite(one, error)
            record = records[one.recurrence.name] = self._recorders[index].record(one.terms, error, lost, rest)
            if windowed is not None and one.terms:
                whole = {name: term.total() for name, term in one.terms.items()}
                for name, further in (rest or {}).items():
                    whole[name] = whole[name] + further
                record.measures.attrs["window_error"] = distance(windowed[index], whole)
            if place := record.measures.attrs["first_not_finite"]:
                self._noted.arose[one.recurrence.name] = place
        if not records:
            raise next(error for error in errors if isinstance(error, ExaminationError))
        return records

    def _note_outside(self, summed: Sequence[Summed]) -> None:
        """Which weights of loops have a gradient that is in no term: that of uses which are of no single step."""
        gradients = self._runs.own.gradients([one.recurrence for one in summed])
        for one, whole in zip(summed, gradients, strict=True):
            for name, part in one.outside.items():
                share = float(part.norm() / whole[name].norm())
                if share > NOTED:
                    self._noted.outside.append(f"{name} in {one.recurrence.name!r} ({share:.0%})")

    def _lost(self, indices: Sequence[int]) -> list[float | None]:
        """For every recurrence that the model cuts, how far its own gradient is from the whole one."""
        recurrences = [self._recurrences[index] for index in indices]
        if self._runs.detached is None:
            return [None] * len(recurrences)
        found = self._runs.detached.gradients(recurrences)
        whole = self._runs.own.gradients(recurrences)
        return [
            distance(cut, full) if recurrence.detached else None
            for recurrence, cut, full in zip(recurrences, found, whole, strict=True)
        ]

    def _bands(self, recurrence: Recurrence, film: Film) -> LagBands:
        smallest, largest = film.lag_range
        # The largest lag of all is that of the initial state, which has no weight term.
        largest = min(largest, int(film.positions.max()) - 1)
        numbers = max(1, sum(weight.numel() for weight in recurrence.parameters.values()))
        at_most = min(SINGLE_LAGS, SPENT // (8 * numbers))
        if isinstance(recurrence, Opened):
            sweep = 2 * recurrence.width**2 * recurrence.batch * int(film.positions.sum())
            affordable = max(FREE_OPERATIONS, BANDS_SHARE * sweep) / (2 * numbers * recurrence.batch * film.steps)
            at_most = min(at_most, max(FEWEST_BANDS, int(affordable)))
        return LagBands.covering(smallest, largest, max(1, at_most))

    def _padded(self) -> list[Tensor | None]:
        """For every recurrence the steps of padding, or None: those of what the first layer reads hold above."""
        found: dict[tuple[int, int, bool], Tensor] = {}
        for recurrence in self._recurrences:
            if isinstance(recurrence, Opened) and (steps := padding(recurrence.trajectory)).any():
                found.setdefault((recurrence.steps, recurrence.batch, recurrence.reverse), steps)
        return [found.get((one.steps, one.batch, one.reverse)) for one in self._recurrences]


def _frames(play: Playing, rows: Tensor) -> Iterator[Frame]:
    """The frames of a part, their sources numbered among all."""
    try:
        for frame in play.frames:
            yield frame.of(rows)
    except AdjointNotFinite as error:
        raise error.changed(sources=rows[error.sources]) from None
