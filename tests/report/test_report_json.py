import json
import math

import numpy as np
import pytest

from throughtime.report import to_json
from throughtime.report.json import SCHEMA, plain


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_everything_of_the_closed_form_comes_back(linear):
    document = strict(to_json(linear(0.5, tokens=tuple("the cats saw"), notes=("A note.",))))
    assert document["schema"] == SCHEMA
    assert document["findings"][0]["verdict"] == "vanishing"
    assert "".join(document["tokens"]) == "the cats saw"
    assert document["notes"] == ["A note."]
    recurrence = document["recurrences"]["l0"]
    assert recurrence["reach"] == {"0.9": 3, "0.99": 6}
    assert recurrence["states"]["h"]["decay_rate"] == math.log(0.5)
    assert recurrence["states"]["h"]["lag_profile"] == pytest.approx([k * math.log(0.5) for k in range(13)])
    assert sum(recurrence["gradient_share"]) == pytest.approx(1)
    assert recurrence["weights"]["weight_hh"]["relative_error"] == 3e-16
    assert recurrence["causes"]["nats_by_lag"]["weights"] == [math.log(0.5)] * 12


def test_without_a_loss(lossless, linear):
    recurrence = strict(to_json(lossless()))["recurrences"]["l0"]
    assert recurrence["followed"] == "random directions of h"
    assert recurrence["reach"] == recurrence["weights"] == {}
    assert recurrence["gradient_share"] is recurrence["windows"] is recurrence["truncation_error"] is None
    assert recurrence["time_constants"] == [-1 / math.log(0.5), 10, 100, "inf", -1, None]
    assert recurrence["step_jacobian"]["steps"] == list(range(1, 13))
    assert recurrence["step_jacobian"]["largest"] == [[math.log(0.5)] * 2] * 12
    assert recurrence["step_jacobian"]["mean"] == [[math.log(0.5) - 1] * 2] * 12
    recurrence = strict(to_json(linear()))["recurrences"]["l0"]
    assert recurrence["followed"] == "loss"
    assert recurrence["step_jacobian"] is recurrence["time_constants"] is None


def test_what_json_cannot_hold_is_null_or_a_word(linear):
    recurrence = strict(to_json(linear(output=True)))["recurrences"]["l0"]
    assert recurrence["states"]["h"]["decay_rate"] == "-inf"
    assert recurrence["states"]["h"]["lag_profile"][:2] == [0.0, "-inf"]
    assert recurrence["states"]["h"]["decay_rate_interval"] == [None, None]
    assert recurrence["weights"]["bias_hh"]["relative_error"] is None


def test_numpy_becomes_plain():
    value = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": (math.inf, np.nan, True, None)}
    assert plain(value) == {"a": 0.5, "b": [1, 2], "c": ["inf", None, True, None]}
