"""From the measures of one recurrence to its labelled record."""

import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from throughtime.adjoint import Pullback
from throughtime.capture import Recurrence
from throughtime.causes.decomposition import Causes
from throughtime.cells import equations
from throughtime.examination import Record
from throughtime.measures import Film, GradientMap, LagBands, LagProfile, WeightTerms, time_constants, truncation
from throughtime.measures.weight_terms import Terms
from throughtime.notation import (
    ACTIVATION_SLOPE,
    BOUND,
    CAUSE,
    LAG,
    LOSS_STEP,
    PATH,
    STATE,
    STATE_STEP,
    UNIT,
    WEIGHTS,
    WINDOW,
)


class Recorder:
    """The audience of one recurrence's film: all measures and causes, and the record they make.

    Args:
        recurrence: The recurrence.
        film: Its axes.
        pullback: Its step pullbacks.
        bands: The bands of lags in which the weight terms are summed.
        seed: Of the bootstrap.
    """

    def __init__(self, recurrence: Recurrence, film: Film, pullback: Pullback, bands: LagBands, seed: int) -> None:
        self._recurrence, self._film, self._bands, self._seed = recurrence, film, bands, seed
        self._map, self._profile = GradientMap(film), LagProfile(film)
        self._terms, self._causes = WeightTerms(film, pullback, bands), Causes(film, pullback)
        self.audience = (self._map, self._profile, self._terms, self._causes)

    def weight_terms(self) -> dict[str, Terms]:
        """The terms by weight name."""
        return self._terms.result()

    def slope_rounding(self) -> float:
        """How far autograd's gradient may be off because it computes slopes from activations, not pre-activations."""
        recurrence = self._recurrence
        epsilon = torch.finfo(recurrence.hidden.dtype).eps
        stretch = 1 + float(recurrence.weights.weight_hh.double().norm())
        return epsilon * stretch * self._terms.without_slopes()

    def record(self, terms: dict[str, Terms], relative_error: dict[str, float]) -> Record:
        """Everything, labelled.

        Args:
            terms: What `weight_terms` returned.
            relative_error: By weight name, all terms summed against `.grad`.
        """
        measures = self._measures(terms).assign(self._state_only())
        lags = measures[LAG].values
        labelled = {
            name: self._labelled_terms(term, relative_error[name]).sel({LAG: slice(lags[0], lags[-1])})
            for name, term in terms.items()
        }
        return Record(measures, labelled, self._labelled_causes())

    @property
    def _map_axes(self) -> dict[str, np.ndarray]:
        return {LOSS_STEP: _numpy(self._film.loss_steps), STATE_STEP: _numpy(self._film.state_steps)}

    @property
    def _term_axes(self) -> dict[str, np.ndarray]:
        return {LOSS_STEP: _numpy(self._film.loss_steps), STATE_STEP: np.arange(1, self._film.steps + 1)}

    def _measures(self, terms: dict[str, Terms]) -> xr.Dataset:
        profile = self._profile.result(self._seed)
        cut = truncation(terms, self._bands)
        # Of a gradient that was not followed to its end, no window can be said to hold a given part.
        error = cut.error * math.nan if self._film.cut else cut.error
        # The initial state has no weight term, so its lag has no part, unless there is nothing to have a part of.
        share = torch.full((len(profile.lags),), math.nan if cut.share.isnan().all() else 0.0, dtype=torch.float64)
        # Of the lags below 0, the profile has only those at which anything arrived.
        arrived = cut.lags >= profile.lags[0]
        share[cut.lags[arrived] - profile.lags[0]] = cut.share[arrived]
        states, maps = list(self._film.states), (STATE, LOSS_STEP, STATE_STEP)
        nats = {"units": "nats"}
        rate = {"units": "nats per step"}
        return xr.Dataset(
            {
                "gradient_map": (maps, _numpy(self._map.result()), nats),
                "sample_map": (maps, _numpy(self._map.sample()), nats),
                "lag_profile": ((STATE, LAG), _numpy(profile.values), nats),
                "lag_profile_interval": ((STATE, LAG, BOUND), _numpy(profile.interval), nats),
                "decay_rate": ((STATE,), _numpy(profile.decay_rate), rate),
                "decay_rate_interval": ((STATE, BOUND), _numpy(profile.decay_rate_interval), rate),
                "truncation_error": ((WINDOW,), _numpy(error)),
                "gradient_share": ((LAG,), _numpy(share)),
            },
            {
                STATE: states,
                **self._map_axes,
                LAG: _numpy(profile.lags),
                BOUND: ["low", "high"],
                WINDOW: _numpy(cut.windows),
            },
            self._attributes,
        )

    def _state_only(self) -> dict[str, xr.DataArray]:
        """What depends on the states alone, whatever the loss."""
        kept = time_constants(self._recurrence.cell, self._recurrence.trajectory)
        if kept is None:
            return {}
        return {
            "time_constant": xr.DataArray(_numpy(kept), {UNIT: np.arange(len(kept))}, (UNIT,), attrs={"units": "steps"})
        }

    @property
    def _attributes(self) -> dict[str, object]:
        recurrence = self._recurrence
        return {
            "name": recurrence.name,
            "cell": type(recurrence.cell).__name__,
            "equations": "\n".join(equations(recurrence.cell)),
            "input_size": recurrence.trajectory.inputs.shape[-1],
            "hidden_size": recurrence.hidden.shape[-1],
            "steps": recurrence.steps,
            "batch": recurrence.batch,
            "carried": recurrence.cell.carried,
            "direction": "reverse" if recurrence.reverse else "forward",
            "dtype": str(recurrence.hidden.dtype).removeprefix("torch."),
        }

    def _labelled_terms(self, terms: Terms, relative_error: float) -> xr.Dataset:
        single = self._bands.widths == 1
        axes = (LOSS_STEP, STATE_STEP)
        return xr.Dataset(
            {
                "norm": (axes, _numpy(terms.ln_norm.exp())),
                "ln_norm": (axes, _numpy(terms.ln_norm), {"units": "nats"}),
                "norm_by_lag": ((LAG,), _numpy(terms.norms()[single])),
            },
            {**self._term_axes, LAG: _numpy(self._bands.starts[single])},
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
                "gain": ((PATH, "factor", LOSS_STEP, STATE_STEP), _numpy(found.gain), nats),
            },
            {CAUSE: list(found.names), PATH: list(found.paths), "factor": factors, **axes, LAG: _numpy(lags)},
            {"state": self._recurrence.cell.carried},
        )

    def _by_lag(self, nats: Tensor, followed: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over sources of what every cause did between a lag and the next."""
        steps = torch.arange(1, self._film.steps + 1)
        position = self._film.positions[followed]
        read = self._film.steps + 1 - steps if self._film.reverse else steps
        distance = position.unsqueeze(-1) - read
        lags = torch.arange(max(int(distance.max()), 0) + 1)
        usable = nats.isfinite() & (distance >= 0)
        index = distance.clamp(min=0).flatten()
        total = torch.zeros(len(nats), len(lags), dtype=nats.dtype)
        count = total.clone()
        total.index_add_(1, index, nats.masked_fill(~usable, 0.0).flatten(1))
        count.index_add_(1, index, usable.double().flatten(1))
        return lags, total / count


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
