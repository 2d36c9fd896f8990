import json
import math

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError
from torch import nn

import throughtime as tt
from throughtime.findings import Finding, Number
from throughtime.report import json_schema, to_json
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


def validate(document):
    Draft202012Validator(json_schema()).validate(document)


def test_the_schema_is_one_and_bears_the_number_of_the_documents():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == schema["$defs"]["examination"]["properties"]["schema"]["const"] == SCHEMA


def test_every_kind_of_examination_is_valid(linear, lossless, stacked, two):
    for exam in (linear(0.5), linear(output=True), linear(reverse=True), lossless(), stacked(0.5, 0.9)):
        validate(strict(to_json(exam)))
    validate({name: strict(to_json(exam)) for name, exam in two.items()})


@pytest.mark.parametrize("layer", [nn.RNN(2, 3), nn.LSTM(2, 3, 2, bidirectional=True), tt.Gated(2, 3), tt.LRU(2, 4)])
def test_what_an_examination_writes_is_valid(layer):
    exam = tt.examine(
        layer, torch.randn(9, 2, 2), loss=lambda output, _: output[0].sum((1, 2)), window=3, trained_in=torch.float16
    )
    document = strict(exam.to_json())
    validate(document)
    for recurrence in document["recurrences"].values():
        assert (recurrence["window"], recurrence["trained_in"]) == (3, "float16")
        assert recurrence["recommended_window"] == recurrence["reach"]["0.99"]


def test_where_no_gradient_arrives_it_is_valid_too():
    exam = tt.examine(nn.GRU(2, 3), torch.randn(9, 2, 2), loss=lambda output, _: 0 * output[0].sum((1, 2)))
    document = strict(exam.to_json())
    validate(document)
    assert document["recurrences"]["l0"]["recommended_window"] == 0


def test_the_numbers_and_causes_of_a_finding_are_written(linear):
    exam = linear()
    number = Number("decay_rate", -0.7, "nats per step", -math.inf, None, math.nan)
    exam.findings[:] = [Finding("vanishing", "l0", 3, "It falls.", numbers=(number,), causes={"weights": -8.0})]
    document = strict(to_json(exam))
    validate(document)
    (found,) = document["findings"]
    assert found["causes"] == {"weights": -8.0}
    assert found["numbers"] == [
        {
            "quantity": "decay_rate",
            "value": -0.7,
            "unit": "nats per step",
            "low": "-inf",
            "high": None,
            "threshold": None,
        }
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.update(schema="throughtime.report/1"),
        lambda document: document.update(more=1),
        lambda document: document.pop("notes"),
        lambda document: document["findings"][0].update(severity=4),
        lambda document: document["findings"][0].pop("numbers"),
        lambda document: document["recurrences"]["l0"].update(followed="nothing"),
        lambda document: document["recurrences"]["l0"]["states"]["h"].update(decay_rate="fast"),
        lambda document: document["recurrences"]["l0"]["weights"]["weight_hh"].update(lags=["0"]),
    ],
)
def test_what_is_not_as_described_is_not_valid(linear, spoil):
    document = strict(to_json(linear()))
    validate(document)
    spoil(document)
    with pytest.raises(ValidationError):
        validate(document)


def test_every_member_is_described():
    """Each has words of its own, or leads to a definition that has."""

    def members(schema):
        for name, member in schema.get("properties", {}).items():
            yield name, member
            yield from members(member)

    for definition in json_schema()["$defs"].values():
        for name, member in members(definition):
            assert "description" in member or "$ref" in member, name
