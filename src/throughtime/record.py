"""From the measures of one recurrence to its labelled record."""

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Int
from torch import Tensor

from throughtime.adjoint import Pullback
from throughtime.capture import Opened, Recurrence
from throughtime.causes.decomposition import Causes
from throughtime.causes.steps import StepCauses
from throughtime.cells import Named, equations
from throughtime.cells.gates import kept_by, multiplied_by
from throughtime.examination import Record
from throughtime.labelled import Labelled
from throughtime.losses import of_readout, of_samples, of_windows
from throughtime.measures import (
    Film,
    GradientMap,
    LagBands,
    LagProfile,
    Measure,
    PaddingShare,
    Profile,
    Reels,
    StepTerms,
    TotalDerivative,
    WeightTerms,
    first_not_finite,
    truncation,
    truncation_of_states,
    unslowed,
)
from throughtime.measures.weight_terms import Terms
from throughtime.notation import (
    ACTIVATION_SLOPE,
    BOUND,
    BOUNDS,
    CAUSE,
    FACTOR,
    LAG,
    LOSS_STEP,
    PATH,
    SAMPLE,
    STATE,
    STATE_STEP,
    WEIGHTS,
    turned,
)
from throughtime.states import of_states


class Recorder:
    """The audience of one recurrence's film: all measures and causes, and the record they make.

    Args:
        recurrence: The recurrence.
        film: Its axes.
        pullback: Its step pullbacks, where its equations are known.
        bands: The bands of lags in which the weight terms are summed; None where no loss is followed, so that there are
            no such terms.
        seed: Of the bootstrap.
        padded: The steps of padding; None where there is none.
        losses: Of every source, what it is; None where no loss is followed.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        film: Film,
        pullback: Pullback | None,
        bands: LagBands | None,
        seed: int,
        padded: Tensor | None = None,
        losses: Tensor | None = None,
    ) -> None:
        self._losses, self._pullback = losses, pullback
        self._recurrence, self._film, self._bands, self._seed = recurrence, film, bands, seed
        self._map, self._profile, self._total = GradientMap(film), LagProfile(film), TotalDerivative(film)
        self._causes: Causes | StepCauses = StepCauses(film) if pullback is None else Causes(film, pullback)
        self._terms = None if bands is None else terms_of(recurrence, film, pullback, bands)
        self._padded, self._padding = padded, None if padded is None else PaddingShare(film, padded)
        self._reels = Reels(film, [self._map, self._profile])
        audience = (self._reels, self._terms, self._total, self._causes, self._padding)
        self.audience: tuple[Measure[Any], ...] = tuple(measure for measure in audience if measure is not None)

    def reads(self, sources: Int[Tensor, " source"], read: Bool[Tensor, "source batch"]) -> None:
        """Take down which samples some sources read at all."""
        self._profile.reads(sources, read)

    def finish(self) -> None:
        """Take down what has been gathered: the film has been played to its end."""
        self._reels.finish()

    def weight_terms(self) -> dict[str, Terms]:
        """The terms by weight name; none where no loss is followed."""
        return {} if self._terms is None else self._terms.result()

    def slope_rounding(self) -> float:
        """How far autograd's gradient may be off because it computes slopes from activations, not pre-activations."""
        recurrence = self._recurrence
        if not isinstance(recurrence, Opened) or self._pullback is None or self._bands is None:
            return 0.0
        epsilon = torch.finfo(recurrence.dtype).eps
        weights = recurrence.weights
        stretch = 1.0 if weights.weight_hh is None else 1 + float(weights.weight_hh.double().norm())
        if weights.weight_hr is not None:
            stretch *= 1 + float(weights.weight_hr.double().norm())
        return epsilon * stretch * unslowed(self._film, self._map.result(), self._pullback)

    def record(
        self,
        terms: dict[str, Terms],
        relative_error: dict[str, float],
        detached_error: float | None = None,
        beyond: Named | None = None,
    ) -> Record:
        """Everything, labelled.

        Args:
            terms: What `weight_terms` returned.
            relative_error: By weight name, all terms summed against `.grad`.
            beyond: By weight name, what the lags add up to that were not followed, where there are any.
            detached_error: Where the model cuts the graph between steps, the relative error of its own `.grad`.
        """
        measures, labelled = Labelled(attributes=self._attributes), {}
        profile = self._of_norms(measures)
        lags = _numpy(profile.lags)
        if isinstance(self._recurrence, Opened):
            of_states(self._recurrence.on_cpu, lags, measures)
        if self._padding is not None and self._padded is not None:
            measures.add("padding_share", self._padding.result(), {})
            measures.attributes["padded"] = float(self._padded.double().mean())
        if detached_error is not None:
            measures.attributes["detached_error"] = detached_error
        if self._bands is not None:
            self._of_loss(terms, self._bands, profile, beyond, measures)
            norms = {name: term.ln_norm for name, term in terms.items()}
            first = first_not_finite(self._film, self._map.result(), norms, self._recurrence.dtype)
            measures.attributes["first_not_finite"] = "" if first is None else str(first)
            labelled = {
                name: self._labelled_terms(term, self._bands, lags, relative_error[name])
                for name, term in terms.items()
            }
        return Record(measures.dataset(), labelled, self._labelled_causes())

    @property
    def _map_axes(self) -> dict[str, np.ndarray]:
        return {LOSS_STEP: _numpy(self._film.loss_steps), STATE_STEP: _numpy(self._film.state_steps)}

    @property
    def _term_axes(self) -> dict[str, np.ndarray]:
        return {LOSS_STEP: _numpy(self._film.loss_steps), STATE_STEP: _numpy(self._film.step_labels)}

    def _of_norms(self, into: Labelled) -> Profile:
        """Add what is measured of the adjoints' norms alone, and return the profile."""
        profile = self._profile.result(self._seed)
        lags, state = {LAG: _numpy(profile.lags)}, {STATE: list(self._film.states)}
        maps, bounds = {**state, **self._map_axes}, {BOUND: BOUNDS}
        into.add("gradient_map", self._map.result(), maps, "nats")
        counted_from = turned(self._film.positions, self._film.steps, self._film.reverse)
        into.add("counted_from", counted_from, {LOSS_STEP: _numpy(self._film.loss_steps)})
        into.add("sample_map", self._map.sample(), maps, "nats")
        into.add("lag_profile", profile.values, {**state, **lags}, "nats")
        into.add("lag_profile_interval", profile.interval, {**state, **lags, **bounds}, "nats")
        into.add("sample_profile", self._profile.by_sample(profile.lags), {**lags, SAMPLE: None}, "nats")
        into.add("decay_rate", profile.decay_rate, state, "nats per step")
        into.add("decay_rate_interval", profile.decay_rate_interval, {**state, **bounds}, "nats per step")
        return profile

    def _of_loss(
        self, terms: dict[str, Terms], bands: LagBands, profile: Profile, beyond: Named | None, into: Labelled
    ) -> None:
        """Add what the losses send back, and what the weights learn from."""
        lags = _numpy(profile.lags)
        cut = truncation(terms, bands, beyond) if terms else truncation_of_states(*self._profile.ln_squares())
        gram = self._terms.gram() if isinstance(self._terms, WeightTerms) else None
        trajectory = self._recurrence.on_cpu.trajectory if isinstance(self._recurrence, Opened) else None
        present = profile.values[:, int((profile.lags == 0).nonzero())]
        of_readout(self._film, self._map, present, self._total, trajectory, self._losses, into)
        norms = [term.ln_norm for term in terms.values()] or [self._map.result()]
        of_windows(cut, lags, any(bool((one > -torch.inf).any()) for one in norms), into)
        of_samples(self._film, gram, cut, lags, self._seed, into)

    @property
    def _equations(self) -> str:
        """In LaTeX, one a line; none where they are not known."""
        recurrence = self._recurrence
        if not isinstance(recurrence, Opened):
            return ""
        return "\n".join(equations(recurrence.cell, recurrence.weights.weight_hr is not None))

    @property
    def _of_cell(self) -> dict[str, str]:
        """What the state is kept and multiplied by; nothing where the equations are not known."""
        if not isinstance(self._recurrence, Opened):
            return {}
        return {"kept_by": kept_by(self._recurrence.cell), "multiplied_by": multiplied_by(self._recurrence.cell)}

    @property
    def _attributes(self) -> dict[str, object]:
        recurrence = self._recurrence
        return {
            "name": recurrence.name,
            "cell": recurrence.cell_name,
            "equations": self._equations,
            **self._of_cell,
            "hidden_size": recurrence.width,
            **({"input_size": recurrence.runs[0].inputs.shape[-1]} if isinstance(recurrence, Opened) else {}),
            "steps": recurrence.steps,
            "batch": recurrence.batch,
            "carried": recurrence.states[-1],
            **({"max_lag": self._film.max_lag} if self._film.cut else {}),
            "direction": "reverse" if recurrence.reverse else "forward",
            "detached": list(recurrence.detached),
            "dtype": str(recurrence.dtype).removeprefix("torch."),
            **self._samples_end,
        }

    @property
    def _samples_end(self) -> dict[str, list[int]]:
        """The labels of the steps at which the first and the last sample read end, where they end apart."""
        film = self._film
        if film.ends is None or bool((film.ends[film.ends > 0] == film.positions).all()):
            return {}
        first, last = int(film.ends[film.ends > 0].min()), int(film.ends.max())
        return {"read_to": [turned(step, film.steps, film.reverse) for step in (first, last)]}

    def _labelled_terms(self, terms: Terms, bands: LagBands, lags: np.ndarray, relative_error: float) -> xr.Dataset:
        single = (bands.widths == 1) & (bands.starts >= int(lags[0])) & (bands.starts <= int(lags[-1]))
        axes, ln_norm, film = (LOSS_STEP, STATE_STEP), terms.ln_norm, self._film
        if film.cut:
            followed = film.in_sequence(film.kept[1:] >= film.followed_to.unsqueeze(-1))
            ln_norm = ln_norm.masked_fill(~followed, math.nan)
        return xr.Dataset(
            {
                "ln_norm": (axes, _numpy(ln_norm), {"units": "nats"}),
                "norm_by_lag": ((LAG,), _numpy(terms.norms()[single])),
            },
            {**self._term_axes, LAG: _numpy(bands.starts[single])},
            {"relative_error": relative_error},
        )

    def _labelled_causes(self) -> xr.Dataset:
        found = self._causes.result()
        axes = {**self._term_axes, LOSS_STEP: _numpy(self._film.loss_steps[found.followed])}
        factors = [ACTIVATION_SLOPE, WEIGHTS]
        lags, by_lag = self._by_lag(found.nats, found.followed)
        nats = {"units": "nats"}
        return xr.Dataset(
            {
                "nats": ((CAUSE, LOSS_STEP, STATE_STEP), _numpy(found.nats), nats),
                "nats_by_lag": ((CAUSE, LAG), _numpy(by_lag), nats),
                "share": ((PATH, LOSS_STEP, STATE_STEP), _numpy(found.share)),
                "gain": ((PATH, FACTOR, LOSS_STEP, STATE_STEP), _numpy(found.gain), nats),
            },
            {CAUSE: list(found.names), PATH: list(found.paths), FACTOR: factors, **axes, LAG: _numpy(lags)},
            {"state": self._recurrence.states[-1]},
        )

    def _by_lag(self, nats: Tensor, followed: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over sources of what every cause did between a lag and the next."""
        read = self._film.in_sequence(self._film.kept[1:])
        distance = self._film.positions[followed].unsqueeze(-1) - read
        lags = torch.arange(min(max(int(distance.max()), 0), self._film.lag_range[1]) + 1)
        usable = nats.isfinite() & (distance >= 0) & (distance < len(lags))
        index = distance.clamp(min=0, max=len(lags) - 1).flatten()
        total = torch.zeros(len(nats), len(lags), dtype=nats.dtype)
        count = total.clone()
        total.index_add_(1, index, nats.masked_fill(~usable, 0.0).flatten(1))
        count.index_add_(1, index, usable.double().flatten(1))
        return lags, total / count


def terms_of(recurrence: Recurrence, film: Film, pullback: Pullback | None, bands: LagBands) -> WeightTerms | StepTerms:
    """What collects the weight terms of a recurrence; by step where its equations are not known."""
    if pullback is None:
        return StepTerms(film, recurrence.parameters, bands)
    return WeightTerms(film, pullback, bands)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
