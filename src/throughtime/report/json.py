"""An examination as JSON, for other programs.

One object, whose members `report.schema.json` beside this file lists, each with its meaning and unit; `json_schema`
returns it. A float that JSON cannot hold is written as null (NaN: not computed, or not defined) or as the string "-inf"
(the logarithm of exactly zero) or "inf".
"""

import json
import math
from dataclasses import asdict
from importlib import resources
from typing import Any

import numpy as np
import xarray as xr

from throughtime.notation import BOUND, BOUNDS, CAUSE, LAG, LARGEST, MEAN, NORM, STATE, STEP, WINDOW
from throughtime.report.readings import Examined, Reading, readings

# The number is raised whenever a member is added, removed or changes its meaning: a document is described by the schema
# of its own number only.
SCHEMA = "throughtime.report/3"

_ATTRIBUTES = (
    "cell",
    "hidden_size",
    "input_size",
    "steps",
    "batch",
    "carried",
    "direction",
    "dtype",
    "window",
    "trained_in",
    "recommended_window",
)


def to_json(exam: Examined) -> str:
    """An examination as strict JSON; `json_schema` describes its members."""
    document = {
        "schema": SCHEMA,
        "tokens": exam.tokens,
        "notes": exam.notes,
        "findings": [asdict(finding) for finding in exam.findings],
        "recurrences": {reading.recurrence: _recurrence(exam, reading) for reading in readings({"": exam})},
    }
    return json.dumps(plain(document), allow_nan=False, ensure_ascii=False)


def json_schema() -> dict[str, Any]:
    """What `to_json` and `throughtime examine --json` write, as a JSON Schema (draft 2020-12)."""
    found: dict[str, Any] = json.loads(resources.files(__package__).joinpath("report.schema.json").read_text("utf-8"))
    return found


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
        "decay_rate_interval": measures["decay_rate_interval"].sel({BOUND: list(BOUNDS)}),
        "lag_profile": measures["lag_profile"],
        "lag_profile_interval": {bound: interval.sel({BOUND: bound}) for bound in BOUNDS},
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
