"""An examination as JSON, for other programs.

One object with these members. A float that JSON cannot hold is written as null (NaN: not computed, or not defined)
or as the string "-inf" (the logarithm of exactly zero) or "inf".

- `schema`: "throughtime.report/1". The number changes when a member changes its meaning or disappears.
- `tokens`: one label per step of the first sample, or null.
- `notes`: list of strings.
- `findings`: list of objects with `verdict`, `recurrence`, `severity` (0 to 3), `evidence`, `remedies`, `reference`.
- `recurrences`: by name, an object with
    - `cell`, `hidden_size`, `input_size`, `steps`, `batch`, `carried`, `direction`, `dtype`;
    - `followed`: "loss", or "random directions of h" where a checkpoint was examined without its code; then `reach` and
      `weights` are empty, `gradient_share`, `windows` and `truncation_error` null;
    - `reach`: steps, by the part of the gradient kept, "0.9" and "0.99";
    - `states`: by state name, `decay_rate` (nats per step), `decay_rate_interval` [low, high], `lag_profile` (nats)
      and `lag_profile_interval` {"low", "high"}, each over `lags`;
    - `lags`: the lags, in steps; `gradient_share`: over `lags`, the part of dL/dW from one lag;
    - `windows` and `truncation_error`: relative error of the gradient truncated to lags below the window;
    - `weights`: by weight name, `relative_error` (all weight terms summed, against `.grad`) and `norm_by_lag`, over
      its own `lags`;
    - `time_constants`: of every unit, in steps, or null for a cell without a keep gate;
    - `step_jacobian`: null, or `steps` and over them, by sample, ln of the norms of the step Jacobian, in nats:
      `largest` singular value, and `mean`, the root mean square of all of them;
    - `causes`: `state`, `lags`, and `nats_by_lag`, by cause, over them.
"""

import json
import math
from typing import Any

import numpy as np
import xarray as xr

from throughtime.notation import BOUND, CAUSE, LAG, LARGEST, MEAN, NORM, STATE, STEP, WINDOW
from throughtime.report.readings import Examined, Reading, readings

SCHEMA = "throughtime.report/1"

_ATTRIBUTES = ("cell", "hidden_size", "input_size", "steps", "batch", "carried", "direction", "dtype")
_FINDING = ("verdict", "recurrence", "severity", "evidence", "remedies", "reference")


def to_json(exam: Examined) -> str:
    """An examination as strict JSON; the module describes its members."""
    document = {
        "schema": SCHEMA,
        "tokens": exam.tokens,
        "notes": exam.notes,
        "findings": [{name: getattr(finding, name) for name in _FINDING} for finding in exam.findings],
        "recurrences": {reading.recurrence: _recurrence(exam, reading) for reading in readings({"": exam})},
    }
    return json.dumps(plain(document), allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """A value made of what strict JSON has: NaN becomes null, infinities "-inf" and "inf"."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, xr.DataArray):
        return plain(value.values.tolist())
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _recurrence(exam: Examined, reading: Reading) -> dict[str, Any]:
    measures = reading.measures
    return {
        **{name: measures.attrs.get(name) for name in _ATTRIBUTES},
        "followed": "loss" if reading.has_loss else "random directions of h",
        "reach": reading.reaches,
        "lags": measures[LAG],
        "states": {str(state): _state(measures.sel({STATE: state})) for state in measures[STATE].values},
        "gradient_share": measures.get("gradient_share"),
        "windows": measures.get(WINDOW),
        "truncation_error": measures.get("truncation_error"),
        "weights": {
            weight: _weight(exam.weight_terms(reading.recurrence, weight), error)
            for weight, error in reading.relative_errors.items()
        },
        "time_constants": measures.get("time_constant"),
        "step_jacobian": _step_jacobian(measures),
        "causes": _causes(reading.causes),
    }


def _state(measures: xr.Dataset) -> dict[str, Any]:
    interval = measures["lag_profile_interval"]
    return {
        "decay_rate": measures["decay_rate"],
        "decay_rate_interval": measures["decay_rate_interval"].sel({BOUND: ["low", "high"]}),
        "lag_profile": measures["lag_profile"],
        "lag_profile_interval": {bound: interval.sel({BOUND: bound}) for bound in ("low", "high")},
    }


def _step_jacobian(measures: xr.Dataset) -> dict[str, Any] | None:
    if "step_jacobian" not in measures:
        return None
    norms = measures["step_jacobian"]
    return {"steps": norms[STEP]} | {norm: norms.sel({NORM: norm}) for norm in (LARGEST, MEAN)}


def _weight(terms: xr.Dataset, relative_error: float) -> dict[str, Any]:
    return {"relative_error": relative_error, "lags": terms[LAG], "norm_by_lag": terms["norm_by_lag"]}


def _causes(causes: xr.Dataset) -> dict[str, Any]:
    nats = causes["nats_by_lag"]
    return {
        "state": causes.attrs.get(STATE),
        "lags": causes[LAG],
        "nats_by_lag": {str(cause): nats.sel({CAUSE: cause}) for cause in causes[CAUSE].values},
    }
